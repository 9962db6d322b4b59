"""`Frontier`: what can be traded for accuracy, the best choice within a budget, and why it is so."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import ipywidgets as W

from kit.measurement.comparison import COSTS
from kit.widgets.controls import Chooser, Slider
from kit.widgets.panel import Panel, code_field
from kit.widgets.recipe import as_code
from kit.widgets.scatter import Dot, scatter

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kit.measurement.comparison import Comparison, Row
    from kit.variant import Variant
    from kit.widgets.panel import Table


class Frontier(Panel):
    """A comparison to walk through: a scatter, a table to sort, and a budget that marks the best choice.

    Args:
        comparison: what `kit.compare` returned.
        max_drop: the first budget: points of accuracy (for regression percent of the error) it may lose.

    Attributes:
        best: the variant that the budget marks.

    Example:
        >>> kit.widgets.Frontier(kit.compare([dense, slim, int8], data))  # doctest: +SKIP
    """

    title = "Frontier"
    about = "What each variant costs and what it is worth; choose a point to see how it was made, and why."

    def __init__(self, comparison: Comparison, *, max_drop: float = 0.5) -> None:
        self.comparison = comparison
        self._chosen, self._sorted, self._down = comparison.rows[0].name, 0, False
        known = [by for by in COSTS if any(row.cost(by) < float("inf") for row in comparison.rows)]
        self.by = W.Dropdown(options=[(COSTS[by][0], by) for by in known], description="Cost")
        unit = " points" if comparison.rows[0].metric == "accuracy" else " %"
        self.budget = Slider(label="May lose", value=max_drop, min=0, max=10, step=0.1, digits=1, unit=unit)
        self._points, self._table, self._details = Chooser(), Chooser(), W.HTML()
        form = W.HBox([self.by, self.budget])
        form.add_class("kit-form")
        sides = W.HBox([self._points, self._details])
        sides.add_class("kit-sides")
        super().__init__(form, sides, self._table)
        self._show()
        self._points.on_choice(lambda name: self.attempt(lambda: self.choose(name)))
        self._table.on_choice(lambda name: self.attempt(lambda: self._sort(name)))
        for control in (self.by, self.budget):
            self.watch(control, self._show)

    @property
    def best(self) -> Variant:
        """The cheapest variant within the budget."""
        return self.comparison.best(max_drop=self.budget.value, by=self.by.value)

    @property
    def code(self) -> str:
        """The call that finds the best choice."""
        return f"comparison.best(max_drop={self.budget.value:g}, by={self.by.value!r})"

    def choose(self, name: str) -> None:
        """Show one variant's recipe and reasons.

        Raises:
            ArgumentError: when there is no variant of this name.
        """
        self._chosen = self.comparison[name].name
        self._show()

    def figure(self) -> Figure:
        """Draw the scatter with its Pareto front."""
        return self.comparison.plot(by=self.by.value)

    def table(self) -> Table:
        """Return the comparison with its reasons."""
        header, rows = self.comparison.cells(why=True)
        caption = f"best within {self.budget.value:g}{self.budget.unit} by {self.by.value}: {self.best.name}"
        return caption, header, rows

    def _sort(self, choice: str) -> None:
        """Sort by a column; the same one again turns the order round. A name chooses that variant."""
        kind, _, what = choice.partition(":")
        if kind == "show":
            self.choose(what)
            return
        index = int(what)
        self._down, self._sorted = (not self._down if index == self._sorted else False), index
        self._show_table()

    def _show(self) -> None:
        self.show_code()
        by, best = self.by.value, self.best.name
        unit = COSTS[by][1]
        percent = 100.0 if self.comparison.rows[0].metric == "accuracy" else 1.0
        front = {row.name for row in self.comparison.front(by)}
        dots = [
            Dot(
                row.name,
                row.cost(by) / unit,
                percent * row.score.value,
                interval=(percent * row.score.low, percent * row.score.high),
                filled=row.name in front,
                chosen=row.name == self._chosen,
                best=row.name == best,
            )
            for row in self.comparison.rows
            if row.cost(by) < float("inf")
        ]
        score = "accuracy, %" if percent > 1 else "RMSE"
        self._points.html = scatter(dots, x_label=COSTS[by][0], y_label=score)
        self._details.value = self._detail(self.comparison[self._chosen])
        self.say(f"Best within {self.budget.value:.1f}{self.budget.unit} by {by}: {best}.")
        self._show_table()

    def _detail(self, row: Row) -> str:
        variant = next(v for v in self.comparison.variants if v.name == row.name)
        why = "".join(f"<li>{escape(reason)}</li>" for reason in row.why) or "<li>the baseline</li>"
        code = code_field(as_code(variant), f"How {row.name} was made")
        return (
            f'<b>{escape(row.name)}</b><div class="kit-recipe">{code}</div>'
            f'<div>Why</div><ul class="kit-why">{why}</ul>'
        )

    def _show_table(self) -> None:
        """Draw the table with its headers as buttons."""
        header, lines = self.comparison.cells()
        cells = {row.name: line for row, line in zip(self.comparison.rows, lines, strict=True)}
        rows = sorted(self.comparison.rows, key=lambda row: self._key(row, self._sorted), reverse=self._down)
        order = "descending" if self._down else "ascending"
        head = "".join(
            f'<th scope="col" aria-sort="{order if i == self._sorted else "none"}">'
            f'<button data-choice="sort:{i}">{escape(name or "variant")}</button></th>'
            for i, name in enumerate(header)
        )
        body = "".join(self._line(row.name, cells[row.name]) for row in rows)
        self._table.html = (
            f'<table class="kit-table"><caption>{len(rows)} variants side by side</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )

    def _line(self, name: str, cells: list[str]) -> str:
        mark = " ★ best" if name == self.best.name else ""
        first = f'<button data-choice="show:{escape(name)}">{escape(name)}</button>{mark}'
        rest = "".join(f"<td>{escape(cell)}</td>" for cell in cells[1:])
        chosen = str(name == self._chosen).lower()
        return f'<tr data-chosen="{chosen}"><th scope="row">{first}</th>{rest}</tr>'

    def _key(self, row: Row, column: int) -> float:
        """Return what a column sorts by; columns are those of `Comparison.cells`."""
        sizes = (row.parameters, row.nonzero, row.macs, row.bytes)
        measured = (row.latency.value, row.speedup.value, row.agreement.value)
        place, p = self.comparison.rows.index(row), -1.0 if row.p is None else row.p
        return float((place, row.score.value, *sizes, *measured, p)[column])
