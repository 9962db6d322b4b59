"""`Training`: choose, start, watch, pause, stop; every run stays to be compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as W

from kit.data import as_dataset
from kit.errors import unknown
from kit.measurement import table as tables
from kit.training import train
from kit.training.choices import OPTIMIZERS
from kit.widgets.choices import choices
from kit.widgets.live import Live
from kit.widgets.verb import VerbPanel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matplotlib.figure import Figure
    from torch import nn

    from kit.training import Control, History
    from kit.variant import Variant
    from kit.widgets.panel import Table


class Training(VerbPanel):
    """Train a model while its curves grow; Pause, Stop and the kernel's interrupt act between two steps.

    Args:
        data: a `Dataset`, or what `kit.data.as_dataset` takes.
        models: what to choose from, by name; by default the nets of `kit.models` that fit the data.
        model: the one chosen first.
        epochs, optimizer, lr: the first settings.
        settings: any other keyword of `kit.train`, such as `seed` or `checkpoint`.

    Attributes:
        result: the last run's variant; None before the first.
        runs: all of them.

    Raises:
        ArgumentError: for an unknown model or optimizer, or when no net fits the data.

    Example:
        >>> panel = kit.widgets.Training(data, epochs=3)  # doctest: +SKIP
        >>> panel  # doctest: +SKIP
        >>> dense = await panel.run()  # in the next cell  # doctest: +SKIP
    """

    title = "Training"
    about = "Trains the chosen net and shows how it learns."

    def __init__(
        self,
        data: Any,
        models: Mapping[str, nn.Module | Variant] | None = None,
        *,
        model: str | None = None,
        epochs: int = 3,
        optimizer: str = "adam",
        lr: float | None = None,
        **settings: Any,
    ) -> None:
        self.data = as_dataset(data)
        self.runs: list[Variant] = []
        self._models, self._settings, self._live = choices(models, self.data.signature), settings, Live()
        names = list(self._models)
        for kind, given, known in (("model", model, names), ("optimizer", optimizer, list(OPTIMIZERS))):
            if given is not None and given not in known:
                raise unknown(kind, given, known)
        rate = OPTIMIZERS[optimizer][1] if lr is None else lr
        self.model = W.Dropdown(options=names, value=model or names[0], description="Model")
        self.epochs = W.BoundedIntText(value=epochs, min=1, max=10_000, description="Epochs")
        self.optimizer = W.Dropdown(options=list(OPTIMIZERS), value=optimizer, description="Optimizer")
        self.lr = W.FloatText(value=rate, description="Rate")
        self._table = W.HTML()
        form = W.HBox([self.model, self.epochs, self.optimizer, self.lr])
        form.add_class("kit-form")
        super().__init__(form, self._live.view, self._table)
        self.watch(self.optimizer, self._usual_rate)
        for control in form.children:
            self.watch(control, self.show_code)

    @property
    def code(self) -> str:
        """The same as a call of `kit.train`."""
        chosen = self._chosen() | self._settings
        text = "".join(f", {key}={value!r}" for key, value in chosen.items())
        return f"kit.train({self._models[self.model.value][0]}, data{text})"

    def prepare(self) -> Callable[[Control], Any]:
        """Return the training run that the settings describe."""
        settings = self._chosen() | self._settings
        make = self._models[self.model.value][1]
        metric = "rmse" if self.data.signature.task == "regression" else "accuracy"
        last = list(enumerate(self.runs, 1))[-3:]
        earlier: list[tuple[str, Any]] = [(f"run {number}", run.report) for number, run in reversed(last)]

        def run(control: Control) -> Variant:
            self._live.begin(settings["epochs"], len(self.data.train), metric, earlier)
            return train(make(), self.data, control=control, **self._live.listeners, **settings)

        return run

    def pause(self) -> None:
        """Hold the run, or let it go on."""
        super().pause()
        self._live.resumed()

    def finished(self, result: Variant) -> str:
        """Add the run to the table."""
        self.runs.append(result)
        self.result = result
        self._table.value = tables.html(*self.table())
        report: Any = result.report
        self._live.end(report.stopped)
        if report.best is None:
            return f"Run {len(self.runs)} {report.stopped} before its first step."
        return (
            f"Run {len(self.runs)} {report.stopped}: valid {report.metric} {_best(report)} in epoch "
            f"{report.best.number}, {report.samples_per_second:,.0f} samples/s. The variant is panel.result."
        )

    def figure(self) -> Figure | None:
        """Draw the curves of the last run."""
        report: Any = self.result.report if self.result else None
        return report.plot() if report and report.epochs else None

    def table(self) -> Table:
        """Return one row a run."""
        header = ("run", "recipe", "ended", "epochs", "best valid", "samples/s")
        rows = [(str(i), *_row(run)) for i, run in enumerate(self.runs, 1)]
        return f"training runs on {self.data.name}", header, rows or [("none yet", *[""] * 5)]

    def _chosen(self) -> dict[str, Any]:
        return {"epochs": self.epochs.value, "optimizer": self.optimizer.value, "lr": self.lr.value}

    def _usual_rate(self) -> None:
        self.lr.value = OPTIMIZERS[self.optimizer.value][1]


def _row(run: Variant) -> tuple[str, ...]:
    history: History = run.report  # type: ignore[assignment]
    settings = run.recipe[-1].settings
    recipe = ", ".join(f"{key} {settings[key]}" for key in ("optimizer", "lr", "batch_size"))
    speed = f"{history.samples_per_second:,.0f}"
    return f"{run.name}, {recipe}", history.stopped, str(len(history.epochs)), _best(history), speed


def _best(history: History) -> str:
    if history.best is None:
        return "–"
    value = history.best.valid_metric
    return f"{value:.1%}" if history.metric == "accuracy" else f"{value:.4g}"
