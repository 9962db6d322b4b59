"""What weights cost in a packed file, as a penalty that training can lower.

The packed file codes each weight as a multiple of its layer's step: is it zero, which sign, how large. How
well "zero" is guessed depends on the weight's row and column, so that is what the estimate here goes by too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from kit.compression.layers import check_names, weighted, within
from kit.compression.quantization.fake import straight_through

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_SHYNESS = 2.0  # rows and columns are taken for average until they have shown so many weights
_LEAST = 0.5  # bits that a weight more always costs: else full rows would attract more


class Grid(nn.Module):
    """Rounds a weight to multiples of a learned step; gradients pass as if it had not been rounded.

    Args:
        weight: gives the first step, its standard deviation.

    Source: S. Esser et al., "Learned step size quantization", arXiv:1902.08153.
    """

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        spread = weight.detach().square().mean().sqrt().clamp_min(1e-3)
        self.log_step = nn.Parameter(spread.log())

    def step(self) -> torch.Tensor:
        """Return the step, rounded to bfloat16 so that its multiples are exact and it takes two bytes."""
        step = self.log_step.exp()
        return step + (step.detach().bfloat16().float() - step.detach())

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the rounded weight."""
        step = self.step()
        levels = weight / step
        return straight_through(levels) * step

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        """Return what is kept and trained: the weight before rounding."""
        return weight


def apply(module: nn.Module, *, protect: Collection[str] = ()) -> None:
    """Round weights and biases of convolutions and linear layers from now on, in place.

    Args:
        module: a net, changed in place: each tensor becomes a parametrization of an unrounded one.
        protect: layers, or modules that contain them, to leave as they are.
    """
    check_names(module, protect)
    for name, layer in weighted(module).items():
        for key in ("weight", "bias"):
            tensor = getattr(layer, key)
            if tensor is not None and not within(name, protect):
                parametrize.register_parametrization(layer, key, Grid(tensor))


def remove(module: nn.Module) -> None:
    """Make the rounding permanent, in place: plain layers again."""
    for layer, key, _weight, _grid in list(_rounded(module)):
        parametrize.remove_parametrizations(layer, key, leave_parametrized=True)


def drop(module: nn.Module, share: float) -> int:
    """Zero some of the weights that are not zero yet, those nearest to zero in units of their step.

    Args:
        module: what `apply` was called on; changed in place.
        share: of the weights that are not zero; at least one goes.

    Returns:
        How many went.
    """
    with torch.no_grad():
        pairs = [(weight, (weight / grid.step()).abs()) for _, _, weight, grid in _rounded(module)]
        left = torch.cat([size[size.round() > 0] for _, size in pairs])
        count = min(len(left), int(share * len(left)) + 1)
        if count:
            limit = left.kthvalue(count).values
            for weight, size in pairs:
                weight[(size.round() > 0) & (size <= limit)] = 0
    return count


class Rate:
    """Estimates the bits of all rounded weights, and how they change with each weight.

    Args:
        module: what `apply` was called on.
    """

    def __init__(self, module: nn.Module) -> None:
        self._pairs = [(weight, grid) for _layer, _key, weight, grid in _rounded(module)]
        self._slopes: list[tuple[torch.Tensor, float]] = []
        self.bits = self.refresh()

    def refresh(self) -> float:
        """Count anew what zeros and sizes there are; return the bits that all weights cost now."""
        with torch.no_grad():
            priced = [price((weight / grid.step()).round()) for weight, grid in self._pairs]
        self._slopes = [(first, further) for _bits, first, further in priced]
        self.bits = sum(bits for bits, _first, _further in priced)
        return self.bits

    def penalty(self) -> torch.Tensor:
        """Return bits as a function that falls as weights go to zero: straight lines between the levels."""
        return torch.stack(list(self._parts())).sum()

    def _parts(self) -> Iterator[torch.Tensor]:
        for (weight, grid), (first, further) in zip(self._pairs, self._slopes, strict=True):
            size = (weight / grid.step()).abs()
            yield (first * size.clamp(max=1)).sum() + further * F.relu(size - 1).sum()


def _rounded(module: nn.Module) -> Iterator[tuple[nn.Module, str, torch.Tensor, Grid]]:
    """Go through what `apply` rounds: layer, name of the tensor, the unrounded tensor, its grid."""
    for layer in module.modules():
        chains: Any = getattr(layer, "parametrizations", {})
        for key, chain in chains.items():
            if isinstance(chain[0], Grid):
                yield layer, key, chain.original, chain[0]


def price(levels: torch.Tensor) -> tuple[float, torch.Tensor, float]:
    """Return what levels cost, and what they would cost more.

    Args:
        levels: (rows, …) whole numbers as float; all axes but the first are columns. A vector is one row.

    Returns:
        The bits of all levels; for each weight (of the shape of `levels`) the bits that 1 costs more than 0;
        the bits that each further level costs.

    >>> bits, first, further = price(torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]))
    >>> bool(first[0, 0] < first[0, 1])  # its column is full
    True
    """
    matrix = levels.flatten(1) if levels.ndim > 1 else levels[None]
    some = (matrix != 0).float()
    share = _expected(some)
    sizes = matrix.abs()[some.bool()]
    # Sizes are about geometric: each level more is as likely again.
    stop = float((1 / sizes.mean()).clamp(0.02, 0.98)) if len(sizes) else 0.5
    new, more = 1 - torch.tensor(stop).log2(), -torch.tensor(1 - stop).log2()
    bits = -(some * share.log2() + (1 - some) * (1 - share).log2()).sum()
    bits = bits + len(sizes) * new + (sizes - 1).sum() * more
    first = (1 - share).log2() - share.log2() + new
    return float(bits), first.clamp_min(_LEAST).reshape(levels.shape), float(more)


def _expected(some: torch.Tensor) -> torch.Tensor:
    """Return how likely each place of a matrix of zeros and ones is a one, by its row and its column."""
    rows, columns = some.shape
    mean = (some.sum() + 0.5) / (some.numel() + 1)
    if rows == 1:
        return mean.expand_as(some).clamp(1e-5, 0.98)
    by_row = (some.sum(1, keepdim=True) + _SHYNESS * mean) / (columns + _SHYNESS)
    by_column = (some.sum(0, keepdim=True) + _SHYNESS * mean) / (rows + _SHYNESS)
    odds = torch.logit(by_row, 1e-6) + torch.logit(by_column, 1e-6) - torch.logit(mean, 1e-6)
    return torch.sigmoid(odds).clamp(1e-5, 0.98)
