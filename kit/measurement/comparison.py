"""`Comparison`: the table, the Pareto fronts, the best of them, and the reasons."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from kit import files, plots
from kit.errors import ArgumentError, unknown
from kit.measurement import table
from kit.measurement.results import significant
from kit.measurement.row import COSTS, By, Row, header
from kit.measurement.timing import SMALLEST_CLAIM
from kit.notebook import Readable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kit.measurement.results import Benchmark
    from kit.variant import Variant

__all__ = ["COSTS", "By", "Comparison", "Row"]


@dataclass(frozen=True, eq=False)
class Comparison(Readable):
    """Variants measured side by side; the first is the baseline.

    Attributes:
        rows: one for each variant, in the order given.
        variants: the variants as they were measured (a module as the ONNX file that ran), with figures.
        benchmark: the interleaved timings, with the A/A control and the conditions.
        data, split: where accuracy was measured.
        runtime: what ran them.
    """

    rows: tuple[Row, ...]
    variants: tuple[Variant, ...]
    benchmark: Benchmark
    data: str
    split: str
    runtime: str

    def __getitem__(self, name: str) -> Row:
        for row in self.rows:
            if row.name == name:
                return row
        raise unknown("variant", name, [row.name for row in self.rows])

    def best(self, *, max_drop: float = 0.5, by: By = "bytes") -> Variant:
        """Return the cheapest variant that loses no more than `max_drop` points against the first.

        It judges by the split that was compared. Choosing on "test" and reporting that figure would be
        tuning on the test split: choose with `compare(…, split="valid")`.

        Args:
            max_drop: in points of accuracy; for regression in percent of the first's RMSE.
            by: "bytes", "latency", "macs", "parameters" or "memory".

        Raises:
            ArgumentError: when `by` is unknown, or `max_drop` is negative.
        """
        if max_drop < 0:
            raise ArgumentError(f"max_drop is a loss in points and cannot be negative, got {max_drop}")
        first = self.rows[0]
        scale = 1.0 if first.metric == "accuracy" else first.score.value
        allowed = [
            (row.cost(by), index)
            for index, row in enumerate(self.rows)
            if row.quality >= first.quality - scale * max_drop / 100 - 1e-12
        ]
        return self.variants[min(allowed)[1]]

    def front(self, by: By = "bytes") -> tuple[Row, ...]:
        """Return the rows that no other row beats in both quality and cost, cheapest first.

        Latencies and memory that differ by less than 1 % count as equal.

        Raises:
            ArgumentError: when `by` is unknown.
        """
        noise = 1 + SMALLEST_CLAIM if by in {"latency", "memory"} else 1.0

        def beaten(row: Row) -> bool:
            return any(
                (other.quality > row.quality and other.cost(by) <= row.cost(by) * noise)
                or (other.quality >= row.quality and other.cost(by) * noise < row.cost(by))
                for other in self.rows
            )

        return tuple(sorted((r for r in self.rows if not beaten(r)), key=lambda row: row.cost(by)))

    def plot(self, by: By = "latency") -> Figure:
        """Draw quality against cost with the Pareto front; dominated points are hollow.

        Raises:
            ArgumentError: when `by` is unknown.
        """
        front = {row.name for row in self.front(by)}
        label, unit = COSTS[by]
        percent = 100.0 if self.rows[0].metric == "accuracy" else 1.0
        points = [
            plots.Point(
                name=row.name,
                cost=row.cost(by) / unit,
                cost_interval=(row.latency.low, row.latency.high) if by == "latency" else None,
                quality=percent * row.score.value,
                quality_interval=(percent * row.score.low, percent * row.score.high),
                dominated=row.name not in front,
            )
            for row in self.rows
            if row.cost(by) != float("inf")
        ]
        quality = "accuracy, %" if percent > 1 else "RMSE"
        seen = f"{self.data} {self.split}, n = {self.rows[0].score.n:,}"
        if by == "latency":
            batch = self.benchmark.batch_sizes[0]
            seen += f"; latency: batch {batch}, {self.benchmark.conditions(batch)}"
        return plots.pareto(points, cost=label, quality=quality, lower_is_better=percent == 1, text=seen)

    def cells(self, *, wide: bool = False, why: bool = False) -> tuple[list[str], list[list[str]]]:
        """Return the header and the rows of the table as text, on demand with bounds and reasons."""
        names = header(self.rows[0].metric)
        rows = [row.cells(wide=wide) for row in self.rows]
        if not why:
            return names, rows
        reasons = ["; ".join(row.why) or "baseline" for row in self.rows]
        return [*names, "why"], [[*cells, reason] for cells, reason in zip(rows, reasons, strict=True)]

    def conditions(self) -> list[str]:
        """Return what the figures rest on, one sentence a line: warnings, n, batch, clock, machine, load."""
        timed = self.benchmark
        first, control = timed.batch_sizes[0], timed.control
        accuracy = f"{self.data} {self.split}, n = {self.rows[0].score.n:,}"
        again = f"; the first one again: {1 / control.value:.2f}×" if control else ""
        latency = f"batch {first} on {self.runtime}, {timed.conditions(first)}{again}"
        empty = f"an empty model takes {significant(timed.overhead.value)} ms"
        load = f"load {timed.load[0]:.1f} → {timed.load[1]:.1f} a core"
        warnings = [f"Warning: {warning}." for warning in timed.warnings]
        return [*warnings, f"{accuracy}; {latency}; {empty}.", f"{timed.machine}; {load}."]

    def __str__(self) -> str:
        lines = [table.text(*self.cells()), ""]
        width = max(len(row.name) for row in self.rows)
        for row in self.rows[1:]:
            for i, reason in enumerate(row.why):
                head = row.name.ljust(width) if i == 0 else " " * width
                lines += wrap(reason, 105, initial_indent=f"{head}  ", subsequent_indent=" " * (width + 4))
        for note in self.conditions():
            lines += wrap(note, 105)
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.conditions())
        return table.html(f"{len(self.rows)} variants side by side", *self.cells(wide=True, why=True)) + notes

    def to_dict(self) -> dict[str, Any]:
        """Return rows, recipes and conditions as a dictionary fit for JSON."""
        return {
            "data": self.data,
            "split": self.split,
            "runtime": self.runtime,
            "rows": [row.to_dict() for row in self.rows],
            "recipes": {variant.name: [str(step) for step in variant.recipe] for variant in self.variants},
            "benchmark": self.benchmark.to_dict(),
        }

    def to_json(self, path: str | Path) -> Path:
        """Write `to_dict()` to a file and return its path.

        Raises:
            StorageError: when it cannot be written.
        """
        with files.atomic(path) as temporary:
            temporary.write_text(json.dumps(self.to_dict(), indent=1), encoding="utf-8")
        return Path(path)

    def to_html(self, path: str | Path) -> Path:
        """Write a report that needs no other file, and return its path.

        Raises:
            StorageError: when it cannot be written.
        """
        from kit.measurement.report import page

        with files.atomic(path) as temporary:
            temporary.write_text(page(self), encoding="utf-8")
        return Path(path)
