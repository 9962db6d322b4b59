"""What an ONNX file holds: its weights and its side files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.runtime import gate

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import onnx

# Which inputs of a quantized operator are weights or biases; of other operators all of them may be.
# Source: https://onnx.ai/onnx/operators and onnxruntime's docs/ContribOperators.md.
_WEIGHT_INPUTS = {
    "DequantizeLinear": (0,),
    "QuantizeLinear": (0,),
    "ConvInteger": (1,),
    "MatMulInteger": (1,),
    "DynamicQuantizeMatMul": (1, 4),
    "MatMulIntegerToFloat": (1, 6),
    "MatMulNBits": (1, 5),
    "QGemm": (3, 6),
    "QLinearConv": (3, 8),
    "QLinearMatMul": (3,),
}
_ZERO_POINTS = {
    "DequantizeLinear": 2,
    "ConvInteger": 3,
    "MatMulInteger": 3,
    "DynamicQuantizeMatMul": 3,
    "QGemm": 5,
    "QLinearConv": 5,
    "QLinearMatMul": 5,
}


@dataclass(frozen=True)
class Weights:
    """The weights of a file.

    Attributes:
        count: how many.
        nonzero: how many of them are not zero.
        type: what stores most of them, such as "float32", "int8" or "4-bit".
    """

    count: int
    nonzero: int
    type: str


def weights(path: Path) -> Weights:
    """Count the weights of an ONNX file, without scales, zero points, shapes and scalar constants."""
    return _weights(path, path.stat().st_mtime_ns)


def side_files(path: Path) -> list[Path]:
    """Return the files beside an ONNX file that hold its weights."""
    return sorted({path.parent / name for name in gate.side_files(gate.read(path))})


def load(path: Path) -> onnx.ModelProto:
    """Read an ONNX file with its side files.

    Raises:
        ModelError: when it is no ONNX file, or a side file is missing.
    """
    import onnx

    return onnx.load(gate.check(path))


@lru_cache(maxsize=32)
def _weights(path: Path, _changed: int) -> Weights:
    from onnx import TensorProto, numpy_helper

    model = load(path)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    integers = {TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING}
    filled = 0
    types: Counter[str] = Counter()
    for name, node in _weight_users(model).items():
        tensor = tensors[name]
        if tensor.data_type in integers or not tensor.dims:
            continue
        array = np.asarray(numpy_helper.to_array(tensor))
        if node.op_type == "MatMulNBits":
            total, some = _packed(array, node)
        else:
            centre = _zero_point(node, tensors, array.shape)
            total, some = array.size, int(np.count_nonzero(array.astype(np.float32) != centre))
        filled += some
        types[_storage(node, array)] += total
    return Weights(types.total(), filled, types.most_common(1)[0][0] if types else "")


def _storage(node: onnx.NodeProto, array: np.ndarray[Any, Any]) -> str:
    if node.op_type != "MatMulNBits":
        return str(array.dtype)
    return f"{next((a.i for a in node.attribute if a.name == 'bits'), 4)}-bit"


def _weight_users(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Return the initializers that are weights, each with one node that uses it."""
    names = {tensor.name for tensor in model.graph.initializer}
    integer = {
        output
        for node in model.graph.node
        if node.op_type == "DynamicQuantizeLinear" or (node.op_type == "Cast" and node.input[0] in names)
        for output in node.output
    }
    users: dict[str, onnx.NodeProto] = {}
    for node in model.graph.node:
        chosen = _WEIGHT_INPUTS.get(node.op_type, range(len(node.input)))
        if node.op_type == "Mul" and integer.intersection(node.input):
            continue  # what integers are multiplied with is their scale
        for position in chosen:
            if position < len(node.input) and node.input[position] in names:
                users.setdefault(node.input[position], node)
    return users


def _zero_point(node: onnx.NodeProto, tensors: Mapping[str, onnx.TensorProto], shape: tuple[int, ...]) -> Any:
    """Return what stands for zero in a stored weight, shaped to broadcast against it."""
    from onnx import numpy_helper

    position = _ZERO_POINTS.get(node.op_type, len(node.input))
    if position >= len(node.input) or node.input[position] not in tensors:
        return 0.0
    point = np.asarray(numpy_helper.to_array(tensors[node.input[position]])).astype(np.float32)
    settings = {attribute.name: attribute.i for attribute in node.attribute}
    axis = {"DequantizeLinear": settings.get("axis", 1), "QLinearConv": 0, "ConvInteger": 0}.get(node.op_type)
    if axis is None:  # of a matrix product, one for each column
        axis = 0 if settings.get("transB") else -1
    if point.size == 1:
        return float(point.reshape(-1)[0])
    if point.ndim == 1:
        return point.reshape([-1 if i == axis % len(shape) else 1 for i in range(len(shape))])
    blocks = np.repeat(point, settings["block_size"], axis=axis)
    return blocks[tuple(slice(0, size) for size in shape)]


def _packed(array: np.ndarray[Any, Any], node: onnx.NodeProto) -> tuple[int, int]:
    """Count the weights packed into bytes by MatMulNBits; the middle of the range stands for zero."""
    settings = {attribute.name: attribute.i for attribute in node.attribute}
    bits, total = settings.get("bits", 4), settings["K"] * settings["N"]
    if array.dtype != np.uint8 or bits not in {4, 8}:
        return total, total
    values = array if bits == 8 else np.stack([array & 15, array >> 4], axis=-1)
    rows = values.reshape(settings["N"], -1)[:, : settings["K"]]
    return total, int(np.count_nonzero(rows != 1 << (bits - 1)))
