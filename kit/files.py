"""Files: atomic writes, checksums, and the folders that this user may write to."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kit.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it is synced and renamed to `path`.

    Whatever goes wrong, `path` is either its old self or complete, and no temporary file stays.

    Raises:
        StorageError: when the folder cannot be written or the disk is full.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=target.suffix)
        os.close(handle)
    except OSError as error:
        raise StorageError(f"cannot write {target}: {error.strerror}; choose another folder") from error
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise StorageError(
            f"cannot write {target}: {error.strerror or error}; free some space or choose another folder"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; Windows cannot open a folder and needs no such step."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def digest(path: str | Path, algorithm: str = "sha256") -> str:
    """Return the hexadecimal checksum of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def cache_folder() -> Path:
    """Return this user's cache folder for data (`XDG_CACHE_HOME`, else `~/.cache`, then `maaskit`)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "maaskit"


_scratch: list[tempfile.TemporaryDirectory[str]] = []


def scratch(name: str) -> Path:
    """Return a fresh path `…/name` in this process's own temporary folder, removed when it ends."""
    if not _scratch:
        _scratch.append(tempfile.TemporaryDirectory(prefix="maaskit-"))
    return Path(tempfile.mkdtemp(dir=_scratch[0].name)) / name
