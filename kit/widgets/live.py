"""A run while it runs: progress, figures and curves, repainted ten times a second at most."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import ipywidgets as W
import torch

from kit.widgets import markup
from kit.widgets.curves import Curve, chart

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kit.training.history import Epoch, History
    from kit.training.progress import Progress

REPAINT = 0.1
"""Seconds between two repaints, at least."""

SHARE = 0.005
"""Of the time may be spent on repainting, at most; on a slow machine it is done less often."""


class Live:
    """Listens to `on_step` and `on_epoch` of a training run, from its thread, and draws into `view`.

    Attributes:
        view: the widget.
    """

    def __init__(self) -> None:
        self.view = W.HTML()
        self._earlier: list[Curve] = []
        self.begin(1, 1, "accuracy")
        self.view.value = ""

    @property
    def listeners(self) -> dict[str, Any]:
        """The keywords of a verb that make it tell this view, and nobody else."""
        return {"on_step": self.on_step, "on_epoch": self.on_epoch, "progress": False}

    def begin(
        self, epochs: int, samples: int, metric: str, earlier: Sequence[tuple[str, History]] = ()
    ) -> None:
        """Clear the view for a run.

        Args:
            epochs: how many it will have in all.
            samples: in one epoch.
            metric: the name of the validation metric; accuracy is shown in percent.
            earlier: names and histories of runs to compare with.
        """
        self._epochs, self._samples, self._metric, self._done = epochs, samples, metric, 0
        self._train, self._valid, self._rate = Curve("train"), Curve("valid"), Curve("rate")
        self._score = Curve("this run")
        self._earlier = [_scores(name, history) for name, history in earlier]
        self._losses: list[torch.Tensor] = []
        self._due, self._speed, self._validation = 0.0, 0.0, 0.0
        self._mark: tuple[float, int, int] | None = None
        self._here, self._ending = 0.0, ""
        self.view.value = markup.progress(0.0, "training", "preparing")

    def on_step(self, progress: Progress) -> None:
        """Note a step; reading its loss waits for the device, so that is left to the repaint."""
        self._losses.append(progress.loss)
        now = time.monotonic()
        if now >= self._due:
            here = self._done + progress.step / progress.steps
            self._measure(progress, now)
            self._note(here, progress.lr)
            self._paint(here, now)

    def on_epoch(self, epoch: Epoch) -> None:
        """Note the validation after an epoch."""
        here, now = self._done + epoch.share, time.monotonic()
        self._done += 1
        self._speed = epoch.samples_per_second
        self._validation = max(0.0, epoch.seconds - epoch.share * self._samples / max(self._speed, 1e-9))
        self._note(here, epoch.lr)
        self._valid.add(here, epoch.valid_loss)
        self._score.add(here, epoch.valid_metric)
        self._here = here
        if now >= self._due:
            self._paint(here, now)

    def _measure(self, progress: Progress, now: float) -> None:
        """Take the speed of this epoch so far, from where the clock was last set."""
        if self._mark is None or self._mark[1] != progress.epoch:
            self._mark = (now, progress.epoch, progress.step)
        elif now > self._mark[0]:
            steps = progress.step - self._mark[2]
            self._speed = steps / (now - self._mark[0]) * self._samples / progress.steps

    def _note(self, here: float, rate: float) -> None:
        """Add a point: the mean loss of the steps since the last one."""
        if self._losses:
            self._train.add(here, float(torch.stack(self._losses).float().mean()))
            self._rate.add(here, rate)
            self._losses.clear()

    def end(self, ending: str) -> None:
        """Repaint for the last time, and say how the run ended."""
        self._ending = ending
        if self._here:
            self._paint(self._here, time.monotonic())

    def resumed(self) -> None:
        """Forget the pause, which would count as slow steps."""
        self._mark = None

    def _paint(self, here: float, now: float) -> None:
        """Draw everything into the one HTML widget, and say when the next time is due."""
        self._here = here
        axis: dict[str, Any] = {"x_label": "epoch", "x_range": (0.0, self._horizon(here))}
        score: Callable[[float], str] = "{:.1%}".format if self._metric == "accuracy" else "{:.3g}".format
        charts = (
            chart([self._train, self._valid], title="loss", **axis),
            chart([self._score, *self._earlier], title=f"valid {self._metric}", show=score, **axis),
            chart([self._rate], title="learning rate", show="{:.2g}".format, zero=True, **axis),
        )
        text = f"epoch {here:.1f} of {self._epochs}{self._left(here)}"
        bar = markup.progress(here / self._epochs, "training", text)
        facts = markup.facts(self._facts(score))
        self.view.value = f'{bar}{facts}<div class="kit-charts">{"".join(charts)}</div>'
        done = time.monotonic()
        self._due = done + max(REPAINT, (done - now) / SHARE)

    def _facts(self, score: Callable[[float], str]) -> list[tuple[str, str]]:
        shown = [("samples/s", f"{self._speed:,.0f}" if self._speed else "–")]
        shown += [(f"{c.name} loss", f"{c.y[-1]:.4f}") for c in (self._train, self._valid) if c.y]
        return shown + [(f"valid {self._metric}", score(y)) for y in self._score.y[-1:]]

    def _horizon(self, here: float) -> float:
        """Return where the x axis ends: a long run begins on a short axis, which doubles when it is full."""
        end = min(4, self._epochs)
        while end < here:
            end = min(2 * end, self._epochs)
        return float(end)

    def _left(self, here: float) -> str:
        if self._ending:
            return f", {self._ending}"
        if not self._speed or here >= self._epochs:
            return ""
        training = (self._epochs - here) * self._samples / self._speed
        seconds = training + (self._epochs - self._done) * self._validation
        return f", about {seconds:.0f} s left" if seconds < 90 else f", about {seconds / 60:.0f} min left"


def _scores(name: str, history: History) -> Curve:
    xs = [epoch.number - 1 + epoch.share for epoch in history.epochs]
    return Curve(name, xs, [epoch.valid_metric for epoch in history.epochs])
