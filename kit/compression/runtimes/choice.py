"""`Choice`: every way to run a model that was tried, how fast, how good, and why it was taken or not."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from itertools import groupby
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from kit.errors import unknown
from kit.measurement import table
from kit.measurement.results import significant, times
from kit.notebook import Readable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

    from kit.measurement.evaluate import Agreement
    from kit.measurement.results import Benchmark
    from kit.runtime.execution import Execution
    from kit.statistics import Measurement

_HEADER = ["", "ms", "speed-up [95 %]", "change, points [95 %]", "same", "verdict"]


@dataclass(frozen=True)
class Tried:
    """One candidate.

    Attributes:
        name: such as "openvino int8 nncf, 2 threads".
        form: what is run, such as "fp32" or "int8".
        execution: how.
        verdict: "chosen", "as fast", "slower", "screened out", "inaccurate" or "not built".
        why: the reason in one line.
        change: answers and accuracy against the given model on the validation split; None if not built.
        glance: ms a call in the screening, without interval; None if it was not timed.
        latency, speedup: of the final measurement, against the baseline; None if it took no part.
    """

    name: str
    form: str
    execution: Execution
    verdict: str
    why: str
    change: Agreement | None = None
    glance: float | None = None
    latency: Measurement | None = None
    speedup: Measurement | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary fit for JSON."""
        parts = ("execution", "change", "latency", "speedup")
        return {**vars(self), **{key: (part := getattr(self, key)) and part.to_dict() for key in parts}}


@dataclass(frozen=True, eq=False)
class Choice(Readable):
    """What `fastest` tried and what it took.

    Attributes:
        tried: every candidate, the fastest first, those that could not be built last.
        chosen: the name of the one that was taken.
        baseline: the name of the one that speed-ups are against.
        benchmark: the final interleaved measurement.
        data: where answers and accuracy were compared.
        max_drop, agreement: what a candidate had to hold.
        batch_size: samples in a call.
        notes: what else is worth knowing.
    """

    tried: tuple[Tried, ...]
    chosen: str
    baseline: str
    benchmark: Benchmark
    data: str
    max_drop: float
    agreement: float
    batch_size: int
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Tried:
        """Return a candidate by its name, of several numbers of threads the fastest.

        Raises:
            ArgumentError: when there is none of this name.
        """
        for one in self.tried:
            if name in {one.name, one.name.split(",", 1)[0]}:
                return one
        raise unknown("candidate", name, [one.name for one in self.tried])

    @property
    def speedup(self) -> Measurement:
        """How many times faster than the baseline the chosen one is."""
        return self.benchmark[self.chosen].speedup

    def plot(self) -> Figure:
        """Draw the distribution of latencies of those that took part in the final measurement."""
        return self.benchmark.plot()

    def to_dict(self) -> dict[str, Any]:
        """Return all candidates and the evidence as a dictionary fit for JSON."""
        return {
            **vars(self),
            "tried": [one.to_dict() for one in self.tried],
            "benchmark": self.benchmark.to_dict(),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        notes = [line for note in self._notes() for line in wrap(note, 105)]
        return "\n".join([self._title(), table.text(_HEADER, self._rows()), *notes])

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{escape(note)}</p>" for note in self._notes())
        reasons = [one.why for one in self.tried if one.change is not None]
        rows = [[*row, why] for row, why in zip(self._rows(), reasons, strict=True)]
        return table.html(self._title(), [*_HEADER, "why"], rows) + notes

    def _title(self) -> str:
        built = sum(one.change is not None for one in self.tried)
        return f"{built} ways to run it, batch {self.batch_size}; chosen: {self.chosen}"

    def _rows(self) -> list[list[str]]:
        base = self[self.baseline].glance
        return [_row(one, base) for one in self.tried if one.change is not None]

    def _notes(self) -> Iterator[str]:
        yield f"Chosen because {self[self.chosen].why}."
        yield from (f"Not {one.name}: {one.why}." for one in self.tried if one.verdict == "inaccurate")
        for reason, group in groupby((one for one in self.tried if one.change is None), lambda one: one.why):
            yield f"Not built: {', '.join(one.name for one in group)}: {reason}."
        yield (
            f"Speed-ups are against {self.baseline}: {self.benchmark.conditions(self.batch_size)}; those "
            f"with ≈ are of the screening and bear no claim. Answers are compared on {self.data}: at most "
            f"{self.max_drop:g} points lost, at least {self.agreement:.0%} of the answers the same."
        )
        yield from (f"Warning: {warning}." for warning in self.benchmark.warnings)
        yield from self.notes
        yield f"{self.benchmark.machine}."


def _row(one: Tried, base: float | None) -> list[str]:
    assert one.change is not None
    unit = 100 if one.change.counts else 1  # regression has no points but a squared error
    change, low, high = (unit * part for part in (one.change.change.value, *_bounds(one.change.change)))
    if one.latency is not None and one.speedup is not None:
        speed = [significant(one.latency.value), times(one.speedup)]
    elif one.glance is not None and base is not None:
        speed = [f"≈{significant(one.glance)}", f"≈{base / one.glance:.2f}×"]
    else:
        speed = ["–", "–"]
    moved = f"{change:+.2f} [{low:+.2f}, {high:+.2f}]" if unit == 100 else f"{change:+.3g}"
    return [one.name, *speed, moved, f"{one.change.same.value:.1%}", one.verdict]


def _bounds(measured: Measurement) -> tuple[float, float]:
    return measured.low, measured.high
