"""The keywords of `kit.train` that every verb hands on to the loop, checked in one place."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from kit.errors import ArgumentError, unknown
from kit.training.choices import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import torch
    from torch import nn

    from kit.data import Dataset
    from kit.training.history import Epoch
    from kit.training.progress import Progress

# What a checkpoint may differ in without the rest of the run becoming another one.
_FREE = {
    "device",
    "threads",
    "checkpoint",
    "checkpoint_every",
    "resume",
    "on_epoch",
    "on_step",
    "progress",
    "keep",
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train; each attribute is explained at `kit.train`."""

    epochs: int = 5
    loss: Any = "auto"
    optimizer: Any = "adam"
    lr: float | None = None
    schedule: Any = "onecycle"
    batch_size: int = 128
    weight_decay: float = 0.0
    augment: Callable[[torch.Tensor], torch.Tensor] | None = None
    precision: str = "auto"
    layout: str = "auto"
    seed: int = 0
    device: str | torch.device | None = None
    threads: int | None = None
    checkpoint: str | Path | None = None
    checkpoint_every: float = 60.0
    resume: bool = True
    on_epoch: Callable[[Epoch], object] | None = None
    on_step: Callable[[Progress], object] | None = None
    progress: bool | None = None
    keep: str = "best"

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Return settings from keywords.

        Raises:
            ArgumentError: for an unknown keyword (names the nearest) or a value out of range.
        """
        known = [field.name for field in fields(cls)]
        for key in given:
            if key not in known:
                raise unknown("training setting", key, known)
        # A numpy number would make a checkpoint that only a trusted pickle may read.
        return cls(**{key: v.item() if isinstance(v, np.generic) else v for key, v in given.items()})

    def __post_init__(self) -> None:
        """Check the numbers; names are checked where they are looked up."""
        for key, least in (("epochs", 1), ("batch_size", 1), ("threads", 1)):
            value = getattr(self, key)
            if value is not None and (not isinstance(value, int) or value < least):
                raise ArgumentError(f"{key} must be a whole number of at least {least}, got {value!r}")
        if self.lr is not None and not 0 < self.lr < float("inf"):
            raise ArgumentError(f"lr must be a positive number, got {self.lr!r}")
        if self.weight_decay < 0:
            raise ArgumentError(f"weight_decay must not be negative, got {self.weight_decay!r}")
        if self.keep not in {"best", "last"}:
            raise unknown("keep", self.keep, ("best", "last"))

    def recipe(self) -> dict[str, Any]:
        """Return what shapes the result, fit for JSON: for recipes and checkpoints."""
        chosen = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _FREE}
        return {key: value if _is_plain(value) else name_of(value) for key, value in chosen.items()}

    def fingerprint(self, module: nn.Module, data: Dataset, objective: object) -> dict[str, Any]:
        """Return what a checkpoint must agree with to be gone on from."""
        shapes = [(key, tuple(value.shape)) for key, value in module.state_dict().items()]
        weights = sum(p.numel() for p in module.parameters())
        checksum = zlib.crc32(data.train.raw.contiguous().numpy().tobytes())
        checksum = zlib.crc32(data.train.targets.contiguous().numpy().tobytes(), checksum)
        found = {
            "model": f"{weights:,} parameters ({zlib.crc32(repr(shapes).encode()):08x})",
            "data": f"{data.name}, {len(data.train):,} samples ({checksum:08x})",
            "objective": None if objective is None else name_of(objective),
            **self.recipe(),
        }
        if self.schedule == "constant":
            del found["epochs"]  # nothing depends on their number: a finished run may be prolonged
        return found


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)
