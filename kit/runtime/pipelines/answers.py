"""What a pipeline answers: labels with their probabilities, numbers, or a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from kit.notebook import Readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Labels(Readable):
    """The classes of one sample, the likeliest first.

    Attributes:
        ranked: class names with their probabilities.
    """

    ranked: tuple[tuple[str, float], ...]

    @classmethod
    def of(cls, logits: NDArray[np.float64], classes: Sequence[str]) -> Self:
        """Return the answer that logits (outputs,) stand for; one output is the second class of two."""
        if len(logits) == 1 and len(classes) == 2:
            logits = np.array([0.0, float(logits[0])])
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        order = np.argsort(-shares, kind="stable")
        return cls(tuple((classes[i], float(shares[i])) for i in order))

    @property
    def label(self) -> str:
        """The likeliest class."""
        return self.ranked[0][0]

    @property
    def probability(self) -> float:
        """Its probability, as the model has it."""
        return self.ranked[0][1]

    def to_dict(self) -> dict[str, Any]:
        """Return label and probabilities as a dictionary fit for JSON."""
        return {"label": self.label, "probabilities": dict(self.ranked)}

    def __str__(self) -> str:
        return ", ".join(f"{name} {100 * share:.1f} %" for name, share in self.ranked[:3])


@dataclass(frozen=True)
class Values(Readable):
    """The numbers that a regression gives for one sample."""

    values: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as a dictionary fit for JSON."""
        return {"values": list(self.values)}

    def __str__(self) -> str:
        return ", ".join(f"{value:.5g}" for value in self.values)


@dataclass(frozen=True)
class Written(Readable):
    """What a generator wrote.

    Attributes:
        prompt: what it went on with.
        text: what it wrote, without the prompt.
        tokens: how many it drew.
        seconds: from the prompt to the last token, on this machine, once.
        ended: "length", or "stop" when a stop text came.
    """

    prompt: str
    text: str
    tokens: int
    seconds: float
    ended: Literal["length", "stop"]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary fit for JSON."""
        return dict(vars(self))

    def __str__(self) -> str:
        return self.prompt + self.text
