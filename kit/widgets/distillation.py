"""`Distillation`: what a teacher says at a temperature, and a student that learns from it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as W
import torch

from kit.compression.distillation.distill import distill, softened
from kit.data import as_dataset
from kit.errors import ArgumentError
from kit.variant import as_variant
from kit.widgets import markup
from kit.widgets.choices import choices
from kit.widgets.controls import Slider
from kit.widgets.live import Live
from kit.widgets.verb import VerbPanel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matplotlib.figure import Figure
    from torch import nn

    from kit.training import Control
    from kit.variant import Variant
    from kit.widgets.panel import Table


class Distillation(VerbPanel):
    """Let a small net learn from a large one's answers, and see what a temperature makes of them.

    Args:
        teacher: a trained variant or module.
        data: a `Dataset` of classes, or what `kit.data.as_dataset` takes.
        students: what to choose from, by name; by default the nets of `kit.models` that fit the data.
        temperature, weight, epochs: the first settings, as in `kit.distill`.
        settings: any other keyword of `kit.distill`, such as `lr`.

    Attributes:
        result: the student after the last run; None before.

    Raises:
        ArgumentError: when the data has no classes: there is nothing to soften.

    Example:
        >>> panel = kit.widgets.Distillation(dense, data)  # doctest: +SKIP
        >>> small = await panel.run()  # doctest: +SKIP
    """

    title = "Distillation"
    about = "A student learns from the softened answers of a teacher as well as from the labels."

    def __init__(
        self,
        teacher: nn.Module | Variant,
        data: Any,
        students: Mapping[str, nn.Module | Variant] | None = None,
        *,
        temperature: float = 4.0,
        weight: float = 0.7,
        epochs: int = 3,
        **settings: Any,
    ) -> None:
        self.data = as_dataset(data)
        self.teacher = as_variant(teacher, self.data.signature)
        if not self.data.signature.classes:
            raise ArgumentError("the Distillation panel softens answers over classes; this data has none")
        self._students, self._settings, self._live = choices(students, self.data.signature), settings, Live()
        self.student = W.Dropdown(options=list(self._students), description="Student")
        self.epochs = W.BoundedIntText(value=epochs, min=1, max=10_000, description="Epochs")
        last = len(self.data.valid) - 1
        self.sample = W.BoundedIntText(value=0, min=0, max=last, description="Validation sample")
        self.temperature = Slider(label="Temperature", value=temperature, min=0.5, max=20, step=0.5, digits=1)
        self.weight = Slider(label="Teacher's share", value=round(100 * weight), min=0, max=100, unit=" %")
        self._soft = W.HTML()
        form = W.HBox([self.student, self.epochs, self.sample])
        form.add_class("kit-form")
        self._ask()
        super().__init__(form, self.temperature, self.weight, self._soft, self._live.view)
        self.watch(self.sample, self._ask)
        self.watch(self.temperature, self._soften)
        for control in (self.student, self.epochs, self.temperature, self.weight):
            self.watch(control, self.show_code)

    @property
    def code(self) -> str:
        """The same as a call of `kit.distill`."""
        chosen = "".join(f", {key}={value!r}" for key, value in self._chosen().items())
        return f"kit.distill({self._students[self.student.value][0]}, teacher, data{chosen})"

    def prepare(self) -> Callable[[Control], Any]:
        """Return the run that the settings describe."""
        chosen, name = self._chosen(), f"{self.student.value} distilled"
        make = self._students[self.student.value][1]

        def run(control: Control) -> Variant:
            self._live.begin(chosen["epochs"], len(self.data.train), "accuracy")
            listeners = self._live.listeners
            return distill(make(), self.teacher, self.data, name=name, control=control, **listeners, **chosen)

        return run

    def finished(self, result: Variant) -> str:
        """Say how good the student became."""
        self.result = result
        report: Any = result.report
        self._live.end(report.stopped)
        if report.best is None:
            return f"{report.stopped.capitalize()} before the first step."
        return (
            f"{report.stopped.capitalize()}: valid accuracy {report.best.valid_metric:.1%} "
            f"in epoch {report.best.number}. The variant is panel.result."
        )

    def figure(self) -> Figure | None:
        """Draw the curves of the last run."""
        report = self.result.report if self.result else None
        return report.plot() if report and report.epochs else None

    def table(self) -> Table:
        """Return the teacher's answer as it is, and softened."""
        plain, soft = self._answers()
        rows = [(name, f"{p:.1%}", f"{q:.1%}") for name, p, q in zip(self._classes, plain, soft, strict=True)]
        caption = f"{self.teacher.name} on validation sample {self.sample.value} ({self._label})"
        return caption, ("class", "T = 1", f"T = {self.temperature.value:g}"), rows

    def pause(self) -> None:
        """Hold the run, or let it go on."""
        super().pause()
        self._live.resumed()

    @property
    def _classes(self) -> tuple[str, ...]:
        return self.data.signature.classes

    @property
    def _label(self) -> str:
        return self._classes[int(self.data.valid.targets[self.sample.value])]

    def _chosen(self) -> dict[str, Any]:
        shown = {"temperature": self.temperature.value, "weight": round(self.weight.value / 100, 2)}
        return shown | {"epochs": self.epochs.value} | self._settings

    def _ask(self) -> None:
        """Let the teacher answer the chosen sample."""
        index = self.sample.value
        self._logits = torch.from_numpy(self.teacher(self.data.valid.inputs[index : index + 1]))[0]
        self._soften()

    def _answers(self) -> tuple[list[float], list[float]]:
        plain, soft = (softened(self._logits, t).tolist() for t in (1.0, self.temperature.value))
        return plain, soft

    def _soften(self) -> None:
        sample = self.data.valid.raw[self.sample.value]
        looks = len(sample.shape) == 3 and sample.shape[0] in {1, 3}
        seen = markup.picture(sample, f"validation sample {self.sample.value}", size=112) if looks else ""
        bars = [
            markup.bars(
                [(name, p, f"{p:.1%}") for name, p in zip(self._classes, answer, strict=True)],
                caption=caption,
                colour=colour,
            )
            for colour, (caption, answer) in enumerate(
                zip(
                    ("as it answers", f"at temperature {self.temperature.value:g}"),
                    self._answers(),
                    strict=True,
                )
            )
        ]
        self._soft.value = (
            f'<div class="kit-charts"><figure>{seen}<figcaption>label: {escape(self._label)}</figcaption>'
            f"</figure>{''.join(bars)}</div>"
        )
