"""Random changes to batches of images, made on the device the batch is on; repeatable by torch's seed.

Each maker returns a function from a batch (N, C, H, W) to one of the same shape, which
`kit.train(augment=…)` calls on every training batch.

>>> import torch
>>> change = compose(random_flip(), random_shift(2))
>>> change(torch.zeros(4, 1, 28, 28)).shape
torch.Size([4, 1, 28, 28])
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from torch.nn import functional as F

from kit.errors import ArgumentError, DataError

Augment = Callable[[torch.Tensor], torch.Tensor]


def random_flip(probability: float = 0.5) -> Augment:
    """Return a function that mirrors each image left to right with the given probability.

    Raises:
        ArgumentError: when `probability` is not between 0 and 1.
    """
    if not 0 <= probability <= 1:
        raise ArgumentError(f"probability must lie between 0 and 1, got {probability}")

    def flip(images: torch.Tensor) -> torch.Tensor:
        _check(images)
        chosen = torch.rand(len(images), 1, 1, 1, device=images.device) < probability
        return torch.where(chosen, images.flip(-1), images)

    return _named(flip, f"random_flip({probability:g})")


def random_shift(pixels: int = 2) -> Augment:
    """Return a function that moves each image by up to `pixels` up, down, left and right.

    What moves in repeats the border, so that a background of any value continues.

    Raises:
        ArgumentError: when `pixels` is negative.
    """
    if pixels < 0:
        raise ArgumentError(f"pixels must not be negative, got {pixels}")

    def shift(images: torch.Tensor) -> torch.Tensor:
        _check(images)
        count, _, height, width = images.shape
        if pixels >= min(height, width):
            raise ArgumentError(f"a shift by {pixels} pixels moves {height}×{width} images out of sight")
        start = torch.randint(0, 2 * pixels + 1, (2, count, 1), device=images.device)
        rows = start[0] + torch.arange(height, device=images.device)
        columns = start[1] + torch.arange(width, device=images.device)
        padded = F.pad(images, (pixels,) * 4, mode="replicate").permute(0, 2, 3, 1)
        sample = torch.arange(count, device=images.device)[:, None, None]
        return padded[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

    return _named(shift, f"random_shift({pixels})")


def random_erase(share: float = 0.25, probability: float = 0.5) -> Augment:
    """Return a function that blanks a random square, up to `share` of the sides, to the batch's mean.

    Source: T. DeVries, G. W. Taylor, "Improved regularization of convolutional neural networks with
    cutout", arXiv:1708.04552.

    Raises:
        ArgumentError: when `share` or `probability` is not between 0 and 1.
    """
    if not (0 <= share <= 1 and 0 <= probability <= 1):
        raise ArgumentError(f"share and probability must lie between 0 and 1, got {share} and {probability}")

    def erase(images: torch.Tensor) -> torch.Tensor:
        _check(images)
        count, _, height, width = images.shape
        draw = torch.rand(4, count, 1, device=images.device)
        size = draw[2] * share
        inside = []
        for length, centre in ((height, draw[0]), (width, draw[1])):
            place = (torch.arange(length, device=images.device) + 0.5) / length
            inside.append((place - centre).abs() < size / 2)
        hole = inside[0][:, :, None] & inside[1][:, None, :] & (draw[3] < probability)[:, :, None]
        return torch.where(hole[:, None], images.mean(), images)

    return _named(erase, f"random_erase({share:g}, {probability:g})")


def random_floor(highest: float = 1.5) -> Augment:
    """Return a function that fills up the dark of each spectrogram, as noise around a speaker does.

    Args:
        highest: the largest level that nothing lies below, above each sample's own lowest value.

    Raises:
        ArgumentError: when it is negative.
    """
    if highest < 0:
        raise ArgumentError(f"highest must not be negative, got {highest}")

    def fill(images: torch.Tensor) -> torch.Tensor:
        _check(images)
        level = torch.rand(len(images), 1, 1, 1, device=images.device) * highest
        floor = images.amin((1, 2, 3), keepdim=True) + level
        return torch.maximum(images, floor + 0.3 * torch.randn_like(images))

    return _named(fill, f"random_floor({highest:g})")


def compose(*changes: Augment) -> Augment:
    """Return a function that makes all changes, in this order."""

    def change(images: torch.Tensor) -> torch.Tensor:
        return reduce(lambda batch, one: one(batch), changes, images)

    return _named(change, ", ".join(getattr(one, "__name__", type(one).__name__) for one in changes))


def _named(change: Augment, name: str) -> Augment:
    """Give a function the name that recipes and checkpoints know it by."""
    change.__name__ = name
    return change


def _check(images: torch.Tensor) -> None:
    if images.ndim != 4:
        raise DataError(f"augmentations change images (N, C, H, W), got a batch {tuple(images.shape)}")
