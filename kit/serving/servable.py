"""A model made ready to be served: what goes in, what comes out, and one call that computes a batch."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from kit import device as hardware
from kit.errors import ModelError
from kit.runtime import engines, gate
from kit.runtime.folder import load
from kit.runtime.rows import file_mixes_rows, mixes_rows
from kit.runtime.session import open as open_session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from kit.variant import Signature

    Tensors = Mapping[str, NDArray[Any]]

BATCH = 32  # rows computed together at most; 30 µs models gain no more beyond it
SHORT = 1.5e-3  # seconds: a full batch that takes less may run on the event loop
_TRIED = (1, 2, 4, 8, 16, BATCH)
_LONG = 0.1  # seconds: larger batches than one that takes as long are not tried
_NEARLY = 0.9
_ONNX_TYPES = {
    "tensor(bool)": "BOOL",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
} | {f"tensor({sign}int{bits})": f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}


@dataclass(frozen=True)
class TensorSpec:
    """One input or output: its name, its datatype in the protocol's words, its shape (None: any number)."""

    name: str
    datatype: str
    shape: tuple[int | None, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as the protocol's metadata writes it."""
        return {
            "name": self.name,
            "datatype": self.datatype,
            "shape": [-1 if n is None else n for n in self.shape],
        }


@dataclass(frozen=True)
class Servable:
    """A model that is open.

    Attributes:
        name: the model's own name.
        inputs, outputs: what it takes and gives.
        run: maps named inputs to named outputs; any thread may call.
        batch: rows that may be computed together; 1 where a caller's rows must not meet another's.
        lanes: batches that may be computed at a time.
        short: whether a full batch is quick enough for the event loop.
        signature: of a model folder; None for a bare ONNX file.
        about: what else there is to tell: runtime, provider, threads, bytes, why it is not batched.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    run: Callable[[Tensors], Tensors]
    batch: int = 1
    lanes: int = 1
    short: bool = False
    signature: Signature | None = None
    about: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def rowwise(self) -> bool:
        """Whether every input and output has rows, any number of them, as its first dimension."""
        return all(spec.shape and spec.shape[0] is None for spec in (*self.inputs, *self.outputs))


def open_servable(path: Path, *, batch: int | None = None) -> Servable:
    """Open a model folder, a packed file or a bare .onnx file, and see how it computes best.

    Args:
        path: what `kit.save` or `kit.pack` wrote, or an ONNX file of any inputs and outputs.
        batch: rows that may be computed together; None measures how many are worth it, up to 32.

    Raises:
        KitError: when it cannot be opened, or not run.
    """
    if path.is_file() and path.suffix == ".onnx":
        return _of_file(path, batch or BATCH)
    return _of_folder(path, batch)


def _of_folder(path: Path, batch: int | None) -> Servable:
    variant = load(path)
    signature = variant.signature
    body = getattr(variant.model, "execution", None)
    # ONNX Runtime computes several batches at a time, one thread each: on 2 cores twice the answers a second.
    lanes = hardware.threads() if body is not None and body.runtime == "onnxruntime" else 1
    session = open_session(variant, threads=1 if lanes > 1 else None)
    lanes = lanes if session.threads == 1 else 1

    def run(tensors: Tensors) -> Tensors:
        return {"output": session(tensors["input"])}

    mixes = mixes_rows(variant)
    timed = _timed(run, signature.shape, [1] if mixes else [batch] if batch else _TRIED)
    most = _worthwhile(timed)
    return Servable(
        variant.name,
        (TensorSpec("input", "FP32", (None, *signature.shape)),),
        (TensorSpec("output", "FP32", (None, signature.outputs)),),
        run,
        batch=most,
        lanes=lanes,
        short=timed[most] < SHORT,
        signature=signature,
        about={
            "runtime": session.runtime,
            "provider": session.provider,
            "threads": session.threads,
            "batch": most,
        }
        | _why(mixes),
    )


def _timed(
    run: Callable[[Tensors], Tensors], shape: tuple[int, ...], sizes: Sequence[int]
) -> dict[int, float]:
    """Return the least seconds of some runs of each batch size, as long as none takes too long."""
    found: dict[int, float] = {}
    for rows in sizes:
        inputs = {"input": np.zeros((rows, *shape), np.float32)}
        run(inputs)  # the first opens what is opened late
        found[rows] = min(_seconds(run, inputs) for _ in range(3))
        if found[rows] > _LONG:
            break
    return found


def _seconds(run: Callable[[Tensors], Tensors], inputs: Tensors) -> float:
    begin = time.perf_counter()
    run(inputs)
    return time.perf_counter() - begin


def _worthwhile(timed: dict[int, float]) -> int:
    """Return a batch that computes nearly as many rows a second as the best: the largest if that is short.

    Each batch costs the event loop something; a long one keeps its first row waiting for its last.
    """
    best = max(rows / seconds for rows, seconds in timed.items())
    good = [rows for rows, seconds in timed.items() if rows / seconds > _NEARLY * best]
    return max(good) if timed[max(good)] < SHORT else min(good)


def _of_file(path: Path, batch: int) -> Servable:
    import onnxruntime

    gate.check(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(path, options, providers=[engines.PROVIDERS["cpu"]])
    except Exception as error:  # its exceptions share no class of their own
        raise ModelError(f"ONNX Runtime cannot open {path}: {engines.one_line(error)}") from error
    inputs = tuple(_spec(path, node) for node in session.get_inputs())
    outputs = tuple(_spec(path, node) for node in session.get_outputs())
    names = [spec.name for spec in outputs]
    mixes = file_mixes_rows(path)

    def run(tensors: Tensors) -> Tensors:
        return dict(zip(names, session.run(names, dict(tensors)), strict=True))

    about = {"runtime": "onnxruntime", "provider": session.get_providers()[0], "threads": 1}
    made = Servable(path.stem, inputs, outputs, run, lanes=hardware.threads(), about=about | _why(mixes))
    return replace(made, batch=batch if made.rowwise and not mixes else 1)


def _spec(path: Path, node: Any) -> TensorSpec:
    if node.type not in _ONNX_TYPES:
        raise ModelError(f"{path} has {node.name!r} of {node.type}, which cannot be served")
    return TensorSpec(
        node.name, _ONNX_TYPES[node.type], tuple(n if isinstance(n, int) else None for n in node.shape)
    )


def _why(mixes: bool) -> dict[str, str]:
    said = "it quantizes a batch by one range, so that one caller's rows would change another's answers"
    return {"not batched": said} if mixes else {}
