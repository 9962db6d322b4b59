"""`Benchmark`: the timings of one interleaved run, printable, plottable, fit for JSON."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from kit.errors import unknown
from kit.measurement import table
from kit.measurement.clock import BUSY
from kit.notebook import Readable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

    from kit.measurement.timing import Timing
    from kit.statistics import Measurement


@dataclass(frozen=True, eq=False)
class Benchmark(Readable):
    """What an interleaved run found, and under which conditions.

    Attributes:
        timings: one for each candidate and batch size, the control and the empty model included.
        clock: "wall" or "cpu".
        reason: why this clock.
        threads: of the sessions; None when only functions were timed.
        plans: blocks, rounds and calls of each batch size.
        load: the load average per core before and after.
        others: the share of the cores that other processes took during the run.
        machine: one line about it.
    """

    timings: tuple[Timing, ...]
    clock: str
    reason: str
    threads: int | None
    plans: dict[int, tuple[int, int, int]]
    load: tuple[float, float]
    others: float
    machine: str

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The batch sizes, in the order they were asked for."""
        return tuple(self.plans)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What stands against these figures."""
        found = []
        if self.clock == "wall" and self.others >= BUSY:
            found.append(
                f"the machine was busy: other processes took {self.others:.0%} of the cores; "
                "repeat it when it is quiet, or with clock='cpu'"
            )
        if self.clock == "cpu" and (self.threads or 1) > 1:
            found.append(
                f"the cpu clock adds up {self.threads} threads, waiting ones included; use threads=1"
            )
        controls = [t for t in self.timings if t.role == "control" and abs(t.ratio.value - 1) > 0.05]
        found += [
            f"the A/A control of batch {t.batch} is off by {t.ratio.value - 1:+.0%}: give it more seconds="
            for t in controls
        ]
        return tuple(found)

    def __getitem__(self, name: str) -> Timing:
        """Return the timing of a candidate at the first batch size."""
        return self.at(name, self.batch_sizes[0])

    def at(self, name: str, batch: int) -> Timing:
        """Return the timing of a candidate at a batch size.

        Raises:
            ArgumentError: when there is none.
        """
        for timing in self.timings:
            if (timing.name, timing.batch) == (name, batch):
                return timing
        raise unknown(
            "timing", f"{name}, batch {batch}", [f"{t.name}, batch {t.batch}" for t in self.timings]
        )

    @property
    def control(self) -> Measurement | None:
        """How long the first candidate takes when it takes part a second time, over the first time."""
        return next((timing.ratio for timing in self.timings if timing.role == "control"), None)

    @property
    def overhead(self) -> Measurement:
        """The time of a call that computes nothing, in ms: what no compression can take away."""
        return next(timing.latency for timing in self.timings if timing.role == "overhead")

    def overhead_on(self, runtime: str) -> Measurement:
        """The same on a runtime that only some of the candidates use."""
        names = {
            timing.name: timing.latency for timing in reversed(self.timings) if timing.role == "overhead"
        }
        return names.get(f"an empty model on {runtime}", self.overhead)

    def plot(self) -> Figure:
        """Draw the distribution of the first batch size's latencies, with p50, p90 and p99."""
        from kit import plots

        first = self.batch_sizes[0]
        times = {t.name: t.times.ravel() for t in self.timings if t.batch == first and t.role != "overhead"}
        return plots.latency(times, title=f"Latency, batch {first}", conditions=self.conditions(first))

    def plot_throughput(self) -> Figure:
        """Draw samples a second over batch sizes, with intervals."""
        from kit import plots

        series: dict[str, list[tuple[int, Measurement]]] = {}
        for timing in sorted(self.timings, key=lambda t: t.batch):
            if timing.role == "model":
                series.setdefault(timing.name, []).append((timing.batch, timing.throughput))
        return plots.throughput(series, conditions=self.conditions(self.batch_sizes[0]))

    def conditions(self, batch: int) -> str:
        """Return n, clock and threads in one line."""
        blocks, rounds, calls = self.plans[batch]
        count = f", {self.threads} thread{'s' * (self.threads > 1)}" if self.threads else ""
        return f"n = {blocks} blocks × {rounds} rounds × {calls} calls, {self.clock} clock{count}"

    def _tables(self) -> Iterator[tuple[str, list[str], list[list[str]]]]:
        """Yield title, header and rows for each batch size."""
        header = ["", "p50 ms [95 %]", "p90", "p99", "samples/s", "speed-up [95 %]", "claim", "peak MB"]
        for size in self.batch_sizes:
            rows = [_row(timing) for timing in self.timings if timing.batch == size]
            yield f"Batch {size}: {self.conditions(size)}", header, rows

    def _notes(self) -> list[str]:
        load = f"load {self.load[0]:.1f} → {self.load[1]:.1f} a core, others took {self.others:.0%}"
        chosen = f"The {self.clock} clock was chosen because {self.reason}."
        return [*(f"Warning: {w}." for w in self.warnings), chosen, f"{self.machine}; {load}."]

    def __str__(self) -> str:
        parts = [f"{title}\n{table.text(header, rows)}" for title, header, rows in self._tables()]
        return "\n".join([*parts, *self._notes()])

    def _repr_html_(self) -> str:
        tables = "".join(table.html(*part) for part in self._tables())
        return tables + "".join(f"<p>{escape(note)}</p>" for note in self._notes())

    def to_dict(self) -> dict[str, Any]:
        """Return the figures and the conditions as a dictionary fit for JSON."""
        return {
            "timings": [timing.to_dict() for timing in self.timings],
            "clock": self.clock,
            "reason": self.reason,
            "threads": self.threads,
            "plans": {str(size): list(plan) for size, plan in self.plans.items()},
            "load": list(self.load),
            "others": self.others,
            "machine": self.machine,
            "warnings": list(self.warnings),
        }


def _row(t: Timing) -> list[str]:
    claims = {"no difference shown": "none", "A/A control": "control", "overhead": ""}
    tails = [
        significant(tail.value) if t.times.size >= needed else "–"
        for tail, needed in ((t.p90, 20), (t.p99, 200))
    ]  # two calls at least must lie beyond
    row = [t.name, interval(t.latency), *tails]
    row.append("" if t.role == "overhead" else f"{t.throughput.value:,.0f}")
    row.append("" if t.verdict in {"baseline", "overhead"} else times(t.speedup))
    row.append(claims.get(t.verdict, t.verdict))
    row.append("" if t.role != "model" else "–" if t.memory is None else f"{t.memory / 1e6:.1f}")
    return row


def times(measured: Measurement) -> str:
    """Write a ratio and its interval: `2.10× [2.05, 2.16]`."""
    digits = 0 if measured.value >= 100 else 1 if measured.value >= 10 else 2
    return f"{measured.value:.{digits}f}× [{measured.low:.{digits}f}, {measured.high:.{digits}f}]"


def significant(value: float) -> str:
    """Write a number with three significant digits and no exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    digits = 2 if value >= 1 else 3 if value >= 0.1 else 4
    return f"{value:.{digits}f}"


def interval(measured: Measurement) -> str:
    """Write a measurement and its interval with three significant digits each."""
    return f"{significant(measured.value)} [{significant(measured.low)}, {significant(measured.high)}]"
