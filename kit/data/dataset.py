"""`Dataset`: named, immutable splits with one signature; every verb takes one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from kit import plots
from kit.data.duplicates import Duplicates, find_duplicates
from kit.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from kit.variant import Preprocess, Signature

SplitName = Literal["train", "valid", "test"]


@dataclass(frozen=True, eq=False)
class Split:
    """Samples and targets, indexable like a torch `Dataset`.

    Attributes:
        name: "train", "valid" or "test".
        raw: the samples as they were read, (N, *shape), any dtype.
        targets: class indices (N,) int64, values (N, outputs) float32, or next tokens (N, T) int64.
        preprocess: how `raw` becomes `inputs`.
    """

    name: str
    raw: torch.Tensor
    targets: torch.Tensor
    preprocess: Preprocess

    @cached_property
    def inputs(self) -> torch.Tensor:
        """The samples as a model wants them: (N, *shape) float32, transformed once and kept."""
        return self.preprocess(self.raw).contiguous()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int | slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the input(s) and target(s) at `index`."""
        return self.inputs[index], self.targets[index]

    def subset(self, indices: torch.Tensor) -> Split:
        """Return the samples at `indices` (1-D int64) as a split of the same name."""
        return Split(self.name, self.raw[indices], self.targets[indices], self.preprocess)

    def take(self, n: int, seed: int = 0) -> Split:
        """Return `n` samples drawn without replacement by `seed` (all of them if there are fewer)."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return self.subset(order[:n].sort().values)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Train, validation and test samples of one task.

    Nothing is ever tuned on `test`: calibration, early stopping and searches use `valid`.

    Attributes:
        name: a short name.
        train, valid, test: the splits.
        signature: task, input shape, class names and pre-processing, shared by all splits.
        origin: where the data comes from, with its licence.
        skipped: files that could not be read, each with the reason.
    """

    name: str
    train: Split
    valid: Split
    test: Split
    signature: Signature
    origin: str = ""
    skipped: tuple[tuple[Path, str], ...] = ()

    def __post_init__(self) -> None:
        """Check every split; raise DataError that names the split and what is wrong."""
        for split in self.splits:
            _check(split, self.signature)

    @property
    def splits(self) -> tuple[Split, Split, Split]:
        """The three splits in order."""
        return self.train, self.valid, self.test

    def __getitem__(self, name: str) -> Split:
        for split in self.splits:
            if split.name == name:
                return split
        raise ArgumentError(f"unknown split {name!r}; known: train, valid, test")

    def subset(
        self, train: int, valid: int | None = None, test: int | None = None, *, seed: int = 0
    ) -> Dataset:
        """Return a smaller data set with the same signature: for quick runs, never for final figures."""
        sizes = (train, valid or max(1, train // 5), test or max(1, train // 5))
        small, held, last = (split.take(n, seed) for split, n in zip(self.splits, sizes, strict=True))
        return Dataset(self.name, small, held, last, self.signature, self.origin)

    def balance(self) -> dict[str, tuple[int, ...]]:
        """Return how many samples of each class every split holds, in the order of the classes.

        Raises:
            DataError: for a regression task.
        """
        if self.signature.task != "classification":
            raise DataError(f"{self.name!r} is a {self.signature.task} task and has no classes")
        count = len(self.signature.classes)
        return {s.name: tuple(torch.bincount(s.targets, minlength=count).tolist()) for s in self.splits}

    def duplicates(self, near: float = 0.05) -> Duplicates:
        """Report samples that stand in two splits, exactly or nearly: what leaks from train into test.

        Args:
            near: largest root-mean-square difference, as a fraction of the value range, that counts.
        """
        return find_duplicates({split.name: split.raw for split in self.splits}, near)

    def inspect(self, split: SplitName = "train", per_class: int = 8) -> Figure:
        """Draw samples of a split, one row a class."""
        part, classes = self[split], self.signature.classes
        if len(self.signature.shape) != 3:
            raise DataError(f"inspect() draws images (C, H, W); samples here are {self.signature.shape}")
        rows = [(name, part.raw[part.targets == k][:per_class].numpy()) for k, name in enumerate(classes)]
        return plots.image_rows(rows, title=f"{self.name}: {split}, {len(part):,} samples")

    def __repr__(self) -> str:
        sizes = " + ".join(f"{len(s):,} {s.name}" for s in self.splits)
        named = {"classification": "classes", "generation": "tokens"}.get(self.signature.task)
        kind = f"{len(self.signature.classes)} {named}" if named else self.signature.task
        return f"Dataset({self.name!r}: {sizes}, {kind}, input {self.signature.shape})"


def _check(split: Split, signature: Signature) -> None:
    where, targets = f"split {split.name!r}", split.targets
    if len(split.raw) == 0:
        raise DataError(f"{where} is empty; every split needs at least one sample")
    if len(split.raw) != len(targets):
        raise DataError(f"{where} has {len(split.raw)} samples but {len(targets)} targets")
    if tuple(split.raw.shape[1:]) != signature.shape:
        raise DataError(
            f"{where} has samples of shape {tuple(split.raw.shape[1:])}, expected {signature.shape}"
        )
    if split.raw.is_floating_point() and not bool(torch.isfinite(split.raw).all()):
        row = int((~torch.isfinite(split.raw)).flatten(1).any(1).nonzero()[0])
        raise DataError(f"{where} holds NaN or infinity, first in sample {row}; clean or drop such samples")
    if signature.task == "regression":
        if not targets.is_floating_point():
            raise DataError(f"{where} has {targets.dtype} targets; regression needs float32")
        return
    wanted = signature.shape if signature.task == "generation" else ()
    if targets.dtype != torch.int64 or tuple(targets.shape[1:]) != wanted:
        raise DataError(
            f"{where} has {targets.dtype} targets of shape {tuple(targets.shape)}; "
            f"expected int64 (N{''.join(f', {side}' for side in wanted)}{',' * (not wanted)})"
        )
    low, high, count = int(targets.min()), int(targets.max()), len(signature.classes)
    if low < 0 or high >= count:
        raise DataError(
            f"{where} has labels from {low} to {high}; {count} classes need labels 0 to {count - 1}"
        )
    if split.name == "train" and low == high and signature.task == "classification":
        raise DataError(
            f"{where} holds only class {signature.classes[low]!r}; a classifier needs at least two"
        )


def stratified(targets: torch.Tensor, fraction: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Split indices in two so that each class is shared in the same proportion.

    Args:
        targets: class indices (N,) int64, or any other targets, which are split without classes.
        fraction: the share of the second part, between 0 and 1.
        seed: the seed of the draw.

    Returns:
        Two disjoint, sorted index tensors that cover 0 … N-1.
    """
    if not 0 < fraction < 1:
        raise ArgumentError(f"a split's fraction must lie between 0 and 1, got {fraction}")
    generator = np.random.default_rng(seed)
    labels = targets.numpy() if targets.dtype == torch.int64 else np.zeros(len(targets), np.int64)
    names, counts = np.unique(labels, return_counts=True)
    # Largest remainders: the second part holds round(N · fraction) samples, whatever the class sizes.
    shares = np.floor(counts * fraction).astype(int)
    missing = round(len(labels) * fraction) - int(shares.sum())
    shares[np.argsort(shares - counts * fraction, kind="stable")[:missing]] += 1
    members = [
        generator.permutation(np.flatnonzero(labels == name))[:share]
        for name, share in zip(names, shares, strict=True)
    ]
    chosen = np.zeros(len(labels), bool)
    chosen[np.concatenate(members)] = True
    return torch.from_numpy(np.flatnonzero(~chosen)), torch.from_numpy(np.flatnonzero(chosen))
