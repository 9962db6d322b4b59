"""Global average pooling whose gradient does not spoil a channels-last net."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Mean(torch.autograd.Function):
    """The mean of each channel, with a gradient that is a view: (N, C, 1, 1) seen as (N, C, H, W)."""

    @staticmethod
    def forward(ctx: Any, images: torch.Tensor) -> torch.Tensor:
        """Return the means (N, C, 1, 1)."""
        ctx.shape = images.shape
        return images.mean((2, 3), keepdim=True)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        """Spread the gradient evenly."""
        shape: torch.Size = ctx.shape
        return (gradient / (shape[2] * shape[3])).expand(shape)


@contextmanager
def channels_last_pooling(module: nn.Module) -> Iterator[None]:
    """Let `nn.AdaptiveAvgPool2d(1)` send back a gradient without a layout of its own; afterwards as before.

    PyTorch's is laid out with channels first, so that the layer before it walks through two layouts at
    once: 5 % of a bf16 step of `kit.models.convnet`. Values are the same to the last bit.
    """

    def mean(layer: nn.Module, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> torch.Tensor:
        usual = layer.training and given[0].ndim == 4 and out.shape[2:] == (1, 1)
        return _Mean.apply(given[0]) if usual else out  # type: ignore[no-untyped-call]

    pools = [layer for layer in module.modules() if isinstance(layer, nn.AdaptiveAvgPool2d)]
    hooks = [pool.register_forward_hook(mean) for pool in pools]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
