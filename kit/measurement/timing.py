"""What a benchmark found: percentiles, throughput, ratios to the first, and what may be claimed."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.statistics import Measurement, bootstrap, hodges_lehmann

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALLEST_CLAIM = 0.01
"""Below 1 % the place that memory happened to get explains a difference as well as the model does."""


@dataclass(frozen=True, eq=False)
class Timing:
    """One candidate at one batch size.

    Attributes:
        name: the candidate.
        batch: samples in a call.
        role: "model", "control" or "overhead".
        times: of each call in ms, (blocks, rounds, calls).
        latency, p90, p99: percentiles of a call in ms; `latency` is the median (block bootstrap).
        ratio: time of this one over time of the first, paired by round (signed-rank interval over blocks).
        verdict: "baseline", "faster", "slower", "no difference shown", or "A/A control".
        opening: median time to open the model and answer once, in ms; None when it came opened.
        memory: bytes that opening and running it adds to a fresh process; None when not measured.
    """

    name: str
    batch: int
    role: str
    times: NDArray[np.float64]
    latency: Measurement
    p90: Measurement
    p99: Measurement
    ratio: Measurement
    verdict: str
    opening: Measurement | None = None
    memory: int | None = None

    @property
    def speedup(self) -> Measurement:
        """How many times faster than the first candidate; above 1 is faster."""
        r = self.ratio
        return Measurement(1 / r.value, 1 / r.high, 1 / r.low, r.n, "", r.method)

    @property
    def throughput(self) -> Measurement:
        """Samples a second, one call after the other."""
        t, scale = self.latency, 1000 * self.batch
        return Measurement(scale / t.value, scale / t.high, scale / t.low, t.n, "samples/s", t.method)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures (not every single call) as a dictionary fit for JSON."""
        figures = ("latency", "p90", "p99", "ratio", "speedup", "throughput")
        return {
            "name": self.name,
            "batch": self.batch,
            "role": self.role,
            **{name: getattr(self, name).to_dict() for name in figures},
            "verdict": self.verdict,
            "opening": self.opening.to_dict() if self.opening else None,
            "memory": self.memory,
        }


def paired_ratio(times: NDArray[np.float64], first: NDArray[np.float64]) -> Measurement:
    """Return how many times as long as the first one takes, both (blocks, rounds, calls).

    Each round gives one ratio of medians, each block the median of its rounds, and the blocks, in each of
    which the models were opened anew, are the independent observations: what hangs together within a block
    (a clock frequency, a neighbour's burst, the place that memory got) is counted once.

    Source: T. Kalibera & R. Jones, "Rigorous benchmarking in reasonable time", ISMM 2013.
    """
    rounds = np.log(np.median(times, axis=2)) - np.log(np.median(first, axis=2))
    centre = hodges_lehmann(np.median(rounds, axis=1))
    value, low, high = (exp(bound) for bound in (centre.value, centre.low, centre.high))
    return Measurement(value, low, high, centre.n, "", centre.method)


def verdict(ratio: Measurement, control: Measurement | None) -> str:
    """Say what a ratio shows: its interval must miss 1 by more than the A/A control is off, and by 1 %."""
    margin = max(log(1 + SMALLEST_CLAIM), abs(log(control.value)) if control else 0.0)
    if log(ratio.high) < -margin:
        return "faster"
    if log(ratio.low) > margin:
        return "slower"
    return "no difference shown"


def summarise(
    roles: list[tuple[str, str]], times: NDArray[np.float64], batch: int, **extras: dict[str, Any]
) -> list[Timing]:
    """Turn times in seconds (candidates, blocks, rounds, calls) into one `Timing` a candidate.

    Args:
        roles: name and role of each candidate; the first is the baseline.
        times: in the same order.
        batch: samples in a call.
        extras: "opening" and "memory" by name, where known.
    """
    milliseconds = times * 1e3
    ratios = [paired_ratio(rows, milliseconds[0]) for rows in milliseconds]
    control = next((r for r, (_, role) in zip(ratios, roles, strict=True) if role == "control"), None)
    result = []
    for position, ((name, role), rows, ratio) in enumerate(zip(roles, milliseconds, ratios, strict=True)):
        middle, tail, extreme = (_percentile(rows, q) for q in (50, 90, 99))
        said = {"control": "A/A control", "overhead": "overhead"}.get(role) or verdict(ratio, control)
        known = {key: table.get(name) for key, table in extras.items()}
        result.append(
            Timing(
                name, batch, role, rows, middle, tail, extreme, ratio,
                "baseline" if position == 0 else said, **known,
            )
        )  # fmt: skip
    return result


def _percentile(rows: NDArray[np.float64], q: float) -> Measurement:
    def statistic(values: NDArray[np.float64], axis: int) -> Any:
        return np.percentile(values, q, axis=axis)

    return bootstrap(rows.reshape(len(rows), -1), statistic, resamples=500, unit="ms")
