"""A convolutional net over characters: it says what kind of text this is."""

from __future__ import annotations

import torch
from torch import nn

from kit.models.architecture import architecture


class Characters(nn.Module):
    """Tokens (N, T) as numbers of any dtype to their vectors (N, width, T)."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(tokens, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Look every token up."""
        vectors: torch.Tensor = self.vectors(tokens.long())
        return vectors.transpose(1, 2)


@architecture
def charnet(*, classes: int, tokens: int, width: int = 64) -> nn.Module:
    """Build a text classifier for (T,) characters: two convolutions and the strongest answer to each filter.

    Source: X. Zhang, J. Zhao, Y. LeCun, "Character-level convolutional networks for text classification",
    arXiv:1509.01626, in small.
    """
    return nn.Sequential(
        Characters(tokens, width // 2),
        nn.Conv1d(width // 2, width, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(width, 2 * width, 5, padding=2),
        nn.ReLU(),
        nn.AdaptiveMaxPool1d(1),
        nn.Flatten(),
        nn.Linear(2 * width, classes),
    )
