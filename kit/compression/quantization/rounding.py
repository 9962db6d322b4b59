"""What rounding to few bits does to one layer's weights: the levels they move to, and the noise of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kit.compression.quantization.report import decibels
from kit.compression.quantization.weight_only import rounded
from kit.errors import ArgumentError, unknown

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Rounding:
    """One layer's weights before and after.

    Attributes:
        weights: (outputs, …) flattened to (outputs, inputs of one output).
        rounded: likewise.
        scales: the step between two levels, for each output or one for all.
        bits: of a weight.
        snr: signal-to-noise ratio of the rounded weights in decibels.
    """

    weights: Floats
    rounded: Floats
    scales: Floats
    bits: int
    snr: float

    def levels(self, output: int) -> Floats:
        """Return the values that the weights of an output can take."""
        highest = 2 ** (self.bits - 1) - 1
        scale = self.scales[min(output, len(self.scales) - 1)]
        return np.asarray(np.arange(-highest, highest + 1) * scale, dtype=np.float32)


def round_layer(module: nn.Module, layer: str, *, bits: int = 8, per_channel: bool = True) -> Rounding:
    """Round one layer's weights to integers of `bits`, symmetric around zero.

    Args:
        module: the net; not changed.
        layer: the name of a layer with weights of two dimensions or more.
        bits: 2 to 8.
        per_channel: a scale for each output rather than one for all.

    Raises:
        ArgumentError: when the layer is unknown, or the bits are out of range.

    >>> from torch import nn
    >>> round_layer(nn.Sequential(nn.Linear(3, 2)), "0", bits=4).levels(0).size
    15
    """
    known = weighted_layers(module)
    if layer not in known:
        raise unknown("layer", layer, known)
    if not 2 <= bits <= 8:
        raise ArgumentError(f"bits must be from 2 to 8, got {bits}")
    weights = known[layer]
    blocks = weights if per_channel else weights.reshape(1, -1)
    numbers, scale = rounded(blocks, bits)
    after = (numbers * scale).reshape(weights.shape).astype(np.float32)
    return Rounding(weights, after, scale.reshape(-1), bits, decibels(weights, after))


def weighted_layers(module: nn.Module) -> dict[str, Floats]:
    """Return the weights (outputs, inputs of one output) of each layer that has such, by its name."""
    found = {}
    for name, layer in module.named_modules():
        weight = getattr(layer, "weight", None)
        if weight is not None and weight.ndim >= 2:
            values = weight.detach().cpu().float().numpy()
            found[name] = values.reshape(len(values), -1)
    return found
