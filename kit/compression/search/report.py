"""What a search did: every recipe it tried, the front among them, and the one it chose."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Literal

from kit import plots
from kit.compression.search import trials as sorting
from kit.measurement import table
from kit.measurement.comparison import COSTS, Comparison
from kit.notebook import Readable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from kit.compression.search.budget import Budget
    from kit.compression.search.trials import Trial
    from kit.variant import Variant

Ending = Literal["finished", "out of time", "exhausted", "interrupted", "stopped"]
_WORST = 5.0  # points lost, where nothing else says what is too much


@dataclass(frozen=True, eq=False)
class SearchReport(Readable):
    """All trials of a search, judged on the validation split.

    Attributes:
        budget: what was asked for.
        trials: oldest first; the first is the model as it came.
        metric: "accuracy" or "rmse".
        data: where it was judged, with the number of samples.
        sampler: what proposed the recipes.
        ended: "finished" (all trials), "out of time", "exhausted" (nothing left to try), "interrupted"
            (Ctrl-C) or "stopped" (by a callback or a control).
        seconds: of this call, without the comparison on the test split.
        earlier: how many of the trials an earlier call had made.
        made, shared: steps that were carried out in this call, and steps that were found made, by verb.
    """

    budget: Budget
    trials: tuple[Trial, ...]
    metric: str
    data: str
    sampler: str
    ended: Ending
    seconds: float
    earlier: int
    made: Mapping[str, int]
    shared: Mapping[str, int]

    @property
    def chosen(self) -> Trial | None:
        """The best within the budget; None when nothing keeps it."""
        return sorting.chosen(self.trials, self.budget)

    @property
    def front(self) -> tuple[Trial, ...]:
        """The trials that no other beats in both accuracy and cost, cheapest first."""
        return tuple(sorting.front(self.trials, self.budget.cost))

    def hypervolume(self, *, worst: float | None = None) -> float:
        """Return what the front is worth in one number, in points × halvings of the cost.

        Args:
            worst: points lost from which on a model counts for nothing; by default the budget's `max_drop`,
                or 5 points.
        """
        limit = worst if worst is not None else self.budget.max_drop or _WORST
        return sorting.hypervolume(self.trials, self.budget.cost, worst=limit)

    def plot(self) -> Figure:
        """Draw all measured trials: points lost against the cost, with the names of those on the front."""
        by = self.budget.cost
        label, unit = COSTS[by] if by == "bytes" else (f"{COSTS[by][0]}, batch 1", 1.0)
        front, best = set(self.front), self.chosen
        points = []
        for trial in (t for t in self.trials if t.measured):
            assert trial.drop is not None
            named = str(trial.recipe) if trial in front or trial.number == 0 else ""
            points.append(
                plots.Point(
                    name=f"★ {named}" if trial is best else named,
                    cost=trial.cost(by) / unit,
                    quality=-trial.drop,
                    dominated=trial not in front,
                )
            )
        text = f"{self.data}; {len(points)} of {len(self.trials)} recipes measured; ★ best for: {self.budget}"
        unit_of_loss = "points" if self.metric == "accuracy" else "% of RMSE"
        return plots.pareto(points, cost=label, quality=f"won or lost, {unit_of_loss}", text=text)

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return the table: header and rows, the best within the budget first, the rest by its goal."""
        head = ["recipe", self.metric, "points", "kB", *(["ms"] if self.budget.timed else []), "s", ""]
        measured = [t for t in self.trials if t.measured]
        measured.sort(key=lambda t: (t.excess(self.budget) > 0, t.rank(self.budget)))
        others = [t for t in self.trials if not t.measured]
        front, best = set(self.front), self.chosen
        return head, [self._cells(trial, front, best) for trial in measured + others]

    def _cells(self, trial: Trial, front: set[Trial], best: Trial | None) -> list[str]:
        scale, digits = (100, 2) if self.metric == "accuracy" else (1, 4)
        marks = ["★ best"] if trial is best else []
        marks += ["front"] if trial in front else []
        if trial.measured and trial.excess(self.budget):
            marks.append("over budget")
        return [
            str(trial.recipe),
            "–" if trial.score is None else f"{scale * trial.score:.{digits}f}",
            "–" if trial.drop is None else f"{0.0 - trial.drop:+.2f}",
            "–" if trial.bytes is None else f"{trial.bytes / 1e3:,.1f}",
            *([("–" if trial.ms is None else f"{trial.ms:.3g}")] if self.budget.timed else []),
            f"{trial.seconds:.1f}",
            ", ".join(marks) or ("" if trial.measured else trial.outcome),
        ]

    def reasons(self) -> list[tuple[str, str]]:
        """Return what was stopped early or failed, and why."""
        return [(str(trial.recipe), trial.reason) for trial in self.trials if trial.reason]

    def summary(self) -> list[str]:
        """Return what happened, one sentence a line."""
        counts = Counter(trial.outcome for trial in self.trials)
        parts = ", ".join(
            f"{counts[key]} {key}" for key in ("measured", "stopped early", "failed") if counts[key]
        )
        best = self.chosen
        found = f"Best on the validation split: {best.recipe}." if best else "Nothing tried keeps the budget."
        steps = f"{sum(self.made.values())} steps made, {sum(self.shared.values())} found made"
        before = f" ({self.earlier} by earlier calls)" if self.earlier else ""
        return [
            f"{self.budget}. {found}",
            f"{len(self.trials)} recipes{before}: {parts}; {steps}; {self.seconds:.0f} s; {self.ended}.",
            f"{self.data}; sampler {self.sampler}; hypervolume {self.hypervolume():.2f} points × halvings.",
        ]

    def __str__(self) -> str:
        why = [f"{recipe}: {reason}" for recipe, reason in self.reasons()]
        return "\n".join([table.text(*self.rows()), "", *why, *([""] if why else []), *self.summary()])

    def _repr_html_(self) -> str:
        why = "".join(f"<li><b>{escape(recipe)}</b>: {escape(why)}</li>" for recipe, why in self.reasons())
        notes = "".join(f"<p>{escape(line)}</p>" for line in self.summary())
        return f"{table.html(f'{len(self.trials)} recipes tried', *self.rows())}<ul>{why}</ul>{notes}"

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a dictionary fit for JSON."""
        best = self.chosen
        return {
            **{key: value for key, value in vars(self).items() if key not in {"budget", "trials"}},
            "made": dict(self.made),
            "shared": dict(self.shared),
            "budget": self.budget.to_dict(),
            "trials": [trial.to_dict() for trial in self.trials],
            "chosen": best.number if best else None,
            "front": [trial.number for trial in self.front],
            "hypervolume": self.hypervolume(),
        }


@dataclass(frozen=True, eq=False)
class SearchResult(Comparison):
    """The winners of a search, confirmed once on the test split; the first row is the model as it came.

    Attributes:
        report: every recipe that was tried, with its figures on the validation split.
        chosen: the best within the budget on the validation split; None when nothing keeps it. `best()` would
            choose by the split that is shown here, which is "test".
    """

    report: SearchReport
    chosen: Variant | None

    def __str__(self) -> str:
        return "\n".join([super().__str__(), "", *self.report.summary()])

    def _repr_html_(self) -> str:
        return super()._repr_html_() + "".join(f"<p>{escape(line)}</p>" for line in self.report.summary())

    def to_dict(self) -> dict[str, Any]:
        """Return rows, recipes, conditions and all trials as a dictionary fit for JSON."""
        return super().to_dict() | {"search": self.report.to_dict()}
