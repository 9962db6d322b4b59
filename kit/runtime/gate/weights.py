"""A .safetensors file: a short header, and tensors that lie one after the other, each as long as it says.

Source: https://huggingface.co/docs/safetensors/index#format
"""

from __future__ import annotations

import json
import struct
from math import prod
from typing import TYPE_CHECKING, Any

from kit.errors import CorruptFileError, UnsafeModelError
from kit.runtime.gate import pickles

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST = 2**20  # bytes of header
_BITS = {"F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16,
         "U16": 16, "I8": 8, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "C64": 64}  # fmt: skip


def check(path: Path) -> None:
    """Accept a file whose header describes its bytes exactly.

    Raises:
        CorruptFileError: when it is cut short, or its header is no JSON.
        UnsafeModelError: when the header is over 1 MB, or tensors overlap, leave the file or leave holes.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        start, first = stream.read(8), stream.read(1000)
        # A header's length may read like a pickle's first bytes; what follows it, a brace, then decides.
        if start.startswith(b"PK") or (first[:1] != b"{" and pickles.looks_like_one(start + first)):
            raise UnsafeModelError(f"{path} is a pickle, which runs code when it is opened; {pickles.ADVICE}")
        stream.seek(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if length > _LARGEST:
            raise UnsafeModelError(
                f"{path} has a header of {length:,} bytes, more than {_LARGEST:,}; do not open it"
            )
        text = stream.read(length)
    if len(start) < 8 or len(text) < length or not text.startswith(b"{"):
        raise CorruptFileError(f"{path} is no safetensors file, or is cut short; save the model again")
    try:
        header = json.loads(text, object_pairs_hook=_once)
    except _TwiceError as error:
        raise UnsafeModelError(
            f"{path} names {error.args[0]!r:.60} twice; readers may take different ones"
        ) from None
    except (ValueError, RecursionError) as error:
        raise CorruptFileError(f"{path} has a header that is no JSON: {error}") from None
    _check_spans(path, header, size - 8 - length)


class _TwiceError(Exception):
    """A key comes twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _TwiceError(next(key for key, _ in pairs if [k for k, _ in pairs].count(key) > 1))
    return found


def _check_spans(path: Path, header: dict[str, Any], size: int) -> None:
    spans = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            (begin, end), sides, bits = entry["data_offsets"], entry["shape"], _BITS[entry["dtype"]]
            numbers = [begin, end, *sides]
            good = all(type(number) is int and number >= 0 for number in numbers)
        except (KeyError, TypeError, ValueError):
            good = False
        if not good:
            raise UnsafeModelError(
                f"{path}: {name!r:.60} is not described by a type, a shape and two offsets"
            )
        if prod(sides) * bits != 8 * (end - begin):
            raise UnsafeModelError(
                f"{path}: {name!r:.60} is declared {sides[:8]}, which takes {prod(sides) * bits // 8:,} "
                f"bytes; it has {end - begin:,}"
            )
        spans.append((begin, end, name))
    free = 0
    for begin, end, name in sorted(spans):
        if begin != free:
            raise UnsafeModelError(
                f"{path}: {name!r:.60} overlaps another tensor, or leaves a hole before it"
            )
        free = end
    if free != size:
        raise UnsafeModelError(f"{path} describes {free:,} bytes of tensors and holds {size:,}")
