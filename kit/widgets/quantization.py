"""`Quantization`: see the weights move to few levels, and what each layer pays; then apply and check."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as W
import torch

from kit import device, plots
from kit.compression.quantization.quantize import SCHEMES, quantize
from kit.compression.quantization.rounding import round_layer, weighted_layers
from kit.data import as_dataset
from kit.measurement import table as tables
from kit.variant import as_variant
from kit.widgets import markup
from kit.widgets.controls import Slider
from kit.widgets.curves import histogram
from kit.widgets.verb import VerbPanel

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure
    from torch import nn

    from kit.training import Control
    from kit.variant import Variant
    from kit.widgets.panel import Table

_FORMATS = {"static": "int8", "dynamic": "int8", "bf16": "bf16"}


class Quantization(VerbPanel):
    """Store weights in fewer bits: the levels, the noise of each layer, and what this processor gains.

    Args:
        model: a trained module or variant; not changed.
        data: a `Dataset`; schemes that measure nothing can do without.
        scheme: the one chosen first, as in `kit.quantize`.
        settings: any other keyword of `kit.quantize`.

    Attributes:
        result: the quantized variant; None before.

    Example:
        >>> panel = kit.widgets.Quantization(dense, data)  # doctest: +SKIP
        >>> int8 = await panel.run()  # doctest: +SKIP
    """

    title = "Quantization"
    about = "Stores weights, and with some schemes computes, in fewer bits; then checks the file."
    action = "Apply"
    hint = "Look at the levels below, then press Apply."
    pausable = False

    def __init__(
        self, model: nn.Module | Variant, data: Any = None, *, scheme: str = "static", **settings: Any
    ) -> None:
        self.data = None if data is None else as_dataset(data)
        self.model = as_variant(model, self.data.signature if self.data else None)
        self._settings = settings
        module = self.model.model
        self._module = module if isinstance(module, torch.nn.Module) else None
        layers = list(weighted_layers(self._module)) if self._module else []
        named = bool({"bits", "budget"} & set(settings))  # "mixed" makes no sense without one of them
        schemes = [known for known in SCHEMES if named or known != "mixed"]
        self.scheme = W.Dropdown(options=schemes, value=scheme, description="Scheme")
        self.exclude = W.SelectMultiple(
            options=layers, rows=min(6, len(layers) or 1), description="Keep in float32"
        )
        self.layer = W.Dropdown(options=layers, value=_largest(self._module), description="Layer")
        self.per_channel = W.Checkbox(value=True, description="a scale for each output", indent=False)
        self.bits = Slider(label="Bits", value=4, min=2, max=8)
        self.output = Slider(label="Output", value=0, min=0, max=0)
        self._weights, self._here, self._report = W.HTML(), W.HTML(), W.HTML()
        form, look = W.HBox([self.scheme, self.exclude]), W.HBox([self.layer, self.per_channel])
        for box in (form, look):
            box.add_class("kit-form")
        self._choose()
        self._show_processor()
        parts = [look, self.bits, self.output, self._weights] if layers else []
        super().__init__(form, self._here, *parts, self._report)
        for control in (self.layer, self.per_channel, self.bits, self.output):
            self.watch(control, self._choose)
        self.watch(self.scheme, self._show_processor)
        for control in (self.scheme, self.exclude):
            self.watch(control, self.show_code)

    @property
    def code(self) -> str:
        """The same as a call of `kit.quantize`."""
        chosen = "".join(f", {key}={value!r}" for key, value in self._chosen().items())
        return f"kit.quantize(model{', data' if self.data else ''}{chosen})"

    def prepare(self) -> Callable[[Control], Any]:
        """Return the quantization that the settings describe."""
        chosen = self._chosen()
        return lambda _control: quantize(self.model, self.data, **chosen)

    def finished(self, result: Variant) -> str:
        """Show what each layer paid."""
        self.result = result
        report: Any = result.report
        self._report.value = tables.html(*self.table())
        change = f"; {report.change}" if report.change else ""
        return (
            f"Written and checked in a fresh process: {report.bytes_before:,} → {report.bytes_after:,} "
            f"bytes{change}. The variant is panel.result."
        )

    def figure(self) -> Figure | None:
        """Draw the signal-to-noise of each layer, or the chosen layer's weights."""
        if self.result is not None:
            return self.result.report.plot()  # type: ignore[no-any-return]
        if self._module is None:
            return None
        found = self._rounding()
        row = int(self.output.value)
        return plots.levels(found.weights[row], found.levels(row), title=self._caption())

    def table(self) -> Table:
        """Return the noise of each layer: measured once applied, of the weights alone before."""
        if self.result is not None:
            rows: list[tuple[str, ...]] = [
                (
                    layer.name,
                    layer.operator,
                    str(layer.bits),
                    _decibel(layer.weight_snr),
                    _decibel(layer.output_snr),
                )
                for layer in self.result.report.layers
            ]
            return self.result.name, ("layer", "operator", "bits", "weights, dB", "output, dB"), rows
        names = list(weighted_layers(self._module)) if self._module else []
        rows = [(name, *(_decibel(self._round(name, bits).snr) for bits in (8, 4, 3, 2))) for name in names]
        caption = f"{self.model.name}: signal-to-noise of rounded weights, dB"
        return caption, ("layer", "8 bits", "4 bits", "3 bits", "2 bits"), rows

    def _chosen(self) -> dict[str, Any]:
        exclude = {"exclude": list(self.exclude.value)} if self.exclude.value else {}
        return {"scheme": self.scheme.value} | exclude | self._settings

    def _rounding(self) -> Any:
        return self._round(self.layer.value, int(self.bits.value))

    def _round(self, layer: str, bits: int) -> Any:
        assert self._module is not None
        return round_layer(self._module, layer, bits=bits, per_channel=self.per_channel.value)

    def _caption(self) -> str:
        which = f"layer {self.layer.value}, output {self.output.value:.0f}"
        return f"{which}: weights and {self.bits.value:.0f}-bit levels"

    def _choose(self) -> None:
        """Draw the chosen weights with the levels they would move to."""
        if self._module is None:
            return
        found = self._rounding()
        self.output.max = float(len(found.weights) - 1)
        self.output.value = min(self.output.value, self.output.max)
        row = int(self.output.value)
        levels = found.levels(row)
        self._weights.value = histogram(found.weights[row], levels, title=self._caption()) + markup.facts(
            [
                ("levels", f"{len(levels)}"),
                ("step", f"{levels[1] - levels[0]:.3g}"),
                ("signal-to-noise of the layer", f"{_decibel(found.snr)} dB"),
            ]
        )

    def _show_processor(self) -> None:
        """Say what this processor makes of the scheme."""
        wanted = _FORMATS.get(self.scheme.value)
        found = device.accelerates(wanted) if wanted else None
        if wanted is None:
            text = "This scheme makes the file smaller, not the arithmetic faster: that stays in float32."
        elif found:
            text = f"This processor computes {wanted} fast: it has {found}."
        else:
            text = f"This processor has no instructions for {wanted}: expect a smaller file and little speed."
        self._here.value = f"<p style='margin:0'>{escape(text)}</p>"


def _largest(module: torch.nn.Module | None) -> str | None:
    found = weighted_layers(module) if module else {}
    return max(found, key=lambda name: found[name].size, default=None)


def _decibel(value: float) -> str:
    return "exact" if value == float("inf") else f"{value:.1f}"
