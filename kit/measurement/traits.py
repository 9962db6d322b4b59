"""How an ONNX file computes: which layers ended on integer kernels, and what stands in their way."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from kit.measurement import graph
from kit.measurement.products import products
from kit.runtime.onnx_model import optimized_nodes

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

_INTEGER = {
    "ConvInteger",
    "DynamicQuantizeMatMul",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "QAttention",
    "QGemm",
    "QLinearConv",
    "QLinearMatMul",
}
_FLOAT = {"Conv", "ConvTranspose", "FusedConv", "FusedGemm", "FusedMatMul", "Gemm", "MatMul"}


@dataclass(frozen=True)
class Traits:
    """How a file computes on ONNX Runtime.

    Attributes:
        storage: what stores most weights, such as "float32", "int8" or "4-bit".
        activations: how activations are quantized: "uint8", "int8" or "" when they are not.
        dynamic: whether activations are quantized anew in each call.
        integer: layers that run on integer kernels once ONNX Runtime has optimised the graph.
        floating: layers that run in floating point then.
        unfused: names of layers that the file quantizes but ONNX Runtime runs in floating point.
        uncovered: operators of the layers that a quantized file leaves in floating point itself.
        packed: layers whose weights are unpacked to floats in each call.
        depthwise: the share of multiply-accumulates in depthwise convolutions.
        intensity: multiply-accumulates for each byte of weights and activations, for one sample; integers
            are one byte, other numbers four. 0 when there are none.
    """

    storage: str
    activations: str
    dynamic: bool
    integer: int
    floating: int
    unfused: tuple[str, ...]
    packed: int
    depthwise: float
    uncovered: tuple[str, ...] = ()
    intensity: float = 0.0


def traits(path: Path, shape: tuple[int, ...]) -> Traits:
    """Read how an ONNX file computes one sample of this shape.

    Raises:
        ModelError: when it is no ONNX file, or cannot run on such a sample.
    """
    return _traits(path, path.stat().st_mtime_ns, shape)


@lru_cache(maxsize=32)
def _traits(path: Path, _changed: int, shape: tuple[int, ...]) -> Traits:
    model, run = graph.load(path), optimized_nodes(path)
    integer = sum(node.op_type in _INTEGER for node in run)
    floating = [node for node in run if node.op_type in _FLOAT]
    quantized = _quantized(model)
    still = {name for node in floating for name in _names(node)}
    unfused = [node for node in quantized if still.intersection(_names(node))]
    names = {name for node in quantized for name in _names(node)}
    left = {node.op_type for node in floating if not names.intersection(_names(node))} if quantized else set()
    arithmetic = products(path, shape)
    total = sum(product.macs for product in arithmetic)
    moved = sum(product.values * (1 if product.name in names else 4) for product in arithmetic)
    return Traits(
        storage=graph.weights(path).type,
        activations=_activations(model),
        dynamic=any(node.op_type == "DynamicQuantizeLinear" for node in model.graph.node),
        integer=integer,
        floating=len(floating),
        unfused=tuple(node.name or node.output[0] for node in unfused),
        packed=sum(node.op_type == "MatMulNBits" for node in model.graph.node),
        depthwise=sum(product.macs for product in arithmetic if product.depthwise) / total if total else 0.0,
        uncovered=tuple(sorted(left)),
        intensity=total / moved if moved else 0.0,
    )


def _quantized(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the layers whose activations and weights the file has as integers."""
    made_by = {output: node.op_type for node in model.graph.node for output in node.output}
    return [
        node
        for node in model.graph.node
        if node.op_type in _INTEGER
        or (
            node.op_type in _FLOAT and all(made_by.get(name) == "DequantizeLinear" for name in node.input[:2])
        )
    ]


def _names(node: onnx.NodeProto) -> set[str]:
    """Return what a layer may be known by after the graph was optimised: its name, or that of what it gives.

    A layer in blocks of channels is called after what it gave before, such as `relu_nchwc`.
    """
    return {node.name, node.name.split("_nchwc", maxsplit=1)[0], *node.output} - {""}


def _activations(model: onnx.ModelProto) -> str:
    """Return the type that activations are quantized to, taken from the zero points."""
    from onnx import TensorProto

    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in {"QuantizeLinear", "QLinearConv", "QLinearMatMul", "QGemm"}:
            kind = types.get(node.input[2]) if len(node.input) > 2 else None
            if kind in {TensorProto.INT8, TensorProto.UINT8}:
                return "int8" if kind == TensorProto.INT8 else "uint8"
    return ""
