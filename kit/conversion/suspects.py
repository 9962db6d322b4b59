"""When a converted file differs: what is likely wrong with it, told from its outputs."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


def suspects_of_words(message: str, inputs: Floats, runs: Sequence[int] = ()) -> list[str]:
    """Return suspects for a file that cannot be opened or run, from the runtime's message.

    Args:
        message: what the runtime said.
        inputs: what it was given, (N, *shape).
        runs: the batch sizes with which it did run.
    """
    text = message.lower()
    if "cut short" in text:
        return ["file: it is damaged"]
    if "side file" in text or "external data" in text:
        return ["side file: the weights are not in the file itself"]
    if "expected float32" in text or "data type" in text:
        return ["dtype: the file does not take float32"]
    if runs or ("it declares (" in text and "it declares (n" not in text):
        return ["batch: the batch size is frozen in the file"]
    if any(word in text for word in ("it declares (", "dimension", "rank", "shape")):
        return [f"layout: the file does not take inputs of shape {inputs.shape[1:]}, or reorders their axes"]
    return ["operator: the runtime cannot execute one that the file needs"]


def suspects_of_values(
    run: Callable[[Floats], Floats],
    inputs: Floats,
    got: Mapping[int, Floats],
    expected: Mapping[int, Floats],
    batch: int,
    tolerance: float,
) -> list[str]:
    """Return suspects for a file that runs and answers differently, likeliest first.

    Args:
        run: the file, once more.
        inputs: (N, *shape).
        got, expected: outputs by batch size.
        batch: the batch size at which the first difference stands.
        tolerance: the largest difference that counts as equal.
    """
    outputs, target = got[batch], expected[batch]
    rows = len(inputs)
    outputs, target = outputs.reshape(rows, -1), target.reshape(rows, -1)
    if not np.isfinite(outputs).all():
        return ["dtype: NaN or infinity, as when float16 overflows; or a weight that is not finite"]
    same = [size for size in got if _close(got[size], expected[size], tolerance)]
    if same:
        return [f"batch: right in batches of {same[0]}, so samples mix or the batch size is written in"]
    return [
        *_softmax(outputs, target, tolerance),
        *_order(outputs, target, tolerance),
        *_layout(run, inputs, target, tolerance),
        *_shift(outputs, target, tolerance),
    ] or ["operator or weight: not the batch, layout, order, softmax or last bias; compare layer by layer"]


def _close(a: Floats, b: Floats, tolerance: float) -> bool:
    return a.shape == b.shape and bool((np.abs(a - b) <= max(tolerance, 1e-6)).all())


def _softmax(outputs: Floats, target: Floats, tolerance: float) -> list[str]:
    if outputs.shape[1] < 2:
        return []
    if _close(outputs, _softmaxed(target), tolerance):
        return ["softmax: the file ends with one that the original lacks"]
    if _close(_softmaxed(outputs), target, tolerance):
        return ["softmax: the original ends with one that the file lacks"]
    return []


def _softmaxed(values: Floats) -> Floats:
    powers = np.exp(values - values.max(1, keepdims=True))
    result: Floats = powers / powers.sum(1, keepdims=True)
    return result


def _order(outputs: Floats, target: Floats, tolerance: float) -> list[str]:
    """Look for each column of the original among the columns of the file."""
    if outputs.shape[1] > 2000:
        return []
    places = [int(np.abs(outputs - target[:, k : k + 1]).max(0).argmin()) for k in range(target.shape[1])]
    moved = [k for k, place in enumerate(places) if k != place]
    if moved and _close(outputs[:, places], target, tolerance):
        return [f"order: outputs {moved} stand in each other's place"]
    return []


def _layout(run: Callable[[Floats], Floats], inputs: Floats, target: Floats, tolerance: float) -> list[str]:
    """Try the other orders of a sample's axes: if one makes the file right, the layout is swapped."""
    few = inputs[: min(len(inputs), 32)]
    axes = range(1, inputs.ndim)
    for order in itertools.permutations(axes):
        moved = few.transpose(0, *order)
        if order == tuple(axes) or inputs.ndim > 4 or moved.shape != few.shape:
            continue
        if _close(run(np.ascontiguousarray(moved)).reshape(len(few), -1), target[: len(few)], tolerance):
            return [f"layout: right once the axes of a sample are taken as {order}"]
    return []


def _shift(outputs: Floats, target: Floats, tolerance: float) -> list[str]:
    """See whether each output is off by a constant, or all by one factor."""
    apart = outputs - target
    steady = apart.std(0) <= max(tolerance, 1e-6)
    off = np.flatnonzero(np.abs(apart.mean(0)) > tolerance)
    if steady.all() and off.size:
        return [f"bias: outputs {off.tolist()[:10]} are off by a constant in the last layer"]
    wrong = np.flatnonzero(np.abs(apart).max(0) > tolerance)
    if len(wrong) < target.shape[1]:
        return [f"weight: only outputs {wrong.tolist()[:10]} are off, so look at the last layer"]
    return []
