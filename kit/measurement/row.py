"""`Row`: one variant of a comparison, with everything that was measured of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from kit.errors import unknown
from kit.measurement.results import interval, significant, times

if TYPE_CHECKING:
    from kit.measurement.scores import Evaluation
    from kit.statistics import Measurement

By = Literal["bytes", "latency", "macs", "parameters", "memory"]
COSTS: dict[str, tuple[str, float]] = {
    "bytes": ("kB on disk", 1e3),
    "latency": ("ms a call", 1),
    "macs": ("million multiply-accumulates a sample", 1e6),
    "parameters": ("thousand parameters", 1e3),
    "memory": ("MB of memory at most", 1e6),
}
"""What can be traded for accuracy: its unit on an axis, and how many make one."""


@dataclass(frozen=True, eq=False)
class Row:
    """One variant.

    Attributes:
        name: of the variant.
        metric: "accuracy" or "rmse".
        score: accuracy as a fraction, or the root-mean-square error; with its interval.
        parameters, nonzero, macs, bytes: how large it is.
        latency: median ms of a call at the first batch size.
        speedup: against the first, paired by round.
        verdict: what that shows: "baseline", "faster", "slower" or "no difference shown".
        agreement: the share of samples on which it says what the first says.
        change: of accuracy against the first, in fractions, paired by sample.
        p: McNemar's p-value for "the accuracy changed"; None for regression.
        memory: bytes that opening and running it adds to a fresh process, or None.
        why: the reasons, one a line.
        evaluation: all scores.
    """

    name: str
    metric: str
    score: Measurement
    parameters: int
    nonzero: int
    macs: int
    bytes: int
    latency: Measurement
    speedup: Measurement
    verdict: str
    agreement: Measurement
    change: Measurement
    p: float | None
    memory: int | None
    why: tuple[str, ...]
    evaluation: Evaluation

    def cost(self, by: str) -> float:
        """Return what it costs in `by`; infinity when that was not measured.

        Raises:
            ArgumentError: when `by` is unknown.
        """
        if by not in COSTS:
            raise unknown("cost", by, COSTS)
        value = self.latency.value if by == "latency" else getattr(self, by)
        return float("inf") if value is None else float(value)

    @property
    def quality(self) -> float:
        """A number that is larger for the better model: accuracy, or the RMSE with a minus."""
        return self.score.value if self.metric == "accuracy" else -self.score.value

    def to_dict(self) -> dict[str, Any]:
        """Return the row as a dictionary fit for JSON."""
        measured = ("score", "latency", "speedup", "agreement", "change")
        return {
            **{key: value for key, value in vars(self).items() if key != "evaluation"},
            **{key: getattr(self, key).to_dict() for key in measured},
            "why": list(self.why),
            "evaluation": self.evaluation.to_dict(),
        }

    def cells(self, *, wide: bool = False) -> list[str]:
        """Return what stands in the table: bounds of all intervals when `wide`, else half their width."""
        first = self.verdict == "baseline"
        mark = {"no difference shown": "≈ ", "slower": "↓ ", "faster": "↑ "}.get(self.verdict, "")
        return [
            self.name,
            self._score(wide=wide),
            f"{self.parameters:,}",
            f"{self.nonzero / self.parameters:.0%}" if self.parameters else "–",
            f"{self.macs / 1e6:.2f} M",
            f"{self.bytes / 1e3:,.0f}",
            interval(self.latency) if wide else f"{significant(self.latency.value)} ±{self._spread():.0%}",
            "baseline" if first else mark + times(self.speedup),
            "" if first else f"{self.agreement.value:.1%}",
            "" if first or self.p is None else f"{self.p:.2g}" if self.p >= 0.001 else "<.001",
        ]

    def _spread(self) -> float:
        """Half the width of the interval of the latency, as a fraction of it."""
        return (self.latency.high - self.latency.low) / 2 / self.latency.value

    def _score(self, *, wide: bool) -> str:
        scale, digits = (100, 2) if self.metric == "accuracy" else (1, 4)
        value, low, high = (scale * part for part in (self.score.value, self.score.low, self.score.high))
        if wide:
            return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
        return f"{value:.{digits}f} ±{max(value - low, high - value):.{digits}f}"


def header(metric: str) -> list[str]:
    """Return the names of the columns that `Row.cells` fills."""
    score = "accuracy %" if metric == "accuracy" else "RMSE"
    return ["", score, "params", "nonzero", "MACs", "kB", "ms", "speed-up [95 %]", "same", "p"]
