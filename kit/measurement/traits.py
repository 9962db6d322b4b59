"""How an ONNX file computes: which layers ended on integer kernels, and what stands in their way."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from kit.measurement import graph
from kit.runtime.onnx_model import optimized_operators

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
        unfused: layers that the file quantizes but ONNX Runtime runs in floating point.
        packed: layers whose weights are unpacked to floats in each call.
        depthwise: the share of multiply-accumulates in depthwise convolutions.
    """

    storage: str
    activations: str
    dynamic: bool
    integer: int
    floating: int
    unfused: int
    packed: int
    depthwise: float


def traits(path: Path, shape: tuple[int, ...]) -> Traits:
    """Read how an ONNX file computes one sample of this shape.

    Raises:
        ModelError: when it is no ONNX file, or cannot run on such a sample.
    """
    return _traits(path, path.stat().st_mtime_ns, shape)


@lru_cache(maxsize=32)
def _traits(path: Path, _changed: int, shape: tuple[int, ...]) -> Traits:
    nodes = graph.load(path).graph.node
    counts = optimized_operators(path)
    integer, floating = (sum(counts.get(name, 0) for name in names) for names in (_INTEGER, _FLOAT))
    products = graph.products(path, shape)
    total = sum(product.macs for product in products)
    separate = sum(product.macs for product in products if product.depthwise)
    return Traits(
        storage=graph.weights(path).type,
        activations=_activations(graph.load(path)),
        dynamic=any(node.op_type == "DynamicQuantizeLinear" for node in nodes),
        integer=integer,
        floating=floating,
        unfused=max(0, _quantized_layers(graph.load(path)) - integer),
        packed=sum(node.op_type == "MatMulNBits" for node in nodes),
        depthwise=separate / total if total else 0.0,
    )


def _quantized_layers(model: onnx.ModelProto) -> int:
    """Count the layers whose activations and weights the file has as integers."""
    made_by = {output: node.op_type for node in model.graph.node for output in node.output}
    return sum(
        node.op_type in _INTEGER
        or (
            node.op_type in _FLOAT and all(made_by.get(name) == "DequantizeLinear" for name in node.input[:2])
        )
        for node in model.graph.node
    )


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
