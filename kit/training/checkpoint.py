"""Checkpoints: written atomically, the previous one kept, checked when read, no pickle run."""

from __future__ import annotations

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


def file_of(checkpoint: str | Path) -> Path:
    """Return the file that a `checkpoint=` argument means: itself, or `checkpoint.pt` in a folder."""
    path = Path(checkpoint)
    return path / "checkpoint.pt" if path.is_dir() else path


def previous(path: Path) -> Path:
    """Return where the checkpoint before the last one is kept."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint; at every moment it or the previous one is complete on disk.

    Raises:
        StorageError: when the folder cannot be written or the disk is full; the old ones stay.
    """
    with atomic(path) as temporary:
        with temporary.open("wb") as file:
            try:
                torch.save(content, file)
            except RuntimeError as error:  # torch reports a full disk so
                raise OSError(str(error).splitlines()[0]) from error
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
            "format": 1,
            "settings": self._fingerprint,
            "history": run.history.to_dict(),
            "state": run.capture(),
        }
        save(self._path, content)
        self._last = time.monotonic()


def open_checkpoint(
    how: Settings, module: nn.Module, data: Dataset, fresh: History
) -> tuple[Keeper, History, dict[str, Any] | None]:
    """Return what writes checkpoints, and the history and the state to go on from, if there is one."""
    if how.checkpoint is None:
        return Keeper(None, {}, how.checkpoint_every), fresh, None
    path, fingerprint = file_of(how.checkpoint), how.fingerprint(module, data)
    keeper = Keeper(path, fingerprint, how.checkpoint_every)
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
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
        except (RuntimeError, OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
            problems.append(f"{file} cannot be read ({(str(error) or type(error).__name__).splitlines()[0]})")
            continue
        if not isinstance(content, dict) or content.get("format") != 1:
            problems.append(f"{file} is no checkpoint of this version")
            continue
        said = f"{'; '.join(problems)}; went on from {file}" if problems else ""
        if said:
            warnings.warn(said, stacklevel=2)
        return content, said
    if problems:
        raise CheckpointError(f"{'; '.join(problems)}; delete the file or pass resume=False to start again")
    return None


def check(saved: dict[str, Any], expected: dict[str, Any], path: Path) -> None:
    """Raise CheckpointError unless a checkpoint was made by the same model, data and settings."""
    for key, value in expected.items():
        if saved.get(key) != value:
            raise CheckpointError(
                f"{path} was made with {key}={saved.get(key)!r}, this run has {value!r}; "
                "pass resume=False to start again, or choose another file"
            )
