"""A TFLite (LiteRT) file: every offset inside the file, only built-in operators.

Source: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs
"""

from __future__ import annotations

import mmap
import struct
from math import prod
from typing import TYPE_CHECKING

from kit.errors import ModelError, UnsafeModelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MOST = 1_000_000  # entries of one list
_CODES, _SUBGRAPHS, _BUFFERS = 1, 2, 4  # fields of the model
_CUSTOM = 32  # the operator that is another library's
_SIZES = {0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 9: 1, 10: 8, 15: 4}  # bytes by the number of a type
_MOST_NUMBERS = 2**28  # of a tensor that is computed


class _Bytes:
    """Reads numbers at places; a place outside the file is a finding, not a crash."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.size = path, data, len(data)

    def number(self, form: str, place: int) -> int:
        if place < 0 or place + struct.calcsize(form) > self.size:
            raise UnsafeModelError(f"{self.path} points outside of itself; do not run it")
        return int(struct.unpack_from(form, self.data, place)[0])

    def follow(self, place: int) -> int:
        return place + self.number("<I", place)

    def field(self, table: int, index: int) -> int | None:
        """Return the place of a table's field, or None if it is left out."""
        layout = table - self.number("<i", table)
        if 4 + 2 * index + 2 > self.number("<H", layout):
            return None
        offset = self.number("<H", layout + 4 + 2 * index)
        return table + offset if offset else None

    def length(self, table: int, index: int, each: int) -> tuple[int, int]:
        """Return where a list begins and how many entries it has; it lies inside the file."""
        place = self.field(table, index)
        if place is None:
            return 0, 0
        begin = self.follow(place)
        count = self.number("<I", begin)
        if count > _MOST * (8 // each if each > 1 else 4096) or begin + 4 + count * each > self.size:
            raise UnsafeModelError(f"{self.path} claims a list of {count:,} entries, more than it holds")
        return begin + 4, count

    def tables(self, table: int, index: int) -> Iterator[int]:
        begin, count = self.length(table, index, 4)
        for place in range(begin, begin + 4 * count, 4):
            yield self.follow(place)


def check(path: Path) -> None:
    """Accept a file of built-in operators whose tensors are as large as their shapes say.

    Raises:
        ModelError: when it is no TFLite file.
        UnsafeModelError: when it points outside of itself, or asks for another library's operators.
    """
    if path.stat().st_size < 16:
        raise ModelError(f"{path} is no TFLite file, or is cut short; convert it again")
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        inside = _Bytes(path, data)
        model = inside.follow(0)
        for code in inside.tables(model, _CODES):
            _check_code(inside, code)
        buffers = [inside.length(buffer, 0, 1)[1] for buffer in inside.tables(model, _BUFFERS)]
        for graph in inside.tables(model, _SUBGRAPHS):
            for tensor in inside.tables(graph, 0):
                _check_tensor(inside, tensor, buffers)


def _check_code(inside: _Bytes, code: int) -> None:
    old, new = inside.field(code, 0), inside.field(code, 3)
    number = max(inside.number("<b", old) if old else 0, inside.number("<i", new) if new else 0)
    begin, count = inside.length(code, 1, 1)
    if number == _CUSTOM or count:
        name = bytes(inside.data[begin : begin + min(count, 60)]).decode("ascii", "replace")
        raise UnsafeModelError(
            f"{inside.path} asks for the operator {name!r} of another library; do not load one for it"
        )


def _check_tensor(inside: _Bytes, tensor: int, buffers: list[int]) -> None:
    begin, rank = inside.length(tensor, 0, 4)
    sides = [inside.number("<i", begin + 4 * k) for k in range(min(rank, 64))]
    kind, place = inside.field(tensor, 1), inside.field(tensor, 2)
    buffer = inside.number("<I", place) if place else 0
    if buffer >= len(buffers) or any(side < -1 for side in sides) or rank > 64:
        raise UnsafeModelError(
            f"{inside.path} declares a tensor {sides[:8]} with weights that it does not hold"
        )
    each = _SIZES.get(inside.number("<b", kind) if kind else 0, 0)
    count = prod(abs(side) for side in sides)
    if buffers[buffer] and each and count * each != buffers[buffer]:
        raise UnsafeModelError(
            f"{inside.path} declares a tensor {sides[:8]}, which takes {count * each:,} bytes; "
            f"it has {buffers[buffer]:,}"
        )
    if count > _MOST_NUMBERS:
        raise UnsafeModelError(f"{inside.path} declares a tensor {sides[:8]}, far larger than the file")
