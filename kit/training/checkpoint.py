"""Checkpoints: written atomically, the previous one kept, checked when read, no pickle run."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from kit.errors import CheckpointError
from kit.files import atomic
from kit.training.history import History

if TYPE_CHECKING:
    from torch import nn

    from kit.data import Dataset
    from kit.training.run import Run
    from kit.training.settings import Settings

_FORMAT = 1


def file_of(checkpoint: str | Path) -> Path:
    """Return the file that a `checkpoint=` argument means: itself, or `checkpoint.pt` in a folder."""
    path = Path(checkpoint)
    return path / "checkpoint.pt" if path.is_dir() else path


def previous(path: Path) -> Path:
    """Return where the checkpoint before the last one is kept."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint; at every moment it or the previous one is complete on disk.

    A SHA-256 ends the file, since torch reads tensors back without a checksum.

    Raises:
        StorageError: when the folder cannot be written or the disk is full; the old ones stay.
    """
    with atomic(path) as temporary:
        with temporary.open("wb") as file:
            try:
                torch.save(content, file)
            except RuntimeError as error:  # so torch reports a full disk
                raise OSError(str(error).splitlines()[0]) from error
        with temporary.open("rb+") as file:
            file.write(hashlib.file_digest(file, "sha256").digest())
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            path.replace(previous(path))


class Keeper:
    """Writes checkpoints: after every epoch, and within one when `every` seconds have gone by."""

    def __init__(self, path: Path | None, fingerprint: dict[str, Any], every: float) -> None:
        self._path, self._fingerprint, self._every = path, fingerprint, every
        self._last = time.monotonic()

    def tick(self, run: Run) -> None:
        """Save if it is time to."""
        if self._path is not None and time.monotonic() - self._last >= self._every:
            self.save(run)

    def save(self, run: Run) -> None:
        """Save the run as it stands between two steps."""
        if self._path is None:
            return
        run.check()
        content = {
            "format": _FORMAT,
            "settings": self._fingerprint,
            "history": run.history.to_dict(),
            "state": run.capture(),
        }
        save(self._path, content)
        self._last = time.monotonic()


def open_checkpoint(
    how: Settings, module: nn.Module, data: Dataset, objective: object, fresh: History
) -> tuple[Keeper, History, dict[str, Any] | None]:
    """Return what writes checkpoints, and the history and the state to go on from, if there is one."""
    if how.checkpoint is None:
        return Keeper(None, {}, how.checkpoint_every), fresh, None
    path, fingerprint = file_of(how.checkpoint), how.fingerprint(module, data, objective)
    keeper = Keeper(path, fingerprint, how.checkpoint_every)
    for leftover in path.parent.glob(f".{path.name}.*"):  # of a run that was killed while it wrote
        leftover.unlink()
    found = load(path) if how.resume else None
    if found is None:
        return keeper, fresh, None
    content, said = found
    check(content["settings"], fingerprint, path)
    history = History.from_dict(content["history"])
    history.device, history.notes = fresh.device, [*history.notes, *([said] if said else [])]
    return keeper, history, content["state"]


def load(path: Path) -> tuple[dict[str, Any], str] | None:
    """Read the last checkpoint, else the previous one; None when there is neither.

    Returns:
        Its content, and what there is to say (empty when all is well).

    Raises:
        CheckpointError: when files are there and none can be read.
    """
    problems: list[str] = []
    for file in (path, previous(path)):
        if not file.exists():
            continue
        content, problem = _read(file)
        if content is None:
            problems.append(f"{file} {problem}")
            continue
        said = f"{'; '.join(problems)}; went on from {file}" if problems else ""
        if said:
            warnings.warn(said, stacklevel=2)
        return content, said
    if problems:
        raise CheckpointError(f"{'; '.join(problems)}; delete the file or pass resume=False to start again")
    return None


def _read(file: Path) -> tuple[dict[str, Any] | None, str]:
    """Return a checkpoint's content, or None and what is wrong with it."""
    whole = file.read_bytes()
    if hashlib.sha256(whole[:-32]).digest() != whole[-32:]:
        return None, "is corrupt or truncated (its SHA-256 differs)"
    try:
        content = torch.load(io.BytesIO(whole[:-32]), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        return None, f"holds what only a trusted pickle may hold ({str(error).splitlines()[0]})"
    if content["format"] != _FORMAT:
        return None, f"has format {content['format']}, this version reads {_FORMAT}"
    return content, ""


def check(saved: dict[str, Any], expected: dict[str, Any], path: Path) -> None:
    """Raise CheckpointError unless a checkpoint was made by the same model, data and settings."""
    for key, value in expected.items():
        if saved.get(key) != value:
            raise CheckpointError(
                f"{path} was made with {key}={saved.get(key)!r}, this run has {value!r}; "
                "pass resume=False to start again, or choose another file"
            )
