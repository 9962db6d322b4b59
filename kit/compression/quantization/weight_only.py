"""Fewer bits for weights alone: a smaller file whose arithmetic stays as it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kit.compression.quantization.onnx_layers import drop_unused, layers
from kit.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from kit.compression.quantization.onnx_layers import Layer

    Floats = NDArray[np.float32]

BLOCK = 32  # weights that share a scale: 4 bits for a whole row broke a depthwise net by 3.4 points


@dataclass(frozen=True)
class Form:
    """How a layer's weights are stored.

    Attributes:
        bits: 4 or 8.
        block: how many weights of an output share a scale.
        packed: whether as a `MatMulNBits` node, whose weights stay packed in memory.
    """

    bits: int
    block: int
    packed: bool = False


def forms(
    found: Collection[Layer], bits: int | Mapping[str, int], *, block: int | None = BLOCK
) -> dict[str, Form]:
    """Return how each layer is stored.

    Layers of fewer than 32 weights an output, such as depthwise convolutions, keep 8 bits when all layers
    get 4: little to win, much to lose. Given by name, each layer has the bits that it was given.

    Args:
        found: the layers.
        bits: 4 or 8 for all, or by layer name; layers not named, or of 32 bits, stay as they are.
        block: how many weights share a scale at 4 bits, at most; None for all of an output.
    """
    given = {layer.name: 4 if bits == 4 and layer.reduction >= BLOCK else 8 for layer in found}
    chosen = bits if not isinstance(bits, int) else given
    return {
        layer.name: _form(layer, chosen[layer.name], block)
        for layer in found
        if chosen.get(layer.name, 32) != 32
    }


def _form(layer: Layer, bits: int, block: int | None) -> Form:
    if bits == 8 or block is None:
        return Form(bits, layer.reduction)
    if layer.operator != "Conv" and layer.reduction >= block:
        return Form(bits, block, packed=True)
    return Form(bits, _block(layer.reduction, block) if layer.operator == "Conv" else layer.reduction)


def quantize_weights(
    prepared: Path, target: Path, forms: Mapping[str, Form], scales: Mapping[str, Floats] | None = None
) -> None:
    """Write a file whose weights have 8 bits (a scale a channel) or 4 (a scale a block).

    Convolutions, and all layers at 8 bits, become `Cast` and `Mul`, which runtimes compute once when they
    load the file. (`DequantizeLinear` would be computed again at each call: 3-5 times slower.) Matrix
    products at 4 bits become `MatMulNBits`, whose weights stay packed in memory.

    Args:
        prepared: the float32 file.
        target: the file to write.
        forms: how each layer is stored, by name; others stay as they are.
        scales: (outputs, blocks, 1) by the name of the weight; where none is given, those of least error.

    Source: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html, "int4/uint4".
    """
    model, given = onnx.load(prepared), scales or {}
    if any(form.bits == 4 for form in forms.values()) and model.opset_import[0].version < 21:
        model = onnx.version_converter.convert_version(model, 21)  # the first with 4-bit numbers
    for layer in layers(model):
        if (form := forms.get(layer.name)) is None:
            continue
        node = next(node for node in model.graph.node if node.name == layer.node)
        write = _pack if form.packed else _unfold
        write(model, node, layer, form, given.get(layer.weight))
    drop_unused(model)
    onnx.save(model, target)


def to_bfloat16(prepared: Path, target: Path) -> None:
    """Write a file whose float32 weights are stored as bf16; runtimes widen them once, at load."""
    model = onnx.load(prepared)
    for tensor in list(model.graph.initializer):
        if tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor).astype(ml_dtypes.bfloat16)
            model.graph.initializer.append(numpy_helper.from_array(values, f"{tensor.name}_bf16"))
            model.graph.initializer.remove(tensor)
            model.graph.node.insert(
                0, _node("Cast", [f"{tensor.name}_bf16"], tensor.name, to=TensorProto.FLOAT)
            )
    onnx.save(model, target)


def to_float16(prepared: Path, target: Path) -> None:
    """Write a file whose weights and arithmetic are fp16; inputs and outputs stay float32.

    Raises:
        ModelError: when a weight is too large for fp16 (above 65,504).
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(prepared)
    for tensor in model.graph.initializer:
        if (
            tensor.data_type == TensorProto.FLOAT
            and np.abs(numpy_helper.to_array(tensor)).max(initial=0) > 65504
        ):
            raise ModelError(f"weight {tensor.name!r} exceeds 65,504, the largest fp16 number; use bf16")
    onnx.save(convert_float_to_float16(model, keep_io_types=True), target)


def _unfold(
    model: onnx.ModelProto, node: onnx.NodeProto, layer: Layer, form: Form, scale: Floats | None
) -> None:
    """Store a weight as small integers and let `Cast`, `Mul` and `Reshape` give it back."""
    weight = _tensor(model, layer.weight)
    rows = _rows(weight, node)
    numbers, scale = rounded(rows.reshape(len(rows), -1, form.block), form.bits, scale)
    if node.op_type != "Conv" and not _by_row(node):  # (inputs, outputs): the channel comes last
        numbers, scale, shape = numbers[:, 0].T, scale[:, 0].T, None
    else:
        shape = np.array(weight.shape, np.int64)
    name = layer.weight
    numbers = np.ascontiguousarray(numbers)
    small = numbers.astype(ml_dtypes.int4) if form.bits == 4 else numbers
    stored = numpy_helper.from_array(small, f"{name}_quantized")
    model.graph.initializer.extend([stored, numpy_helper.from_array(scale, f"{name}_scale")])
    last = name if shape is None else f"{name}_blocks"
    nodes = [
        _node("Cast", [f"{name}_quantized"], f"{name}_widened", to=TensorProto.FLOAT),
        _node("Mul", [f"{name}_widened", f"{name}_scale"], last),
    ]
    if shape is not None:
        model.graph.initializer.append(numpy_helper.from_array(shape, f"{name}_shape"))
        nodes.append(_node("Reshape", [last, f"{name}_shape"], name))
    _forget(model, name)
    for position, made in enumerate(nodes):
        model.graph.node.insert(position, made)


def _pack(
    model: onnx.ModelProto, node: onnx.NodeProto, layer: Layer, form: Form, scale: Floats | None
) -> None:
    """Replace a matrix product by `MatMulNBits` (and `Add` for its bias)."""
    rows = _rows(_tensor(model, layer.weight), node)
    padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % form.block)))
    numbers, scale = rounded(padded.reshape(len(rows), -1, form.block), 4, scale)
    unsigned = (numbers + 8).astype(np.uint8)
    packed = unsigned[..., ::2] | (unsigned[..., 1::2] << 4)
    name = layer.weight
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(packed, f"{name}_packed"),
            numpy_helper.from_array(scale.reshape(-1), f"{name}_scale"),
        ]
    )
    bias = list(node.input[2:])
    output = f"{node.output[0]}_product" if bias else node.output[0]
    product = _node("MatMulNBits", [node.input[0], f"{name}_packed", f"{name}_scale"], output)
    product.domain = "com.microsoft"
    for key, value in {"K": rows.shape[1], "N": len(rows), "bits": 4, "block_size": form.block}.items():
        product.attribute.append(helper.make_attribute(key, value))
    place = list(model.graph.node).index(node)
    if bias:
        model.graph.node.insert(place, _node("Add", [output, *bias], node.output[0]))
    model.graph.node.insert(place, product)
    model.graph.node.remove(node)
    _forget(model, name)
    if all(entry.domain != "com.microsoft" for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def rounded(blocks: Floats, bits: int, scale: Floats | None = None) -> tuple[NDArray[np.int8], Floats]:
    """Round each block (last axis) to signed integers of `bits`, symmetric around zero.

    Unless the scale is given it makes room for the largest; up to 4 bits it is the best of a few that cut
    the largest weights a little: the squared error of all counts, not that of the largest.

    Returns:
        The integers, and the scale of each block with a last axis of 1.

    >>> numbers, scale = rounded(np.array([[0.5, -1.0, 0.25]], np.float32), 8)
    >>> numbers.tolist(), bool(np.allclose(scale, 1 / 127))
    ([[64, -127, 32]], True)
    """
    highest = 2 ** (bits - 1) - 1
    full = np.abs(blocks).max(-1, keepdims=True) / highest if scale is None else scale
    full[full == 0] = 1
    best, least = full, np.full(full.shape, np.inf, np.float32)
    for cut in (1.0, 0.95, 0.9, 0.85, 0.8) if bits <= 4 and scale is None else (1.0,):
        step = full * np.float32(cut)
        error = ((blocks - np.clip(np.rint(blocks / step), -highest, highest) * step) ** 2).sum(
            -1, keepdims=True
        )
        best, least = np.where(error < least, step, best), np.minimum(error, least)
    numbers = np.clip(np.rint(blocks / best), -highest, highest).astype(np.int8)
    return numbers, best.astype(np.float32)


def _rows(weight: Floats, node: onnx.NodeProto) -> Floats:
    """Return a weight as (outputs, products for one output)."""
    if node.op_type == "Conv" or _by_row(node):
        return weight.reshape(len(weight), -1)
    if weight.ndim != 2:
        raise ModelError(f"{node.name!r} multiplies with a stack of matrices {weight.shape}; exclude it")
    return np.ascontiguousarray(weight.T)


def _by_row(node: onnx.NodeProto) -> bool:
    return any(attribute.name == "transB" and attribute.i for attribute in node.attribute)


def _block(length: int, most: int) -> int:
    """Return the largest divisor of a row's length up to `most`, or the row when none is 8 or more."""
    return next((size for size in range(most, 7, -1) if length % size == 0), length)


def _tensor(model: onnx.ModelProto, name: str) -> Floats:
    found = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    return np.asarray(numpy_helper.to_array(found), dtype=np.float32)


def _forget(model: onnx.ModelProto, name: str) -> None:
    """Remove a stored tensor, so that a node of that name can give it."""
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name == name]:
        model.graph.initializer.remove(tensor)


def _node(kind: str, inputs: list[str], output: str, **settings: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [output], name=f"{output}_{kind}", **settings)
