"""The layers of an ONNX file: those with weights, by the names they had in PyTorch, and what flows there."""

from __future__ import annotations

import contextlib
import io
import logging
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

# Operators that only exist once a model was quantized.
_QUANTIZED = {
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "MatMulInteger",
    "ConvInteger",
    "MatMulNBits",
    "QGemm",
}


@dataclass(frozen=True)
class Layer:
    """A convolution or matrix product with a stored weight.

    Attributes:
        name: as in PyTorch, such as "2.body.0"; the node's own name where none is known.
        operator: "Conv", "Gemm" or "MatMul".
        node: the name of the node.
        weight: the name of the weight's tensor.
        output: the tensor that holds what the layer gives, after a ReLU if one follows.
        shape: the shape of the weight.
        reduction: how many products are summed for one output value.
        groups: 1, or the channel groups of a depthwise or grouped convolution.
        by_row: whether the weight is (outputs, …) rather than (inputs, outputs).
    """

    name: str
    operator: str
    node: str
    weight: str
    output: str
    shape: tuple[int, ...]
    reduction: int
    groups: int = 1
    by_row: bool = True

    @property
    def count(self) -> int:
        """How many weights it has."""
        return prod(self.shape)


def layers(model: onnx.ModelProto) -> list[Layer]:
    """Return the layers with weights in the order they are computed."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    found = []
    for node in model.graph.node:
        if node.op_type not in {"Conv", "Gemm", "MatMul"} or node.input[1] not in shapes:
            continue
        weight, shape = node.input[1], shapes[node.input[1]]
        following = users.get(node.output[0], [])
        relu = len(following) == 1 and following[0].op_type == "Relu"
        settings = {attribute.name: attribute.i for attribute in node.attribute}
        by_row = node.op_type == "Conv" or bool(settings.get("transB"))
        found.append(
            Layer(
                name=weight.removesuffix(".weight") if weight.endswith(".weight") else node.name,
                operator=node.op_type,
                node=node.name,
                weight=weight,
                output=following[0].output[0] if relu else node.output[0],
                shape=shape,
                reduction=prod(shape[1:]) if by_row else shape[-2],
                groups=settings.get("group", 1) if node.op_type == "Conv" else 1,
                by_row=by_row,
            )
        )
    return found


def select(found: Collection[Layer], names: Collection[str]) -> set[str]:
    """Return the names of the layers that `names` mean: layers, or modules that contain them.

    Raises:
        KeyError: when a name means none of them; its argument is the name.
    """
    chosen = set()
    for name in names:
        meant = {layer.name for layer in found if layer.name == name or layer.name.startswith(f"{name}.")}
        if not meant:
            raise KeyError(name)
        chosen |= meant
    return chosen


def check_float(model: onnx.ModelProto, name: str) -> None:
    """Raise ModelError when a model is quantized already, or stored in 16 bits."""
    from onnx import TensorProto

    kinds = {node.op_type for node in model.graph.node} & _QUANTIZED
    types = {tensor.data_type for tensor in model.graph.initializer}
    small = [TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.FLOAT16, TensorProto.BFLOAT16]
    if kinds or types & set(small):
        what = ", ".join(sorted(kinds)) or "weights of 16 bits or fewer"
        raise ModelError(f"{name!r} is quantized already ({what}); quantize its float32 ancestor instead")


def prepare(source: Path, target: Path) -> None:
    """Write the float32 graph that quantization starts from: shapes inferred, constants folded, nodes fused.

    Means over all pixels become `GlobalAveragePool`, which has an int8 form while `ReduceMean` has none.

    Source: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html, "Pre-processing".
    """
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with silenced():
        quant_pre_process(source, target)
    model = onnx.load(target)
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        axes = values.get(node.input[1]) if node.op_type == "ReduceMean" and len(node.input) > 1 else None
        kept = all(attribute.i for attribute in node.attribute if attribute.name == "keepdims")
        if axes is not None and kept and sorted(int(axis) % 4 for axis in axes) == [2, 3]:
            node.op_type = "GlobalAveragePool"
            del node.input[1:]
            del node.attribute[:]
    drop_unused(model)
    onnx.save(model, target)


def drop_unused(model: onnx.ModelProto) -> None:
    """Remove the stored tensors that no node reads."""
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def probe(model: onnx.ModelProto, names: Collection[str], inputs: Floats) -> dict[str, Floats]:
    """Run a model on `inputs` (N, *shape) and return the tensors called `names`, as float32."""
    import onnx
    import onnxruntime

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    outputs = {output.name for output in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in outputs)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        copy.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    arrays = session.run(list(names), {copy.graph.input[0].name: inputs})
    return {name: np.asarray(array, dtype=np.float32) for name, array in zip(names, arrays, strict=True)}


def stored_weights(model: onnx.ModelProto, found: Collection[Layer]) -> dict[str, Floats]:
    """Return the weights that a quantized file really multiplies with, by layer name, in float32.

    Args:
        model: the quantized model.
        found: the layers of the float32 model that it was made from.
    """
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    made = {name for node in model.graph.node for name in node.output}
    users = {name: node.op_type for node in model.graph.node for name in node.input}
    result: dict[str, Floats] = {}
    computed: dict[str, str] = {}
    for layer in found:
        weight, stored = layer.weight, f"{layer.weight}_quantized"
        if weight in values or (stored in values and users[stored] == "MatMulInteger"):
            array = _array(values[weight]) if weight in values else _scaled(values, weight)
            turned = layer.by_row and users.get(weight, users.get(stored)) in {"MatMul", "MatMulInteger"}
            result[layer.name] = array.T if turned else array
        elif f"{weight}_packed" in values:
            result[layer.name] = _unpacked(values, layer)
        else:
            computed[layer.name] = weight if weight in made else f"{weight}_DequantizeLinear_Output"
    if computed:
        shape = [side.dim_value or 1 for side in model.graph.input[0].type.tensor_type.shape.dim]
        arrays = probe(model, sorted(set(computed.values())), np.zeros(shape, np.float32))
        result |= {name: arrays[tensor] for name, tensor in computed.items()}
    return result


def _array(tensor: onnx.TensorProto) -> Floats:
    from onnx import numpy_helper

    return np.asarray(numpy_helper.to_array(tensor), dtype=np.float32)


def _scaled(values: dict[str, Any], weight: str) -> Floats:
    stored, scale, zero = (
        _array(values[f"{weight}_{part}"]) for part in ("quantized", "scale", "zero_point")
    )
    return (stored - zero) * scale


def _unpacked(values: dict[str, Any], layer: Layer) -> Floats:
    """Return the weight of a `MatMulNBits` node with 4 bits, in its original layout."""
    from onnx import numpy_helper

    packed = numpy_helper.to_array(values[f"{layer.weight}_packed"])
    scale = _array(values[f"{layer.weight}_scale"]).reshape(*packed.shape[:2], 1)
    numbers = np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:2], -1)
    rows = ((numbers.astype(np.float32) - 8) * scale).reshape(len(packed), -1)[:, : layer.reduction]
    return rows if layer.by_row else rows.T


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Hold back what ONNX Runtime's quantizer prints and logs; what it raises says enough."""
    import onnxruntime

    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    onnxruntime.set_default_logger_severity(4)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(level)
        onnxruntime.set_default_logger_severity(2)
