"""A split in memory, sliced: what a DataLoader does for data sets that do not fit, at none of its cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


class Batches:
    """Inputs and targets on the compute device, or pinned beside it when they are too many for it.

    Args:
        inputs: (N, *shape) float32.
        targets: (N, …).
        where: the compute device.
        channels_last: keep images (N, C, H, W) with their channels last in memory.
    """

    def __init__(
        self, inputs: torch.Tensor, targets: torch.Tensor, where: torch.device, *, channels_last: bool = False
    ) -> None:
        self._where = where
        self._images_last = channels_last and inputs.ndim == 4
        if self._images_last:
            # Rows that are contiguous as (H, W, C) stay so when they are picked: no conversion a batch.
            inputs = inputs.permute(0, 2, 3, 1).contiguous()
        self._resident = where.type != "cuda" or _fits(inputs, where)
        self._inputs, self._targets = (
            tensor.to(where) if self._resident else tensor.pin_memory() for tensor in (inputs, targets)
        )

    def __len__(self) -> int:
        return len(self._targets)

    @property
    def home(self) -> torch.device:
        """Where indices must be to pick from here."""
        return self._inputs.device

    def pick(self, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the inputs and targets at `index`, on the compute device."""
        x, y = self._inputs.index_select(0, index), self._targets.index_select(0, index)
        return self._place(x), y if self._resident else y.pin_memory().to(self._where, non_blocking=True)

    def arrange(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x` in the layout of what `pick` gives: an augmentation may have changed it."""
        return x.contiguous(
            memory_format=torch.channels_last if self._images_last else torch.contiguous_format
        )

    def in_order(self, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Go through all samples in order, without copying what is already in place."""
        for x, y in zip(torch.split(self._inputs, size), torch.split(self._targets, size), strict=True):
            yield self._place(x), y.to(self._where, non_blocking=True)

    def _place(self, x: torch.Tensor) -> torch.Tensor:
        if not self._resident:
            x = x.pin_memory().to(self._where, non_blocking=True)
        return x.permute(0, 3, 1, 2) if self._images_last else x


def cut(order: torch.Tensor, batch_size: int) -> list[torch.Tensor]:
    """Cut a permutation into one epoch's batches of indices.

    A last batch of one sample joins the one before it, since batch normalisation cannot train on one.
    """
    batches = list(torch.split(order, batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1 < batch_size:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def steps_of(n: int, batch_size: int) -> int:
    """Return how many batches `cut` gives."""
    steps = -(-n // batch_size)
    return steps - 1 if steps > 1 and n % batch_size == 1 < batch_size else steps


def _fits(inputs: torch.Tensor, where: torch.device) -> bool:
    free, _total = torch.cuda.mem_get_info(where)
    return inputs.numel() * inputs.element_size() < free / 2
