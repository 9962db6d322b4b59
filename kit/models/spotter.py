"""A keyword spotter: a depthwise-separable net on spectrograms."""

from __future__ import annotations

from torch import nn

from kit.models.architecture import architecture
from kit.models.mobilenet import separable


@architecture
def spotter(*, classes: int = 10, width: int = 48, blocks: int = 4) -> nn.Module:
    """Build a keyword-spotting net for (1, bands, frames) spectrograms.

    With its defaults 13,834 parameters.

    Source: Y. Zhang et al., "Hello edge: keyword spotting on microcontrollers", arXiv:1711.07128 (DS-CNN).
    """
    return nn.Sequential(
        nn.Sequential(
            nn.Conv2d(1, width, (4, 8), stride=(2, 2), padding=(1, 3), bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ),
        *(separable(width, width, 2 if index == 0 else 1) for index in range(blocks)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, classes),
    )
