"""What an evaluation says of a model that goes on with a text: bits, perplexity, how often it is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.measurement.scores import Evaluation
from kit.statistics import Measurement, bootstrap

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Generation(Evaluation):
    """How well a model goes on with a text; `score` is how often its likeliest token is the next one.

    The windows are what is drawn anew for the intervals: the tokens of one hang together.

    Attributes:
        bits: mean bits that the next token costs under the model, such as bits per character.
        tokens: how many were predicted.
    """

    bits: Measurement
    tokens: int

    @property
    def perplexity(self) -> Measurement:
        """Two to the power of the bits: among how many tokens the model hesitates."""
        value, low, high = (2.0**part for part in (self.bits.value, self.bits.low, self.bits.high))
        return Measurement(value, low, high, self.bits.n, "", self.bits.method)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dictionary fit for JSON."""
        return {
            **super().to_dict(),
            "bits": self.bits.to_dict(),
            "perplexity": self.perplexity.to_dict(),
            "tokens": self.tokens,
        }

    def __str__(self) -> str:
        return (
            f"{self.name} on {self.data}: {self.bits:.3f} bits a token, perplexity {self.perplexity:.2f}, "
            f"next token right {self.score:.2%}, n = {self.tokens:,} tokens in {self.n:,} windows"
        )


def generation(name: str, data: str, outputs: NDArray[np.float32], targets: NDArray[np.int64]) -> Generation:
    """Score logits (N, tokens · T) against the tokens (N, T) that really follow."""
    cost = np.concatenate([_bits(*part) for part in _parts(outputs, targets)])
    right = (followed(outputs, targets) == targets).mean(axis=1)
    return Generation(
        name, data, len(targets), bootstrap(right, np.mean), bootstrap(cost, np.mean), targets.size
    )


def followed(outputs: NDArray[np.float32], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the likeliest next tokens (N, T) of logits (N, tokens · T)."""
    return np.concatenate([logits.argmax(axis=1) for logits, _ in _parts(outputs, targets)])


def _parts(outputs: NDArray[np.float32], targets: NDArray[np.int64]) -> list[Any]:
    """Cut logits into stretches (n, tokens, T) that fit a cache."""
    logits = outputs.reshape(len(targets), -1, targets.shape[1])
    return [(logits[i : i + 64], targets[i : i + 64]) for i in range(0, len(targets), 64)]


def _bits(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean bits of each window."""
    top = logits.max(axis=1)
    total = np.log(np.exp(logits - top[:, None], dtype=np.float64).sum(axis=1)) + top
    given = np.take_along_axis(logits, targets[:, None], axis=1)[:, 0]
    bits: NDArray[np.float64] = (total - given).mean(axis=1) / np.log(2)
    return bits
