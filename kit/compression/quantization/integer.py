"""int8 arithmetic: weights and activations as bytes, in the format that the processor is fast with."""

from __future__ import annotations

import platform
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from kit import device as hardware
from kit.compression.quantization.onnx_layers import layers, silenced
from kit.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from kit.compression.quantization.onnx_layers import Layer

    Floats = NDArray[np.float32]

# A convolution with fewer products for each output value than this (a first layer on one or three
# channels) is faster in float32: 3x3 on 1 channel 7.0x, on 3 channels 2.4x, on 4 channels 1.3x; on 8
# channels int8 wins (ONNX Runtime 1.31 with AVX512-VNNI, 1 thread, kernel times).
_NARROW = 64


@dataclass(frozen=True)
class Layout:
    """How a target wants its bytes.

    Attributes:
        name: activations and weights, unsigned (U8) or signed (S8).
        signed: whether activations are signed.
        symmetric: whether activations have no zero point.
        narrow_in_float: whether narrow first convolutions are faster in float32.
    """

    name: str
    signed: bool
    symmetric: bool
    narrow_in_float: bool


# x86: the VNNI instruction multiplies unsigned by signed bytes; with signed activations ONNX Runtime leaves
#   most layers unfused, and the file is slower than float32.
# arm: signed dot products (SDOT, SMMLA) take S8S8 as it is; ONNX Runtime's default there.
#   Source of both: onnxruntime/core/mlas/lib/qgemm.h, MlasGemmQuantGetDispatch.
# tensorrt: signed and symmetric, biases in float32.
#   Source: https://docs.nvidia.com/deeplearning/tensorrt, "Explicit Quantization".
LAYOUTS = {
    "x86": Layout("U8S8", signed=False, symmetric=False, narrow_in_float=True),
    "arm": Layout("S8S8", signed=True, symmetric=False, narrow_in_float=False),
    "tensorrt": Layout("S8S8 symmetric", signed=True, symmetric=True, narrow_in_float=False),
}


def host() -> str:
    """Return the target that this processor is: "x86" or "arm"."""
    return "arm" if platform.machine().lower() in {"arm64", "aarch64"} else "x86"


def saturates(target: str) -> bool:
    """Tell whether sums of two byte products may overflow 16 bits on the target.

    So they do in the AVX2 and AVX-512 instruction (VPMADDUBSW) that x86 processors without VNNI need.

    Source: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html, "When to use
    reduce-range".
    """
    return target == "x86" and not hardware.has("AVX512-VNNI", "AVX-VNNI", "AMX-INT8")


def narrow(found: Collection[Layer]) -> set[str]:
    """Return the names of the layers whose few products a float32 kernel computes faster."""
    return {
        layer.name
        for layer in found
        if layer.operator == "Conv"
        and layer.groups == 1
        and layer.reduction < _NARROW
        and any(side > 1 for side in layer.shape[2:])
    }


class _Calibration:
    """Feeds batches to ONNX Runtime's calibrator; its histograms need batches of one size."""

    def __init__(self, name: str, inputs: Floats) -> None:
        batch = next(size for size in range(64, 0, -1) if len(inputs) % size == 0)
        self._batches: Iterator[dict[str, Floats]] = iter(
            [{name: inputs[start : start + batch]} for start in range(0, len(inputs), batch)]
        )

    def get_next(self) -> dict[str, Floats] | None:
        return next(self._batches, None)


def static(
    prepared: Path,
    target: Path,
    inputs: Floats,
    *,
    layout: Layout,
    method: str,
    per_channel: bool,
    reduce_range: bool,
    excluded: Collection[str],
) -> None:
    """Write an int8 file in QDQ form, with the ranges of activations measured on `inputs`.

    Source: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
    """
    from onnxruntime import quantization

    methods = quantization.CalibrationMethod
    model = onnx.load(prepared)
    name = model.graph.input[0].name
    with silenced():
        ranges = _entropy_ranges(prepared, _Calibration(name, inputs)) if method == "entropy" else {}
        quantization.quantize_static(
            prepared,
            target,
            _Calibration(name, inputs[:1] if ranges else inputs),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=per_channel,
            reduce_range=reduce_range,
            activation_type=quantization.QuantType.QInt8 if layout.signed else quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=sorted(_nodes(model, excluded)),
            calibrate_method=methods.Percentile if method == "percentile" else methods.MinMax,
            extra_options={
                "ActivationSymmetric": layout.symmetric,
                "WeightSymmetric": True,
                "QuantizeBias": not layout.symmetric,
                "DedicatedQDQPair": layout.symmetric,
                "TensorQuantOverrides": ranges,
            },
        )


def _entropy_ranges(prepared: Path, calibration: _Calibration) -> dict[str, list[dict[str, Any]]]:
    """Return the range of each activation that loses the least information when it is cut there.

    The library's own setting, 128 bins for 128 levels, has nothing to cut: it gives the extremes.

    Source: S. Migacz, "8-bit inference with TensorRT", GTC 2017.
    """
    from onnxruntime import quantization

    with tempfile.TemporaryDirectory() as folder:
        calibrator = quantization.create_calibrator(
            prepared,
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=quantization.CalibrationMethod.Entropy,
            extra_options={"num_bins": 2048, "num_quantized_bins": 128},
        )
        calibrator.collect_data(calibration)
        found = calibrator.compute_data().data
    return {
        tensor: [{"rmin": data.range_value[0], "rmax": data.range_value[1]}] for tensor, data in found.items()
    }


def _nodes(model: onnx.ModelProto, excluded: Collection[str]) -> set[str]:
    """Return the nodes of the excluded layers, and the poolings that follow them directly.

    Max pooling of bytes in the layout that a float32 convolution leaves them in is slow: on LeNet-5 it
    costs 15 times as much as in float32.
    """
    chosen = {layer.node for layer in layers(model) if layer.name in excluded}
    reached = {name for node in model.graph.node if node.name in chosen for name in node.output}
    for node in model.graph.node:  # they are in the order of computation
        if node.op_type in {"Relu", "MaxPool"} and node.input[0] in reached:
            chosen.add(node.name)
            reached.update(node.output)
    return chosen


def dynamic(prepared: Path, target: Path, *, excluded: Collection[str]) -> None:
    """Write a file whose matrix products run in int8, with the range of activations measured at each call.

    Raises:
        ModelError: when no layer is a matrix product.
    """
    from onnxruntime import quantization

    model = onnx.load(prepared)
    found = layers(model)
    if all(layer.operator == "Conv" or layer.name in excluded for layer in found):
        raise ModelError("dynamic quantization covers matrix products, and this model has none; use 'static'")
    left = [layer.node for layer in found if layer.name in excluded]
    with silenced():
        quantization.quantize_dynamic(
            prepared,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            nodes_to_exclude=[*left, *(f"{node}_MatMul" for node in left)],  # a Gemm becomes a MatMul first
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
        )
