"""What quantization did: the signal left in each layer, the accuracy, the bytes, what runs in int8."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from kit import plots
from kit.compression.quantization import onnx_layers
from kit.measurement import table
from kit.notebook import Readable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from kit.compression.quantization.training import Learned
    from kit.measurement.evaluate import Agreement

    Floats = NDArray[np.float32]

_INTEGER = ("QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat", "DynamicQuantizeMatMul")


@dataclass(frozen=True)
class LayerNoise:
    """How well a layer survived.

    Attributes:
        name: the layer.
        operator: "Conv", "Gemm" or "MatMul".
        weights: how many.
        bits: what stores a weight: 4, 8, 16 or 32 bits.
        bytes: of its weights and their scales in the file.
        weight_snr: signal-to-noise of the weights in decibels; infinite where nothing changed.
        output_snr: signal-to-noise of what the layer gives, with all errors before it, in decibels.
    """

    name: str
    operator: str
    weights: int
    bits: int
    bytes: int
    weight_snr: float
    output_snr: float


@dataclass(frozen=True)
class QuantizeReport(Readable):
    """What quantization did.

    Attributes:
        scheme: as asked for.
        format: how numbers are stored, such as "U8S8 per channel".
        layers: the noise in each layer.
        change: what became of the accuracy on the validation split; None without data.
        bytes_before, bytes_after: the sizes of the float32 and the quantized ONNX file.
        accelerated_by: the instruction set that makes the format fast on this processor, if any.
        operators: what ONNX Runtime executes on this machine after its own fusions, counted.
        calibration: how the ranges of activations were found; empty where none are needed.
        notes: what else is worth knowing.
        learned: what the training gave; None without. The noise is then that of rounding the trained weights.
    """

    scheme: str
    format: str
    layers: tuple[LayerNoise, ...]
    change: Agreement | None
    bytes_before: int
    bytes_after: int
    accelerated_by: str | None
    operators: Mapping[str, int]
    calibration: str = ""
    notes: tuple[str, ...] = ()
    learned: Learned | None = None

    @property
    def fused(self) -> int:
        """How many layers run as one integer kernel."""
        return sum(self.operators.get(name, 0) for name in _INTEGER)

    def plot(self) -> Figure:
        """Draw the signal-to-noise of weights and outputs, layer by layer."""
        rows = [(layer.name, layer.weight_snr, layer.output_snr) for layer in self.layers]
        return plots.signal_to_noise(rows, title=f"{self.scheme}, {self.format}")

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a dictionary fit for JSON."""
        return {
            **asdict(replace(self, learned=None, change=None)),
            "change": self.change and self.change.to_dict(),
            "learned": self.learned and self.learned.to_dict(),
            "operators": dict(self.operators),
            "fused": self.fused,
        }

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table, header first: a row a layer."""
        head = ("layer", "operator", "weights", "bits", "bytes", "weights, dB", "output, dB")
        return [head, *map(_row, self.layers)]

    def __str__(self) -> str:
        head, *body = self.rows()
        return "\n".join([table.text(head, body), *(f"{key}: {value}" for key, value in self._facts())])

    def _repr_html_(self) -> str:
        head, *body = self.rows()
        facts = "".join(f"<li>{escape(key)}: {escape(value)}</li>" for key, value in self._facts())
        return f"{table.html('signal-to-noise of each layer', head, body)}<ul>{facts}</ul>"

    def _facts(self) -> list[tuple[str, str]]:
        ratio = self.bytes_before / self.bytes_after
        facts = [
            ("format", self.format),
            ("bytes", f"{self.bytes_before:,} to {self.bytes_after:,} ({ratio:.2f}x smaller)"),
        ]
        if self.calibration:
            facts.append(("calibration", self.calibration))
        if self.learned is not None:
            facts.append(("training", str(self.learned)))
        if self.change is not None:
            facts.append(("accuracy", str(self.change)))
        if self.scheme in {"static", "dynamic"}:
            facts.append(("integer kernels", f"{self.fused} of {len(self.layers)} layers on this machine"))
        if self.scheme in {"static", "dynamic", "bf16"}:
            facts.append(("accelerated by", self.accelerated_by or "nothing on this processor"))
        return facts + [("note", note) for note in self.notes]


def noise(
    before: onnx.ModelProto, after: onnx.ModelProto, inputs: Floats, bits: Mapping[str, int]
) -> tuple[LayerNoise, ...]:
    """Measure each layer of a float32 model against its quantized form.

    Args:
        before, after: the float32 model that quantization started from, and what it gave.
        inputs: real samples (N, *shape).
        bits: what stores each layer's weights, by name; 32 where it is not named.
    """
    found = onnx_layers.layers(before)
    old, new = (onnx_layers.stored_weights(model, found) for model in (before, after))
    outputs = {layer.output: _tensor_of(after, layer.output) for layer in found}
    expected = onnx_layers.probe(before, sorted(outputs), inputs)
    got = onnx_layers.probe(after, sorted(set(outputs.values())), inputs)
    return tuple(
        LayerNoise(
            layer.name,
            layer.operator,
            layer.count,
            bits.get(layer.name, 32),
            _bytes(after, layer.weight),
            decibels(old[layer.name], new[layer.name]),
            decibels(expected[layer.output], got[outputs[layer.output]]),
        )
        for layer in found
    )


def _bytes(model: onnx.ModelProto, weight: str) -> int:
    """Return the bytes of a weight in a file, and of what belongs to it."""
    parts = ("", "_quantized", "_packed", "_scale", "_zero_point", "_shape", "_bf16")
    names = {f"{weight}{part}" for part in parts}
    return sum(tensor.ByteSize() for tensor in model.graph.initializer if tensor.name in names)


def _tensor_of(model: onnx.ModelProto, name: str) -> str:
    """Return the tensor of a quantized model that stands for a float32 one."""
    made = {output for node in model.graph.node for output in node.output}
    dequantized = f"{name}_DequantizeLinear_Output"
    return dequantized if dequantized in made else name


def decibels(signal: Floats, noisy: Floats) -> float:
    """Return the signal-to-noise ratio in decibels: ten times the logarithm of the ratio of the powers.

    >>> round(decibels(np.ones(4, np.float32), np.full(4, 1.1, np.float32)))
    20
    """
    power = float((signal.astype(np.float64) ** 2).sum())
    error = float(((signal.astype(np.float64) - noisy) ** 2).sum())
    if error == 0:
        return float("inf")
    return float(10 * np.log10(max(power, 1e-300) / error))


def _row(row: LayerNoise) -> tuple[str, ...]:
    counts = (f"{row.weights:,}", str(row.bits), f"{row.bytes:,}")
    return (row.name, row.operator, *counts, _decibel(row.weight_snr), _decibel(row.output_snr))


def _decibel(value: float) -> str:
    return "exact" if value == float("inf") else f"{value:.1f}"
