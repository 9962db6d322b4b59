"""The runtimes of model files, each behind the same call: a float32 batch in, a float32 batch out."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from kit import files
from kit.errors import ArgumentError, DataError, DeviceError, ModelError, require, unknown
from kit.runtime import gate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

# Fastest first; the short names are what `providers=` and `device=` accept.
PROVIDERS = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
_OPENVINO_PRECISION = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


@dataclass(frozen=True)
class Engine:
    """A model opened on one runtime.

    Attributes:
        run: maps (N, *shape) float32 to (N, outputs) float32; safe to call from several threads.
        runtime: "torch", "onnxruntime" or "openvino".
        provider: what computes, as the runtime itself reports it.
        threads: how many threads one call may use; 0 when a GPU computes.
        precision: of the arithmetic: "fp32", "bf16", "fp16"; or "as written" in the file.
        declared: the input's shape with the batch, as the file says; None for what is free.
    """

    run: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    runtime: str
    provider: str
    threads: int
    precision: str
    declared: tuple[int | None, ...] | None = None


def open_onnxruntime(
    path: Path, *, device: str | None, threads: int, providers: Sequence[str] | None, precision: str | None
) -> Engine:
    """Open an ONNX file on ONNX Runtime.

    Without `providers` the fastest that is there is taken; asked for by name, its absence is an error.
    Source: https://onnxruntime.ai/docs/execution-providers/
    """
    import onnxruntime

    if precision not in {None, "fp32"}:
        raise ArgumentError(
            f"ONNX Runtime computes in the precision a file was written in, not in {precision!r} on demand; "
            f"use kit.quantize(model, data, scheme={precision!r}) or runtime='openvino'"
        )
    gate.check(path)
    wanted = _providers(device, providers, onnxruntime.get_available_providers())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # what goes wrong is raised, not printed
    try:
        session = onnxruntime.InferenceSession(
            path, options, providers=[_configured(name) for name in wanted]
        )
    except Exception as error:  # its exceptions share no class of their own
        raise ModelError(f"ONNX Runtime cannot open {path}: {one_line(error)}") from error
    used = session.get_providers()[0]  # available is not usable: the session's own word counts
    if (providers or device) and used != wanted[0]:
        raise DeviceError(f"ONNX Runtime was asked for {wanted[0]} but the session runs on {used}")
    name = _only_input(path, session.get_inputs(), session.get_outputs())
    declared = [side if isinstance(side, int) else None for side in session.get_inputs()[0].shape]

    def run(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        check_shape(path, declared, inputs)
        try:
            result: NDArray[np.float32] = session.run(None, {name: inputs})[0]
        except Exception as error:
            raise DataError(f"{path.name} cannot take inputs {inputs.shape}: {one_line(error)}") from error
        return result

    count = threads if used == PROVIDERS["cpu"] else 0
    return Engine(run, "onnxruntime", used, count, "as written", tuple(declared))


def _providers(device: str | None, providers: Sequence[str] | None, available: Sequence[str]) -> list[str]:
    """Return the providers to ask for, best first, ending with the CPU."""
    known = {**PROVIDERS, **{name: name for name in available}}
    asked = list(providers) if providers else ([device.split(":")[0]] if device else [])
    for name in asked:
        if name not in known and name not in PROVIDERS.values():
            raise unknown("provider", name, known)
        if known.get(name, name) not in available:
            raise DeviceError(
                f"{known.get(name, name)} is not in this ONNX Runtime, which has: {', '.join(available)}; "
                "for NVIDIA GPUs install onnxruntime-gpu instead of onnxruntime"
            )
    chosen = [known[name] for name in asked] or [name for name in PROVIDERS.values() if name in available]
    return list(dict.fromkeys([*chosen, PROVIDERS["cpu"]]))


def _configured(provider: str) -> str | tuple[str, dict[str, Any]]:
    """Give TensorRT a folder to keep its engines in: building one takes minutes. Not run on a GPU yet."""
    if provider == PROVIDERS["cuda"]:
        return provider, {"use_tf32": "0"}  # fp32 means fp32; for speed there is fp16
    if provider != PROVIDERS["tensorrt"]:
        return provider
    folder = files.cache_folder() / "tensorrt"
    folder.mkdir(parents=True, exist_ok=True)
    return provider, {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(folder)}


def _only_input(path: Path, inputs: Sequence[Any], outputs: Sequence[Any]) -> str:
    """Return the name of the one float32 input of a model with one output."""
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(f"{path} has {len(inputs)} inputs and {len(outputs)} outputs; expected one of each")
    if inputs[0].type != "tensor(float)":
        raise ModelError(f"{path} takes {inputs[0].type}; expected float32 inputs, tensor(float)")
    return str(inputs[0].name)


def check_shape(path: Path, declared: Sequence[int | None], inputs: NDArray[np.float32]) -> None:
    """Raise DataError unless `inputs` fit the shape that the file declares (None: any number), if any."""
    same_rank = len(declared) == inputs.ndim
    pairs = zip(declared, inputs.shape, strict=False)
    if declared and not (same_rank and all(side in {None, given} for side, given in pairs)):
        expected = ", ".join("N" if side is None else str(side) for side in declared)
        raise DataError(f"{path.name} cannot take inputs {inputs.shape}: it declares ({expected})")


@cache
def openvino_core() -> Any:
    """Return this process's one `openvino.Core`.

    Each core that loads the CPU plugin gives its thread a stack for signals, and puts back the one before
    when it goes. Of two cores, the one that goes last leaves a stack that is freed already: the next
    Ctrl-C would end the process with a segmentation fault (OpenVINO 2026.4).
    """
    return require("openvino", "openvino").Core()


def open_openvino(path: Path, *, device: str | None, threads: int, precision: str | None) -> Engine:
    """Open an ONNX file, or OpenVINO's own IR, on OpenVINO.

    On processors with bf16 OpenVINO computes in it unless told otherwise; here "fp32" means f32.
    Source: https://docs.openvino.ai, "Precision Control".

    Raises:
        DeviceError: when the device or the precision is not there.
    """
    core = openvino_core()
    gate.inspect(path)
    where = (device or "cpu").upper()
    if where not in core.available_devices:
        raise DeviceError(
            f"OpenVINO has no device {device!r} here; it has: {', '.join(core.available_devices)}"
        )
    precision = precision or "fp32"
    if precision not in _OPENVINO_PRECISION:
        raise unknown("precision", precision, _OPENVINO_PRECISION)
    capable = core.get_property(where, "OPTIMIZATION_CAPABILITIES")
    if precision.upper() not in capable:
        raise DeviceError(
            f"OpenVINO's {where} has no {precision} on this machine; it has: {', '.join(capable)}"
        )
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    settings["INFERENCE_PRECISION_HINT"] = _OPENVINO_PRECISION[precision]
    if where == "CPU":
        settings["INFERENCE_NUM_THREADS"] = threads
    try:
        compiled = core.compile_model(core.read_model(path), where, settings)
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot open {path}: {one_line(error)}") from error
    requests = threading.local()  # a request computes one batch at a time
    shape = compiled.inputs[0].get_partial_shape()
    known = not shape.rank.is_dynamic
    declared = [None if side.is_dynamic else side.get_length() for side in shape] if known else []

    def run(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        check_shape(path, declared, inputs)  # OpenVINO answers (0, outputs) to some shapes that do not fit
        if not hasattr(requests, "own"):
            requests.own = compiled.create_infer_request()
        try:
            result = requests.own.infer([inputs])[0]
        except RuntimeError as error:
            raise DataError(f"{path.name} cannot take inputs {inputs.shape}: {one_line(error)}") from error
        return np.array(result, dtype=np.float32)

    count = threads if where == "CPU" else 0
    return Engine(run, "openvino", where, count, precision, tuple(declared))


def one_line(error: Exception) -> str:
    """Return a runtime's own message as one line, without its error codes."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(
        line for line in lines if not line.startswith(("Exception from", "Check '", "FrontEnd API"))
    )
    return (text.split(" : ")[-1] or type(error).__name__)[:300]
