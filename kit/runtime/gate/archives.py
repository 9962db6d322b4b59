"""Zip archives: no bomb, no path that leads elsewhere, nothing that two readers would read differently."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from kit.errors import ModelError, UnsafeModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_ENTRIES = 50_000
_RATIO = 200  # weights shrink to a half, JSON to a tenth; a bomb to a thousandth
_SMALL = 4 * 2**20  # bytes; so much may come out of anything
_END, _END64 = b"PK\x05\x06", b"PK\x06\x06"


def check(path: Path) -> list[str]:
    """Return the names in a zip archive that may be read.

    Raises:
        ModelError: when it is damaged.
        UnsafeModelError: when an entry unpacks to far more than it takes, overlaps another, is encrypted or a
            link, has a path that leads elsewhere, or comes twice.
    """
    if (count := _entries(path)) > _MOST_ENTRIES:
        raise UnsafeModelError(
            f"{path} claims {count:,} entries, more than {_MOST_ENTRIES:,}; do not open it"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            start = archive.start_dir
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ModelError(f"{path} is a damaged zip archive: {error}; save the model again") from None
    for entry in entries:
        _check_entry(path, entry)
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names):
        raise UnsafeModelError(f"{path} holds two entries of one name, read differently by different readers")
    total, size = sum(entry.file_size for entry in entries), path.stat().st_size
    if total > max(_SMALL, _RATIO * size):
        raise UnsafeModelError(f"{path} unpacks to {total:,} bytes from {size:,}: a zip bomb")
    _check_places(path, entries, start)
    return names


def read(path: Path, name: str, most: int) -> bytes:
    """Return an entry of at most `most` bytes.

    Raises:
        ModelError: when it is missing or damaged.
        UnsafeModelError: when it is larger.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name) as stream:
            content = stream.read(most + 1)
    except (KeyError, zipfile.BadZipFile, OSError, EOFError) as error:
        raise ModelError(f"{path} is damaged: {error}; save the model again") from None
    if len(content) > most:
        raise UnsafeModelError(f"{path}: {name} is larger than {most:,} bytes; do not open it")
    return content


def _entries(path: Path) -> int:
    """Return how many entries the end record claims, without reading them."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(0, size - 66_000))
        tail = stream.read()
    wide = tail.rfind(_END64)
    if wide >= 0 and len(tail) >= wide + 40:
        return int(struct.unpack_from("<Q", tail, wide + 32)[0])
    end = tail.rfind(_END)
    if end < 0 or len(tail) < end + 12:
        raise ModelError(f"{path} is a damaged zip archive: it has no end; save the model again")
    return int(struct.unpack_from("<H", tail, end + 10)[0])


def _check_entry(path: Path, entry: zipfile.ZipInfo) -> None:
    inside = PurePosixPath(entry.filename)
    if inside.is_absolute() or ".." in inside.parts or "\\" in entry.filename or ":" in entry.filename:
        raise UnsafeModelError(f"{path} holds an entry {entry.filename!r:.80} that leads outside of it")
    if entry.flag_bits & 1:
        raise UnsafeModelError(f"{path}: {entry.filename!r:.80} is encrypted; no model format is")
    if (entry.external_attr >> 16) & 0o170000 == 0o120000:
        raise UnsafeModelError(f"{path}: {entry.filename!r:.80} is a link; no model format holds one")
    if entry.file_size > max(_SMALL, _RATIO * entry.compress_size):
        raise UnsafeModelError(
            f"{path}: {entry.filename!r:.80} unpacks to {entry.file_size:,} bytes from "
            f"{entry.compress_size:,}: a zip bomb"
        )


def _check_places(path: Path, entries: Sequence[zipfile.ZipInfo], directory: int) -> None:
    """Entries stand one after the other, under the names that the directory gives them."""
    free = 0
    with path.open("rb") as stream:
        for entry in sorted(entries, key=lambda e: e.header_offset):
            stream.seek(entry.header_offset)
            header = stream.read(30)
            if len(header) < 30 or header[:4] != b"PK\x03\x04":
                raise ModelError(
                    f"{path} is a damaged zip archive: {entry.filename!r:.80} is not where it says"
                )
            length, extra = struct.unpack_from("<HH", header, 26)
            name = stream.read(length)
            if name not in {
                entry.orig_filename.encode("utf-8"),
                entry.orig_filename.encode("cp437", "replace"),
            }:
                raise UnsafeModelError(
                    f"{path}: {entry.filename!r:.80} is called {name!r:.80} elsewhere in it"
                )
            if entry.header_offset < free:
                raise UnsafeModelError(f"{path}: {entry.filename!r:.80} overlaps another entry: a zip bomb")
            free = entry.header_offset + 30 + length + extra + entry.compress_size
    if free > directory:
        raise UnsafeModelError(f"{path}: its last entry overlaps the directory: a zip bomb")
