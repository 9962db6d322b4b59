"""`Trial`: what became of one recipe. Its sorting: what is within the budget, what is on the front."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import inf, log2
from typing import TYPE_CHECKING, Any, Literal, Self

from kit.compression.search.recipes import Recipe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kit.compression.search.budget import Budget, Cost

Outcome = Literal["measured", "stopped early", "failed"]


@dataclass(frozen=True)
class Trial:
    """One recipe and what it came to, on the validation split.

    Attributes:
        number: 0 for the model as it came.
        recipe: what was tried.
        outcome: "measured", "stopped early" or "failed".
        reason: why it was stopped, or how it failed.
        score: accuracy (fraction) or RMSE of the file; of a recipe that was stopped, its last figure.
        drop: points of accuracy lost against the model as it came (regression: percent of its RMSE).
        bytes: of the file; None when there is none.
        ms: of a call with one sample, by the ratio to the first; None when the budget does not ask for it.
        glimpse: points lost after one epoch on a slice; None when it was not looked at.
        tuned: points lost after fine-tuning, before quantization.
        seconds: what it took, less what was found made.
    """

    number: int
    recipe: Recipe
    outcome: Outcome = "measured"
    reason: str = ""
    score: float | None = None
    drop: float | None = None
    bytes: int | None = None
    ms: float | None = None
    glimpse: float | None = None
    tuned: float | None = None
    seconds: float = 0.0

    @property
    def measured(self) -> bool:
        """Whether there is a file with figures."""
        return self.outcome == "measured"

    def cost(self, by: Cost) -> float:
        """Return bytes or milliseconds of a measured trial."""
        value = self.bytes if by == "bytes" else self.ms
        assert value is not None
        return float(value)

    def excess(self, budget: Budget) -> float:
        """Return by how much a measured trial breaks the budget; 0 when it keeps it."""
        assert self.drop is not None
        assert self.bytes is not None
        return budget.excess(self.drop, self.bytes, self.ms)

    def rank(self, budget: Budget) -> tuple[float, float]:
        """Return what sorts measured trials by the budget's goal, the best first."""
        assert self.drop is not None
        assert self.bytes is not None
        return budget.rank(self.drop, self.bytes, self.ms)

    def updated(self, **changes: Any) -> Self:
        """Return the trial with some attributes changed."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the trial as a dictionary fit for JSON."""
        return asdict(self)

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Self:
        """Return what `to_dict` stored."""
        return cls(**(stored | {"recipe": Recipe(**stored["recipe"])}))


def chosen(trials: Iterable[Trial], budget: Budget) -> Trial | None:
    """Return the best measured trial within the budget, or None."""
    within = [trial for trial in trials if trial.measured and trial.excess(budget) == 0]
    return min(within, key=lambda trial: trial.rank(budget), default=None)


def front(trials: Iterable[Trial], by: Cost) -> list[Trial]:
    """Return the measured trials that no other beats in both accuracy and cost, cheapest first."""
    kept, least = [], inf
    for trial in sorted((t for t in trials if t.measured), key=lambda t: (t.cost(by), t.drop, t.number)):
        assert trial.drop is not None
        if trial.drop < least:
            kept.append(trial)
            least = trial.drop
    return kept


def hypervolume(trials: Sequence[Trial], by: Cost, *, worst: float) -> float:
    """Return the area that a front covers, in points × halvings of the cost.

    Up to down it goes from a loss of `worst` points to what each trial loses, left to right from the cost of
    the first trial to its halves, quarters and so on: twice as small at the same accuracy is worth as many
    points as it keeps above the worst. Where nothing is cheaper than the first it is 0.

    Source: E. Zitzler, L. Thiele, "Multiobjective optimization using evolutionary algorithms", 1998.

    >>> one, half = (Trial(i, Recipe(), drop=float(i), bytes=100 // (i + 1)) for i in (0, 1))
    >>> hypervolume([one, half], "bytes", worst=5.0)
    4.0
    """
    if not trials or not trials[0].measured:
        return 0.0
    area, reached = 0.0, 0.0
    for trial in reversed(front(trials, by)):  # the dearest first: each adds what lies beyond the one before
        assert trial.drop is not None
        halvings = log2(trials[0].cost(by) / trial.cost(by))
        if halvings > reached and trial.drop < worst:
            area += (halvings - reached) * (worst - trial.drop)
            reached = halvings
    return area
