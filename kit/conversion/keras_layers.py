"""An ONNX graph as a Keras model: layers with weights, images with their channels last.

Reshape is not transpose: a feature map keeps its numbers and changes their order in memory, so each value is
kept together with the order that its axes are in, and is turned only where an operator needs the other one.
This module runs in a process of its own, where Keras may be imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import helper, numpy_helper

from kit.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import onnx
    from numpy.typing import NDArray

    Array = NDArray[Any]


@dataclass(frozen=True)
class _Value:
    """A Keras tensor, and whether its channels (axis 1 in ONNX) come last in it."""

    tensor: Any
    last: bool = False


class Builder:
    """Builds the Keras model of an ONNX graph.

    Args:
        keras: the module, imported with any backend.
        model: one input (N, *shape), one output; float32; all weights inside.
        shape: of one sample, in ONNX's order.

    Raises:
        ExportError: when it holds an operator that has no Keras form here.
    """

    def __init__(self, keras: Any, model: onnx.ModelProto, shape: tuple[int, ...]) -> None:
        self.keras, self.layers, self.ops = keras, keras.layers, keras.ops
        self.constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.values: dict[str, _Value] = {}
        self.graph, self.shape = model.graph, shape

    def build(self) -> Any:
        """Return the functional model; an image goes in as (N, height, width, channels)."""
        image = len(self.shape) > 1
        sides = (*self.shape[1:], self.shape[0]) if image else self.shape
        start = self.keras.Input(sides, name="input")
        self.values[self.graph.input[0].name] = _Value(start, last=image)
        for node in self.graph.node:
            how = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                self.constants[node.output[0]] = numpy_helper.to_array(how["value"])
            elif node.op_type not in _OPERATORS:
                raise ExportError(
                    f"operator {node.op_type} has no Keras layer here; known: {', '.join(sorted(_OPERATORS))}"
                )
            else:
                self.values[node.output[0]] = _OPERATORS[node.op_type](self, node, how)
        end = self.first(self.graph.output[0].name)
        return self.keras.Model(start, end, name="maaskit")

    def first(self, name: str) -> Any:
        """Return a tensor with its axes in ONNX's order."""
        value = self.values[name]
        if not value.last:
            return value.tensor
        rank = len(value.tensor.shape)
        return (
            self.layers.Permute((rank - 1, *range(1, rank - 1)))(value.tensor) if rank > 2 else value.tensor
        )

    def last(self, name: str) -> Any:
        """Return a tensor with its channels last."""
        value = self.values[name]
        rank = len(value.tensor.shape)
        return (
            value.tensor
            if value.last or rank < 3
            else self.layers.Permute((*range(2, rank), 1))(value.tensor)
        )

    def weight(self, node: onnx.NodeProto, place: int) -> Array | None:
        """Return a stored input of a node, or None if it is left out.

        Raises:
            ExportError: when it is computed.
        """
        name = node.input[place] if place < len(node.input) else ""
        if name and name not in self.constants:
            raise ExportError(
                f"{node.op_type} takes {name!r} from another layer where Keras needs a stored one"
            )
        return self.constants[name] if name else None

    def filled(self, layer: Any, tensor: Any, *weights: Array | None) -> Any:
        """Apply a layer and give it its weights."""
        result = layer(tensor)
        layer.set_weights([weight for weight in weights if weight is not None])
        return result


def _convolution(b: Builder, node: onnx.NodeProto, how: Mapping[str, Any]) -> _Value:
    weight, bias = b.weight(node, 1), b.weight(node, 2)
    assert weight is not None
    groups, kernel = how.get("group", 1), weight.shape[2:]
    rank = len(kernel)
    x = _padded(b, b.last(node.input[0]), how, rank, 0.0)
    settings = {
        "strides": tuple(how.get("strides", [1] * rank)),
        "dilation_rate": tuple(how.get("dilations", [1] * rank)),
        "use_bias": bias is not None,
    }
    if groups == weight.shape[0] and weight.shape[1] == 1 and groups > 1 and rank == 2:
        layer = b.layers.DepthwiseConv2D(kernel, **settings)
        stored = weight.transpose(2, 3, 0, 1)  # OIHW, one input each, to HW-channel-multiplier
    else:
        kind = {1: b.layers.Conv1D, 2: b.layers.Conv2D, 3: b.layers.Conv3D}[rank]
        layer = kind(weight.shape[0], kernel, groups=groups, **settings)
        stored = weight.transpose(*range(2, rank + 2), 1, 0)  # OI… to …IO
    return _Value(b.filled(layer, x, stored, bias), last=True)


def _padded(b: Builder, x: Any, how: Mapping[str, Any], rank: int, fill: float) -> Any:
    if how.get("auto_pad", b"NOTSET") not in {b"NOTSET", b"VALID"}:
        raise ExportError(f"auto_pad {how['auto_pad']!r} has no Keras form here; export with explicit pads")
    pads = how.get("pads", [0] * 2 * rank)
    if not any(pads):
        return x
    ends = [(0, 0), *zip(pads[:rank], pads[rank:], strict=True), (0, 0)]
    return b.ops.pad(x, ends, constant_values=fill)


def _pool(b: Builder, node: onnx.NodeProto, how: Mapping[str, Any]) -> _Value:
    rank, largest = len(how["kernel_shape"]), node.op_type == "MaxPool"
    if how.get("ceil_mode") or any(side != 1 for side in how.get("dilations", [1])):
        raise ExportError(f"{node.op_type} with ceil_mode or dilations has no Keras form here")
    if not largest and any(how.get("pads", [0])) and not how.get("count_include_pad"):
        raise ExportError("AveragePool with padding that does not count has no Keras form here")
    x = _padded(b, b.last(node.input[0]), how, rank, -float("inf") if largest else 0.0)
    pool = b.ops.max_pool if largest else b.ops.average_pool
    size, stride = tuple(how["kernel_shape"]), tuple(how.get("strides", [1] * rank))
    return _Value(pool(x, size, stride, padding="valid", data_format="channels_last"), last=True)


def _pad(b: Builder, node: onnx.NodeProto, how: Mapping[str, Any]) -> _Value:
    pads, fill = b.weight(node, 1), b.weight(node, 2)
    assert pads is not None
    if how.get("mode", b"constant") != b"constant" or len(node.input) > 3:
        raise ExportError("a Pad other than with one number, on all axes, has no Keras form here")
    value = b.values[node.input[0]]
    ends = [(int(first), int(last)) for first, last in pads.reshape(2, -1).T]
    if value.last:
        ends = [ends[0], *ends[2:], ends[1]]
    padded = b.ops.pad(value.tensor, ends, constant_values=0.0 if fill is None else float(fill))
    return _Value(padded, value.last)


def _global_pool(b: Builder, node: onnx.NodeProto, _how: Mapping[str, Any]) -> _Value:
    x = b.last(node.input[0])
    return _Value(b.ops.mean(x, axis=tuple(range(1, len(x.shape) - 1)), keepdims=True), last=True)


def _mean(b: Builder, node: onnx.NodeProto, how: Mapping[str, Any]) -> _Value:
    value = b.values[node.input[0]]
    rank = len(value.tensor.shape)
    stored = b.weight(node, 1)
    axes = [a % rank for a in (how.get("axes") or ([] if stored is None else stored.tolist()))] or range(
        1, rank
    )
    keep = bool(how.get("keepdims", 1))
    if value.last and keep:
        places = tuple(rank - 1 if a == 1 else a - 1 for a in axes)
        return _Value(b.ops.mean(value.tensor, axis=places, keepdims=True), last=True)
    return _Value(b.ops.mean(b.first(node.input[0]), axis=tuple(axes), keepdims=keep))


def _dense(b: Builder, node: onnx.NodeProto, how: Mapping[str, Any]) -> _Value:
    weight, bias = b.weight(node, 1), b.weight(node, 2)
    assert weight is not None
    x = b.first(node.input[0])
    if weight.ndim != 2 or how.get("transA"):
        raise ExportError(f"{node.op_type} with weights {weight.shape} has no Keras form here")
    weight = (weight.T if how.get("transB") else weight) * how.get("alpha", 1.0)
    layer = b.layers.Dense(weight.shape[1], use_bias=bias is not None)
    scaled = None if bias is None else np.broadcast_to(bias * how.get("beta", 1.0), weight.shape[1:])
    return _Value(b.filled(layer, x, weight, scaled))


def _reshape(b: Builder, node: onnx.NodeProto, how: Mapping[str, Any]) -> _Value:
    x = b.first(node.input[0])
    if node.op_type == "Flatten":
        if how.get("axis", 1) != 1:
            raise ExportError(f"Flatten at axis {how['axis']} has no Keras form here")
        return _Value(b.layers.Flatten()(x))
    shape = b.weight(node, 1)
    assert shape is not None
    sides = [x.shape[k] if side == 0 else int(side) for k, side in enumerate(shape.tolist())][1:]
    return _Value(b.layers.Reshape(tuple(sides))(x))


def _moved(b: Builder, node: onnx.NodeProto, how: Mapping[str, Any]) -> _Value:
    x = b.first(node.input[0])
    order = list(how.get("perm", range(len(x.shape))[::-1]))
    if order[0] != 0:
        raise ExportError(f"a Transpose {order} that moves the batch has no Keras form")
    return _Value(b.layers.Permute(tuple(order[1:]))(x))


def _pairwise(b: Builder, node: onnx.NodeProto, _how: Mapping[str, Any]) -> _Value:
    """Apply an operator of two values; a stored one is turned with the other's axes."""
    apply = getattr(
        b.ops,
        {"Add": "add", "Sub": "subtract", "Mul": "multiply", "Div": "divide", "Pow": "power"}[node.op_type],
    )
    known = [b.values.get(name) for name in node.input]
    last = all(value.last for value in known if value is not None)
    rank = max((len(value.tensor.shape) for value in known if value is not None), default=0)
    parts = []
    for name, value in zip(node.input, known, strict=True):
        if value is not None:
            parts.append(value.tensor if last else b.first(name))
            continue
        stored = b.constants[name]
        if last and stored.ndim > 1:
            stored = np.moveaxis(stored.reshape((1,) * (rank - stored.ndim) + stored.shape), 1, -1)
        elif last and stored.ndim == 1 and stored.size > 1 and rank > 2:
            stored = stored.reshape((-1, 1))  # ONNX lines it up with the last axis, which is no longer last
        parts.append(stored)
    return _Value(apply(*parts), last)


def _each(name: str, **fixed: Any) -> Callable[[Builder, Any, Mapping[str, Any]], _Value]:
    """Return an operator that treats every number by itself, in whatever order they are."""

    def apply(b: Builder, node: onnx.NodeProto, _how: Mapping[str, Any]) -> _Value:
        value = b.values[node.input[0]]
        return _Value(getattr(b.ops, name)(value.tensor, **fixed), value.last)

    return apply


def _relu(b: Builder, node: onnx.NodeProto, _how: Mapping[str, Any]) -> _Value:
    value = b.values[node.input[0]]
    return _Value(b.layers.ReLU()(value.tensor), value.last)


def _clip(b: Builder, node: onnx.NodeProto, _how: Mapping[str, Any]) -> _Value:
    value, low, high = b.values[node.input[0]], b.weight(node, 1), b.weight(node, 2)
    least, most = -3.4e38 if low is None else float(low), 3.4e38 if high is None else float(high)
    return _Value(b.ops.clip(value.tensor, least, most), value.last)


def _softmax(b: Builder, node: onnx.NodeProto, how: Mapping[str, Any]) -> _Value:
    return _Value(b.ops.softmax(b.first(node.input[0]), axis=how.get("axis", -1)))


def _gelu(b: Builder, node: onnx.NodeProto, how: Mapping[str, Any]) -> _Value:
    value = b.values[node.input[0]]
    return _Value(
        b.ops.gelu(value.tensor, approximate=how.get("approximate", b"none") == b"tanh"), value.last
    )


def _leaky(b: Builder, node: onnx.NodeProto, how: Mapping[str, Any]) -> _Value:
    value = b.values[node.input[0]]
    return _Value(b.ops.leaky_relu(value.tensor, how.get("alpha", 0.01)), value.last)


def _same(b: Builder, node: onnx.NodeProto, _how: Mapping[str, Any]) -> _Value:
    return b.values[node.input[0]]


_OPERATORS: Mapping[str, Callable[[Builder, Any, Mapping[str, Any]], _Value]] = {
    "Conv": _convolution,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": _global_pool,
    "Pad": _pad,
    "ReduceMean": _mean,
    "Gemm": _dense,
    "MatMul": _dense,
    "Reshape": _reshape,
    "Flatten": _reshape,
    "Transpose": _moved,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow"), _pairwise),
    "Relu": _relu,
    "LeakyRelu": _leaky,
    "Gelu": _gelu,
    "Clip": _clip,
    "Softmax": _softmax,
    "Identity": _same,
    **{
        kind: _each(kind.lower())
        for kind in ("Sigmoid", "Tanh", "Exp", "Log", "Sqrt", "Erf", "Abs", "Reciprocal")
    },
    "Neg": _each("negative"),
    "HardSwish": _each("hard_swish"),
}
