"""Protocol buffers: how much a message would take in memory, told without building it.

Two bytes of a file can become an object of a hundred. The walk follows the descriptors of the messages, skips
what is plain bytes, and stops at a budget.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any

from kit.errors import ModelError, UnsafeModelError

if TYPE_CHECKING:
    from pathlib import Path

# A message of two bytes takes some 200 in memory, an empty text 40, a number 8: 50 MB each at most.
# The largest language models have a tenth of the messages; a forest has many texts and numbers.
_MOST = {"messages": 200_000, "texts": 600_000, "numbers": 6_000_000}
_MOST_PACKED = 16 * 2**20  # bytes of packed varints; each byte may become eight
_DEEPEST = 60
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LARGEST = 2**31  # bytes; the format's own limit
_MESSAGE, _STRING_OR_BYTES, _FIXED_TYPES = 11, {9, 12}, {1, 2, 6, 7, 15, 16}


def varint(path: Path, data: mmap.mmap, place: int, end: int) -> tuple[int, int]:
    """Return the number that is written at `place`, and where it ends.

    Raises:
        ModelError: when it is cut short.
    """
    value = shift = 0
    while place < end and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
    raise _damaged(path)


class _Walk:
    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data = path, data
        self.left, self.packed = dict(_MOST), 0

    def varint(self, place: int, end: int) -> tuple[int, int]:
        return varint(self.path, self.data, place, end)

    def message(self, kind: Any, place: int, end: int, depth: int) -> None:
        if depth > _DEEPEST:
            raise UnsafeModelError(f"{self.path} nests messages more than {_DEEPEST} deep; do not open it")
        fields = {} if kind is None else kind.fields_by_number
        while place < end:
            tag, place = self.varint(place, end)
            number, form = tag >> 3, tag & 7
            if not number:
                raise _damaged(self.path)
            field = fields.get(number)
            self.count("numbers" if form != _BYTES else "texts" if _is_text(field) else "messages")
            if form == _VARINT:
                _, place = self.varint(place, end)
            elif form in {_FIXED64, _FIXED32}:
                place += 8 if form == _FIXED64 else 4
            elif form == _BYTES:
                length, place = self.varint(place, end)
                if place + length > end:
                    raise _damaged(self.path)
                self.inside(field, place, length, depth)
                place += length
            else:
                raise _damaged(self.path)
        if place > end:
            raise _damaged(self.path)

    def count(self, kind: str) -> None:
        """Use up a little of the budget of a kind."""
        self.left[kind] -= 1
        if self.left[kind] < 0:
            raise UnsafeModelError(
                f"{self.path} holds more than {_MOST[kind]:,} {kind}: it would fill the "
                "memory; do not open it"
            )

    def inside(self, field: Any, place: int, length: int, depth: int) -> None:
        """Look into a field that has a length: a message, packed numbers, or plain bytes."""
        if _is_text(field):
            return
        if field.type == _MESSAGE:
            self.message(field.message_type, place, place + length, depth + 1)
        elif field.type not in _FIXED_TYPES:
            self.packed += length
            if self.packed > _MOST_PACKED:
                raise UnsafeModelError(
                    f"{self.path} packs {self.packed:,} bytes of small numbers that unpack to eight times as "
                    "much; do not open it"
                )


def weigh(path: Path, descriptor: Any) -> None:
    """Refuse a file whose message would need far more memory than the file.

    Args:
        path: the file.
        descriptor: of the message that the file is.

    Raises:
        ModelError: when it is no such message.
        UnsafeModelError: when it is a bomb.
    """
    size = path.stat().st_size
    if not size:
        raise _damaged(path)
    if size >= _LARGEST:
        raise ModelError(
            f"{path} has {size:,} bytes; this format ends at {_LARGEST:,}: keep weights beside it"
        )
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        _Walk(path, data).message(descriptor, 0, size, 0)


def _is_text(field: Any) -> bool:
    return field is None or field.type in _STRING_OR_BYTES


def _damaged(path: Path) -> ModelError:
    return ModelError(
        f"{path} is no {path.suffix.upper().lstrip('.') or 'model'} file, or is cut short; export it again"
    )
