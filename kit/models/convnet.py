"""A small residual net: the kit's working model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from kit.models.architecture import architecture

if TYPE_CHECKING:
    import torch


class Residual(nn.Module):
    """Two 3×3 convolutions with a shortcut around them, (N, C, H, W) to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add what the convolutions find to what came in."""
        out: torch.Tensor = self.relu(x + self.body(x))
        return out


@architecture
def convnet(
    *, classes: int = 10, channels: int = 1, widths: tuple[int, int, int] = (16, 32, 64)
) -> nn.Module:
    """Build a residual convolutional net for (channels, H, W) inputs of any size from 8×8.

    With its defaults 116,602 parameters and 9.1 million multiply-accumulates for 28×28.

    Source: K. He et al., "Deep residual learning for image recognition", 2016, in small.
    """
    first, second, third = widths

    def step(before: int, after: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        )

    return nn.Sequential(
        step(channels, first, 1),
        step(first, second, 2),
        Residual(second),
        step(second, third, 2),
        Residual(third),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(third, classes),
    )
