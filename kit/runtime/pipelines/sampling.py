"""How the next token is drawn from a model's logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kit.errors import ArgumentError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Sampling:
    """How to draw.

    Attributes:
        temperature: below 1 keeps to likely tokens, above 1 dares more; 0 always takes the likeliest.
        top_k: only so many of the likeliest tokens; None all.
        top_p: only the likeliest tokens that together have this probability.

    Raises:
        ArgumentError: when a value is out of range.

    Source: A. Holtzman et al., "The curious case of neural text degeneration", arXiv:1904.09751.
    """

    temperature: float = 0.8
    top_k: int | None = None
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 10:
            raise ArgumentError(f"temperature lies between 0 and 10, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ArgumentError(f"top_k must be at least 1, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ArgumentError(f"top_p lies above 0 and up to 1, got {self.top_p}")

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probability of each token (tokens,) to be drawn.

        >>> Sampling(temperature=1, top_k=1).probabilities(np.array([0.0, 2.0, 1.0], np.float32)).tolist()
        [0.0, 1.0, 0.0]
        """
        order = np.argsort(-logits, kind="stable")
        if self.temperature == 0:
            order = order[:1]
        order = order[: self.top_k]
        scaled = logits[order].astype(np.float64) / (self.temperature or 1)
        shares = np.exp(scaled - scaled.max())
        shares /= shares.sum()
        within = np.cumsum(shares) - shares < self.top_p  # the first always is
        result = np.zeros(len(logits))
        result[order[within]] = shares[within] / shares[within].sum()
        return result

    def draw(self, logits: NDArray[np.float32], random: np.random.Generator) -> int:
        """Draw a token."""
        total = np.cumsum(self.probabilities(logits))
        return int(np.searchsorted(total, random.random() * total[-1], side="right"))
