"""The arithmetic of an ONNX file: its convolutions and matrix products, what they cost and what they move."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.errors import ModelError
from kit.measurement.graph import load
from kit.runtime.engines import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

    Shapes = Mapping[str, tuple[int, ...]]

# Of the products, the inputs whose shapes give the arithmetic: (activations, weights).
_PRODUCTS = {
    "Conv": (0, 1),
    "FusedConv": (0, 1),
    "ConvInteger": (0, 1),
    "QLinearConv": (0, 3),
    "ConvTranspose": (0, 1),
    "Gemm": (0, 1),
    "FusedGemm": (0, 1),
    "QGemm": (0, 3),
    "MatMul": (0, 1),
    "FusedMatMul": (0, 1),
    "MatMulInteger": (0, 1),
    "DynamicQuantizeMatMul": (0, 1),
    "MatMulIntegerToFloat": (0, 1),
    "QLinearMatMul": (0, 3),
    "MatMulNBits": (0, 1),
}


_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Product:
    """One convolution or matrix product.

    Attributes:
        operator, name: of the node in the file.
        macs: multiply-accumulates for one sample.
        values: how many numbers it reads and gives: activations, weights, result.
        depthwise: whether it is a convolution of each channel on its own.
    """

    operator: str
    name: str
    macs: int
    values: int
    depthwise: bool


def macs(path: Path, shape: tuple[int, ...]) -> int:
    """Count the multiply-accumulates for one sample of this shape.

    Raises:
        ModelError: when the file cannot run on such a sample.
    """
    return sum(product.macs for product in products(path, shape))


def products(path: Path, shape: tuple[int, ...]) -> tuple[Product, ...]:
    """List the convolutions and matrix products of a file with what each costs for one sample.

    Raises:
        ModelError: when the file cannot run on such a sample.
    """
    return _products(path, path.stat().st_mtime_ns, shape)


def subnormal(path: Path, inputs: NDArray[np.float32]) -> float:
    """Return the share of subnormal numbers (0 < |x| < 1.2e-38) in what the products of a file read and give.

    Many processors compute them in microcode, up to a hundred times slower than other numbers.

    Args:
        path: the file.
        inputs: a few real samples (n, *shape).

    Raises:
        ModelError: when the file cannot run on them.
    """
    model = load(path)
    arrays = _around(model, path, [n for n in model.graph.node if n.op_type in _PRODUCTS], inputs).values()
    floats = [np.abs(array) for array in arrays if array.dtype == np.float32]
    some = sum(int(((array > 0) & (array < _TINY)).sum()) for array in floats)
    return float(some / max(1, sum(array.size for array in floats)))


@lru_cache(maxsize=32)
def _products(path: Path, _changed: int, shape: tuple[int, ...]) -> tuple[Product, ...]:
    model = load(path)
    nodes = [node for node in model.graph.node if node.op_type in _PRODUCTS]
    arrays = _around(model, path, nodes, np.zeros((1, *shape), np.float32))
    shapes = {name: array.shape for name, array in arrays.items()}
    return tuple(
        Product(
            node.op_type,
            node.name,
            _node_macs(node, shapes),
            sum(prod(shapes[name]) for name in _ends(node)),
            _is_depthwise(node, shapes),
        )
        for node in nodes
    )


def _ends(node: onnx.NodeProto) -> list[str]:
    """Return the tensors that a product reads and gives: activations, weights, result."""
    return [*(node.input[i] for i in _PRODUCTS[node.op_type]), node.output[0]]


def _is_depthwise(node: onnx.NodeProto, shapes: Shapes) -> bool:
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    return groups > 1 and shapes[node.input[_PRODUCTS[node.op_type][1]]][1] == 1


def _around(
    model: onnx.ModelProto, path: Path, nodes: list[onnx.NodeProto], inputs: NDArray[np.float32]
) -> dict[str, NDArray[Any]]:
    """Run the graph once, unoptimised, and return the tensors around the given nodes by name.

    Shape inference would stop at the first operator outside the ONNX standard, such as MatMulNBits.
    """
    import onnx
    import onnxruntime

    if not nodes:
        return {}
    wanted = {name for node in nodes for name in _ends(node)}
    stored = [tensor for tensor in model.graph.initializer if tensor.name in wanted]
    known = {tensor.name: np.asarray(onnx.numpy_helper.to_array(tensor)) for tensor in stored}
    feed = {model.graph.input[0].name: inputs}
    known |= feed
    outputs = [output.name for output in model.graph.output]
    model.graph.output.extend(
        onnx.ValueInfoProto(name=n) for n in sorted(wanted - known.keys() - set(outputs))
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        arrays = session.run(None, feed)
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise ModelError(
            f"{path.name} cannot run on samples of shape {inputs.shape[1:]}: {one_line(error)}"
        ) from error
    return known | {o.name: array for o, array in zip(session.get_outputs(), arrays, strict=True)}


def _node_macs(node: onnx.NodeProto, shapes: Shapes) -> int:
    """Return the multiply-accumulates of one node from the shapes around it."""
    left, right = (shapes[node.input[i]] for i in _PRODUCTS[node.op_type])
    out = shapes[node.output[0]]
    settings = {attribute.name: attribute.i for attribute in node.attribute}
    if node.op_type == "ConvTranspose":
        return prod(left) * prod(right[1:])
    if "Conv" in node.op_type:
        return prod(out) * prod(right[1:])
    if "Gemm" in node.op_type:
        return prod(out) * left[0 if settings.get("transA") else 1]
    return prod(out) * left[-1]
