"""`Pruning`: drag, see what stays of the net, then apply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as W

from kit.compression.pruning.outlook import Outlook
from kit.compression.pruning.prune import prune
from kit.compression.pruning.sensitivity import sensitivity
from kit.data import as_dataset
from kit.variant import as_variant
from kit.widgets import markup
from kit.widgets.controls import Slider
from kit.widgets.curves import Curve, chart
from kit.widgets.live import Live
from kit.widgets.verb import VerbPanel

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure
    from torch import nn

    from kit.compression.pruning.sensitivity import Sensitivity
    from kit.training import Control
    from kit.variant import Variant
    from kit.widgets.panel import Table

_ONE, _EACH = "one ratio for all layers", "a ratio for each layer"


class Pruning(VerbPanel):
    """Remove channels: sizes follow the sliders at once, the accuracy once the layers were scanned.

    Args:
        model: a trained module or variant; not changed.
        data: a `Dataset`, or what `kit.data.as_dataset` takes.
        ratio: where the sliders begin.
        finetune: epochs after pruning.
        settings: any other keyword of `kit.prune`, such as `lr`.

    Attributes:
        result: the pruned variant; None before.
        scanned: the `Sensitivity`, once there was a scan.

    Raises:
        ModelError: when no layer may lose channels.

    Example:
        >>> panel = kit.widgets.Pruning(dense, data)  # doctest: +SKIP
        >>> slim = await panel.run()  # doctest: +SKIP
    """

    title = "Pruning"
    about = "Removes the weakest channels, so that the net really shrinks, and fine-tunes what stays."
    action = "Apply"
    hint = "Drag, then press Apply. Scan layers first to foretell the accuracy."

    def __init__(
        self, model: nn.Module | Variant, data: Any, *, ratio: float = 0.5, finetune: int = 1, **settings: Any
    ) -> None:
        self.data = as_dataset(data)
        self.model = as_variant(model, self.data.signature)
        self._settings, self._live = settings, Live()
        self.scanned: Sensitivity | None = None
        self._outlook = Outlook(self.model, self.data, protect=settings.get("protect", ()))
        self._dense = self._outlook.at(0.0, round_to=1)
        self.mode = W.Dropdown(options=[_ONE, _EACH], description="Remove")
        self.finetune = W.BoundedIntText(value=finetune, min=0, max=1000, description="Fine-tuning epochs")
        self.ratio = _slider("all layers", ratio)
        self.ratios = {g.name: _slider(f"{g.name} ({g.channels})", ratio) for g in self._outlook.groups}
        self._sliders, self._sizes, self._scan = W.VBox([self.ratio]), W.HTML(), W.HTML()
        form = W.HBox([self.mode, self.finetune])
        form.add_class("kit-form")
        scan = self.button(
            "Scan layers", "Measure what each layer bears: the accuracy is then foretold", self.scan
        )
        self._show()
        super().__init__(form, self._sliders, self._sizes, self._scan, self._live.view, extra=[scan])
        self.watch(self.mode, self._switch)
        for control in (self.mode, self.ratio, *self.ratios.values()):
            self.watch(control, self._show)
        for control in (self.mode, self.finetune, self.ratio, *self.ratios.values()):
            self.watch(control, self.show_code)

    @property
    def chosen(self) -> float | dict[str, float]:
        """The ratio, or the ratio of each layer, as `kit.prune` takes it."""
        if self.mode.value == _ONE:
            return round(self.ratio.value / 100, 2)
        return {name: round(slider.value / 100, 2) for name, slider in self.ratios.items()}

    @property
    def code(self) -> str:
        """The same as a call of `kit.prune`."""
        more = "".join(f", {key}={value!r}" for key, value in self._settings.items())
        return f"kit.prune(model, data, ratio={self.chosen!r}, finetune={self.finetune.value}{more})"

    def scan(self) -> None:
        """Start `kit.sensitivity`; wait for it with `await panel.wait()`."""
        protect = self._settings.get("protect", ())
        self.launch(lambda _control: sensitivity(self.model, self.data, protect=protect), self._scanned)

    def prepare(self) -> Callable[[Control], Any]:
        """Return the pruning that the sliders describe."""
        chosen: dict[str, Any] = {"ratio": self.chosen, "finetune": self.finetune.value} | self._settings
        metric = "rmse" if self.data.signature.task == "regression" else "accuracy"
        epochs = chosen["finetune"] * chosen.get("steps", 1)
        listeners = self._live.listeners if epochs else {}

        def run(control: Control) -> Variant:
            self._live.begin(max(epochs, 1), len(self.data.train), metric)
            return prune(self.model, self.data, control=control, **listeners, **chosen)

        return run

    def finished(self, result: Variant) -> str:
        """Say what pruning gave."""
        self.result = result
        report: Any = result.report
        ending = report.histories[-1].stopped if report.histories else "finished"
        self._live.end(ending)
        return (
            f"{ending.capitalize()}: {report.before.total.parameters:,} → {report.after.total.parameters:,} "
            f"parameters; on the validation split {self._score(report.dense.value)} → "
            f"{self._score(report.pruned.value)}. The variant is panel.result."
        )

    def figure(self) -> Figure | None:
        """Draw the layers before and after, or what the scan found."""
        if self.result is not None:
            return self.result.report.plot()  # type: ignore[no-any-return]
        return self.scanned.plot() if self.scanned else None

    def table(self) -> Table:
        """Return the layers before and after, or what the sliders promise."""
        if self.result is not None:
            header, *rows = self.result.report.rows()
            return f"{self.result.name}: layers before and after", header, rows
        rows = [(name, before, after) for name, before, after in self._promise()]
        return f"{self.model.name}: what ratio={self.chosen} would leave", ("", "dense", "pruned"), rows

    def pause(self) -> None:
        """Hold the fine-tuning, or let it go on."""
        super().pause()
        self._live.resumed()

    def _switch(self) -> None:
        """Show one slider or many; what was chosen for all is where each begins."""
        if self.mode.value == _EACH:
            for slider in self.ratios.values():
                slider.value = self.ratio.value
        self._sliders.children = [self.ratio] if self.mode.value == _ONE else list(self.ratios.values())

    def _promise(self) -> list[tuple[str, str, str]]:
        """Return name, dense and expected value of each size, and of the accuracy once it can be foretold."""
        dense, slim = self._dense, self._outlook.at(self.chosen, round_to=self._settings.get("round_to", 8))
        rows: list[tuple[str, str, str]] = [
            (name, f"{a:,}", f"{b:,} ({b / a:.0%})")
            for name, a, b in (
                ("parameters", dense.parameters, slim.parameters),
                ("multiply-accumulates", dense.macs, slim.macs),
                ("bytes", dense.bytes, slim.bytes),
            )
        ]
        if self.scanned is not None:
            name = f"{self.scanned.metric} before fine-tuning, estimated"
            before, after = self.scanned.dense.value, self.scanned.expected(slim.ratios)
            rows.append((name, self._score(before), self._score(after)))
        return rows

    def _show(self) -> None:
        self._sizes.value = markup.facts((name, after) for name, _, after in self._promise())

    def _scanned(self, found: Sensitivity) -> str:
        """Draw what the scan found, and foretell from now on."""
        self.scanned = found
        curves = [
            Curve(layer, [0.0, *found.grid], [found.dense.value, *(score.value for score in row)])
            for layer, row in found.scores.items()
        ]
        self._scan.value = chart(
            curves, title=f"valid {found.metric}", x_label="fraction removed from one layer",
            show=self._score, x_range=(0.0, 1.0), beside=True,
        )  # fmt: skip
        self._show()
        return "Scanned: the estimate now follows the sliders."

    def _score(self, value: float) -> str:
        return f"{value:.3g}" if self.data.signature.task == "regression" else f"{value:.1%}"


def _slider(label: str, ratio: float) -> Slider:
    return Slider(label=label, value=round(100 * ratio), min=0, max=95, step=1, unit=" %")
