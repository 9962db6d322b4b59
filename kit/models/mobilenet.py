"""A depthwise-separable net: few weights, and each of them counts."""

from __future__ import annotations

from torch import nn

from kit.models.architecture import architecture


def separable(before: int, after: int, stride: int) -> nn.Sequential:
    """Return a 3×3 convolution a channel and a 1×1 convolution over them, each normalised."""
    return nn.Sequential(
        nn.Conv2d(before, before, 3, stride=stride, padding=1, groups=before, bias=False),
        nn.BatchNorm2d(before),
        nn.ReLU(),
        nn.Conv2d(before, after, 1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
    )


@architecture
def mobilenet(*, classes: int = 10, channels: int = 1, width: int = 32) -> nn.Module:
    """Build a small depthwise-separable net for (channels, H, W) inputs of any size from 8×8.

    With its defaults 31,370 parameters and 1.8 million multiply-accumulates for 28×28.

    Source: A. Howard et al., "MobileNets", arXiv:1704.04861, in small.
    """
    return nn.Sequential(
        nn.Sequential(
            nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        ),
        separable(width, 2 * width, 1),
        separable(2 * width, 4 * width, 2),
        separable(4 * width, 4 * width, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * width, classes),
    )
