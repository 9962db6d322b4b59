"""Runtimes beside ONNX's: PyTorch programs, LiteRT, Keras, TensorFlow, each as an `Engine`."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from kit import device as hardware
from kit.errors import DataError, DeviceError, ModelError, require
from kit.runtime import gate
from kit.runtime.engines import Engine, check_shape, one_line, open_openvino

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from kit.runtime.execution import Execution

    Floats = NDArray[np.float32]


def open_foreign(path: Path, kind: str, how: Execution) -> Engine:
    """Open a file of a format other than ONNX, once the gate has let it through.

    Args:
        path: the file or folder.
        kind: its format, from `gate.inspect`.
        how: threads and device; with the layout "channels_last" images are handed over as (N, height,
            width, channels) though the engine takes (N, channels, height, width).

    Raises:
        DeviceError: when it is asked for on a device that it does not run on.
        MissingExtraError: when its library is not installed.
        ModelError: when its runtime cannot open it, or it has more than one input or output.
    """
    gate.inspect(path)
    if kind == "openvino":
        threads = how.threads or hardware.threads()
        return open_openvino(path, device=how.device, threads=threads, precision=how.precision)
    if how.device not in {None, "cpu"} and kind != "pt2":
        raise DeviceError(
            f"{path} runs on the CPU, not on {how.device!r}; convert it to ONNX for other devices"
        )
    opened = _OPENERS[kind](path, how)
    if how.layout != "channels_last":
        return opened

    def run(inputs: Floats) -> Floats:
        return opened.run(np.ascontiguousarray(np.moveaxis(inputs, 1, -1)) if inputs.ndim > 2 else inputs)

    return Engine(run, opened.runtime, opened.provider, opened.threads, opened.precision, opened.declared)


def _open_program(path: Path, how: Execution) -> Engine:
    """Open a `.pt2`. Source: https://docs.pytorch.org/docs/stable/export.html, "Serialization"."""
    import torch

    where, threads = hardware.pick(how.device), how.threads or hardware.threads()
    try:
        program = torch.export.load(path)
        module = program.module().to(where)
    except Exception as error:  # the loader's errors share no class
        raise ModelError(f"torch cannot open {path}: {one_line(error)}") from error
    given = [
        node.meta.get("val")
        for node in program.graph.nodes
        if node.name in program.graph_signature.user_inputs
    ]
    if len(given) != 1:
        raise ModelError(f"{path} has {len(given)} inputs; expected one")
    declared = [side if isinstance(side, int) else None for side in getattr(given[0], "shape", ())]

    def run(inputs: Floats) -> Floats:
        check_shape(path, declared, inputs)
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with torch.inference_mode():
                result: Floats = module(torch.from_numpy(inputs).to(where)).float().cpu().numpy()
        except (RuntimeError, AssertionError, AttributeError) as error:
            raise DataError(f"{path.name} cannot take inputs {inputs.shape}: {one_line(error)}") from error
        finally:
            torch.set_num_threads(before)
        return result

    return Engine(run, "torch", str(where), threads if where.type == "cpu" else 0, "fp32", tuple(declared))


def _open_litert(path: Path, how: Execution) -> Engine:
    """Open a `.tflite`. Source: https://ai.google.dev/edge/litert/inference."""
    interpreter = require("ai_edge_litert.interpreter", "formats").Interpreter
    threads = how.threads or hardware.threads()
    try:
        model = interpreter(str(path), num_threads=threads)
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"LiteRT cannot open {path}: {one_line(error)}") from error
    given, made = model.get_input_details(), model.get_output_details()
    _only_one(path, given, made)
    if given[0]["dtype"] != np.float32 or made[0]["dtype"] != np.float32:
        raise ModelError(f"{path} takes {given[0]['dtype'].__name__}; expected float32 inputs and outputs")
    declared = [None if side < 0 else int(side) for side in given[0]["shape_signature"]]
    lock, last = threading.Lock(), [()]

    def run(inputs: Floats) -> Floats:
        check_shape(path, declared, inputs)
        with lock:  # an interpreter computes one batch at a time
            if last[0] != inputs.shape:
                model.resize_tensor_input(given[0]["index"], inputs.shape)
                model.allocate_tensors()
                last[0] = inputs.shape
            model.set_tensor(given[0]["index"], inputs)
            model.invoke()
            return np.array(model.get_tensor(made[0]["index"]), dtype=np.float32)

    return Engine(run, "litert", "XNNPACK", threads, "fp32", tuple(declared))


def _open_keras(path: Path, _how: Execution) -> Engine:
    """Open a `.keras`; on PyTorch, unless this process has loaded Keras with another backend already."""
    if "keras" not in sys.modules:
        os.environ.setdefault("KERAS_BACKEND", "torch")
    keras: Any = require("keras", "formats")
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # as many classes as there are layers
        raise ModelError(f"Keras cannot open {path}: {one_line(error)}") from error
    _only_one(path, model.inputs, model.outputs)
    declared = tuple(model.inputs[0].shape)

    def run(inputs: Floats) -> Floats:
        check_shape(path, declared, inputs)
        answer = model(keras.ops.convert_to_tensor(inputs), training=False)
        return np.asarray(keras.ops.convert_to_numpy(answer), dtype=np.float32)

    return Engine(run, "keras", keras.backend.backend(), hardware.threads(), "fp32", declared)


def _open_saved_model(path: Path, _how: Execution) -> Engine:
    """Open a SavedModel's "serving_default". Source: https://www.tensorflow.org/guide/saved_model."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    tensorflow: Any = require("tensorflow", "tensorflow")
    try:
        model = tensorflow.saved_model.load(str(path))
        call = model.signatures["serving_default"]
    except Exception as error:  # TensorFlow's own, and KeyError
        raise ModelError(f"TensorFlow cannot open {path}: {one_line(error)}") from error
    given = call.structured_input_signature[1]
    _only_one(path, given, call.structured_outputs)
    (name, wanted), output = next(iter(given.items())), next(iter(call.structured_outputs))
    declared = tuple(wanted.shape.as_list()) if wanted.shape.rank is not None else ()

    def run(inputs: Floats) -> Floats:
        check_shape(path, declared, inputs)
        return np.asarray(call(**{name: tensorflow.constant(inputs)})[output].numpy(), dtype=np.float32)

    run.keep = model  # type: ignore[attr-defined]  # its variables live as long as it does
    return Engine(run, "tensorflow", "CPU", hardware.threads(), "fp32", declared)


def _only_one(path: Path, inputs: Any, outputs: Any) -> None:
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(f"{path} has {len(inputs)} inputs and {len(outputs)} outputs; expected one of each")


_OPENERS: dict[str, Callable[[Path, Execution], Engine]] = {
    "pt2": _open_program,
    "tflite": _open_litert,
    "keras": _open_keras,
    "saved_model": _open_saved_model,
}


def takes_channels_last(declared: Sequence[int | None] | None, shape: tuple[int, ...]) -> bool:
    """Tell whether a file wants the samples of `shape` with their first axis last.

    >>> takes_channels_last((None, 28, 28, 1), (1, 28, 28)), takes_channels_last((None, 3, 3, 3), (3, 3, 3))
    (True, False)
    """
    if not declared or len(declared) != len(shape) + 1 or len(shape) < 2:
        return False
    wanted = declared[1:]

    def fits(sides: tuple[int, ...]) -> bool:
        return all(side is None or side == given for side, given in zip(wanted, sides, strict=True))

    return fits((*shape[1:], shape[0])) and not fits(shape)
