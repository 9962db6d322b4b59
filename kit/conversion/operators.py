"""ONNX operators in PyTorch: each takes the node's settings and its inputs, None for one left out."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from onnx import helper
from torch.nn import functional as F

from kit.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Tensor = torch.Tensor
    Operator = Callable[..., Tensor]
    Settings = Mapping[str, Any]


def _convolution(how: Settings, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    convolve: Any = (F.conv1d, F.conv2d, F.conv3d)[weight.ndim - 3]
    sides = weight.ndim - 2
    x, padding = _padded(how, x, sides, 0.0)
    stride, dilation = how.get("strides", [1] * sides), how.get("dilations", [1] * sides)
    found: Tensor = convolve(x, weight, bias, stride, padding, dilation, how.get("group", 1))
    return found


def _padded(how: Settings, x: Tensor, sides: int, value: float) -> tuple[Tensor, list[int]]:
    """Return the padding that is the same at both ends of each side; pad otherwise."""
    if how.get("auto_pad", b"NOTSET") not in {b"NOTSET", b"VALID"}:
        raise ModelError(f"auto_pad {how['auto_pad']!r} has no PyTorch form here; export with explicit pads")
    pads = list(how.get("pads", [0] * 2 * sides))
    first, last = pads[:sides], pads[sides:]
    if first == last:
        return x, first
    ends = [end for pair in zip(reversed(first), reversed(last), strict=True) for end in pair]
    return F.pad(x, ends, value=value), [0] * sides


def _max_pool(how: Settings, x: Tensor) -> Tensor:
    sides = x.ndim - 2
    pool: Any = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[sides - 1]
    x, padding = _padded(how, x, sides, -torch.inf)
    stride, dilation = how.get("strides", [1] * sides), how.get("dilations", [1] * sides)
    found: Tensor = pool(x, how["kernel_shape"], stride, padding, dilation, bool(how.get("ceil_mode", 0)))
    return found


def _average_pool(how: Settings, x: Tensor) -> Tensor:
    sides = x.ndim - 2
    pool: Any = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[sides - 1]
    counted = bool(how.get("count_include_pad", 0))
    pads = list(how.get("pads", [0] * 2 * sides))
    if pads[:sides] != pads[sides:] and not counted:
        raise ModelError(f"an AveragePool cannot be trained with uneven pads that do not count: {pads}")
    x, padding = _padded(how, x, sides, 0.0)
    stride = how.get("strides", [1] * sides)
    found: Tensor = pool(x, how["kernel_shape"], stride, padding, bool(how.get("ceil_mode", 0)), counted)
    return found


def _product(how: Settings, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    a = a.T if how.get("transA") else a
    b = b.T if how.get("transB") else b
    product: Tensor = how.get("alpha", 1.0) * (a @ b)
    return product if c is None else product + how.get("beta", 1.0) * c


def _reshape(how: Settings, x: Tensor, shape: Tensor) -> Tensor:
    sides = [int(side) for side in shape]
    if not how.get("allowzero"):
        sides = [x.shape[place] if side == 0 else side for place, side in enumerate(sides)]
    return x.reshape(sides)


def _mean(how: Settings, x: Tensor, axes: Tensor | None = None) -> Tensor:
    over = how.get("axes") or (tuple(range(x.ndim)) if axes is None else tuple(map(int, axes)))
    return x.mean(tuple(over), keepdim=bool(how.get("keepdims", 1)))


def _layer_norm(how: Settings, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.layer_norm(x, x.shape[how.get("axis", -1) :], scale, bias, how.get("epsilon", 1e-5))


def _clip(_how: Settings, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    return x.clamp(None if low is None else float(low), None if high is None else float(high))


def _unsqueezed(_how: Settings, x: Tensor, axes: Tensor) -> Tensor:
    rank = x.ndim + axes.numel()
    for axis in sorted(int(axis) % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _sliced(_how: Settings, x: Tensor, starts: Tensor, ends: Tensor, *rest: Tensor | None) -> Tensor:
    axes, steps = (*rest, None, None)[:2]
    for place, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        axis = place if axes is None else int(axes[place])
        step = 1 if steps is None else int(steps[place])
        if step < 1:
            raise ModelError(f"a Slice with step {step} cannot be trained through")
        x = x[(slice(None),) * (axis % x.ndim) + (slice(start, end, step),)]
    return x


def _gathered(how: Settings, x: Tensor, index: Tensor) -> Tensor:
    axis = how.get("axis", 0) % x.ndim
    chosen = x.index_select(axis, (index % x.shape[axis]).flatten().to(x.device))
    return chosen.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def _cast(how: Settings, x: Tensor) -> Tensor:
    kind = helper.tensor_dtype_to_np_dtype(how["to"])
    return x.to(torch.from_numpy(np.empty(0, kind)).dtype)


def _pad(
    how: Settings, x: Tensor, pads: Tensor, value: Tensor | None = None, axes: Tensor | None = None
) -> Tensor:
    if how.get("mode", b"constant") != b"constant":
        raise ModelError(f"a Pad of mode {how['mode']!r} cannot be trained through")
    places = range(x.ndim) if axes is None else [int(axis) % x.ndim for axis in axes]
    ends = [(0, 0)] * x.ndim
    for place, first, last in zip(places, *pads.reshape(2, -1).tolist(), strict=True):
        ends[place] = (first, last)
    flat = [int(end) for pair in reversed(ends) for end in pair]  # PyTorch counts from the last axis
    return F.pad(x, flat, value=0.0 if value is None else float(value))


OPERATORS: Mapping[str, Operator] = {
    "Conv": _convolution,
    "Gemm": _product,
    "MatMul": lambda _how, a, b: a @ b,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": lambda _how, x: x.mean(tuple(range(2, x.ndim)), keepdim=True),
    "ReduceMean": _mean,
    "LayerNormalization": _layer_norm,
    "Add": lambda _how, a, b: a + b,
    "Sub": lambda _how, a, b: a - b,
    "Mul": lambda _how, a, b: a * b,
    "Div": lambda _how, a, b: a / b,
    "Pow": lambda _how, a, b: a**b,
    "Neg": lambda _how, x: -x,
    "Abs": lambda _how, x: x.abs(),
    "Exp": lambda _how, x: x.exp(),
    "Log": lambda _how, x: x.log(),
    "Sqrt": lambda _how, x: x.sqrt(),
    "Reciprocal": lambda _how, x: 1 / x,
    "Where": lambda _how, condition, a, b: torch.where(condition, a, b),
    "Equal": lambda _how, a, b: a == b,
    "Cast": _cast,
    "Expand": lambda _how, x, shape: x * x.new_ones([int(side) for side in shape]),
    "Gather": _gathered,
    "Erf": lambda _how, x: x.erf(),
    "Relu": lambda _how, x: F.relu(x),
    "LeakyRelu": lambda how, x: F.leaky_relu(x, how.get("alpha", 0.01)),
    "Gelu": lambda how, x: F.gelu(x, approximate=how.get("approximate", b"none").decode()),
    "Sigmoid": lambda _how, x: x.sigmoid(),
    "Tanh": lambda _how, x: x.tanh(),
    "HardSwish": lambda _how, x: F.hardswish(x),
    "HardSigmoid": lambda how, x: (how.get("alpha", 0.2) * x + how.get("beta", 0.5)).clamp(0, 1),
    "Softmax": lambda how, x: x.softmax(how.get("axis", -1)),
    "Clip": _clip,
    "Pad": _pad,
    "Reshape": _reshape,
    "Flatten": lambda how, x: x.reshape(prod(x.shape[: how.get("axis", 1)]), -1),
    "Transpose": lambda how, x: x.permute(how.get("perm", list(range(x.ndim))[::-1])),
    "Unsqueeze": _unsqueezed,
    "Squeeze": lambda _how, x, axes=None: x.squeeze() if axes is None else x.squeeze(tuple(map(int, axes))),
    "Slice": _sliced,
    "Concat": lambda how, *parts: torch.cat(parts, how["axis"]),
    "Shape": lambda how, x: torch.tensor(x.shape[how.get("start", 0) : how.get("end")], device=x.device),
    "Identity": lambda _how, x: x,
}
