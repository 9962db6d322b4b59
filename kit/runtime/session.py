"""`open`: one call for every format and runtime."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch

from kit.errors import ArgumentError, DataError, ModelError, unknown
from kit.runtime import gate, packed
from kit.runtime.execution import RUNTIMES, Execution
from kit.runtime.folder import CARD, load
from kit.runtime.foreign import open_foreign
from kit.runtime.model_file import ModelFile
from kit.runtime.onnx_model import OnnxModel, open_file
from kit.runtime.state import read_state
from kit.runtime.torch_model import TorchModel, open_torch
from kit.variant import Variant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kit.runtime.engines import Engine
    from kit.variant import Signature

Runtime = Literal["auto", "torch", "onnxruntime", "openvino", "litert", "keras", "tensorflow"]


class Session:
    """A model that is ready to run; close it, or use it in a `with` block.

    Attributes:
        name: the model's name.
        runtime: "torch", "onnxruntime", "openvino", "litert", "keras" or "tensorflow".
        provider: what computes, as the runtime itself reports it, such as "CPUExecutionProvider".
        threads: how many threads one call may use; 0 when a GPU computes.
        precision: of the arithmetic: "fp32", "bf16", "fp16"; or "as written" in the file.
        signature: what goes in and comes out, when the model came with it.
    """

    def __init__(self, engine: Engine, name: str, signature: Signature | None) -> None:
        self._engine: Engine | None = engine
        self._lock = threading.Lock()
        self.name = name
        self.signature = signature
        self.runtime, self.provider = engine.runtime, engine.provider
        self.threads, self.precision = engine.threads, engine.precision

    def __call__(self, inputs: NDArray[np.float32] | torch.Tensor, /) -> NDArray[np.float32]:
        """Run the model: (N, *shape) float32 in, (N, outputs) float32 out. Any thread may call.

        Raises:
            DataError: when shape or dtype do not fit.
            ModelError: when the session is closed.
        """
        engine = self._engine
        if engine is None:
            raise ModelError(f"this session of {self.name!r} is closed; open it again with kit.open")
        array = inputs.detach().cpu().numpy() if isinstance(inputs, torch.Tensor) else np.asarray(inputs)
        if self.signature is not None:
            self.signature.check(array)
        elif array.dtype != np.float32:
            raise DataError(f"expected float32 inputs, got {array.dtype}")
        return engine.run(np.ascontiguousarray(array))

    def close(self) -> None:
        """Free what the runtime holds. Closing twice is fine."""
        with self._lock:
            self._engine = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._engine is None else f"{self.provider}, {self.threads} threads"
        return f"Session({self.name!r} on {self.runtime}, {self.precision}: {state})"


def open(  # noqa: A001 -- the verb for every format
    model: Variant | torch.nn.Module | str | Path,
    *,
    runtime: Runtime = "auto",
    device: str | None = None,
    threads: int | None = None,
    providers: Sequence[str] | None = None,
    precision: Literal["fp32", "bf16", "fp16"] | None = None,
    module: torch.nn.Module | None = None,
) -> Session:
    """Open a model on a runtime.

    Args:
        model: a variant, a module, a model folder, a packed file, an .onnx, .pt2, .pt, .xml (OpenVINO),
            .tflite or .keras file, or the folder of a SavedModel.
        runtime: "auto" takes torch for a module and, for a file, the runtime it was made for
            (ONNX Runtime unless its card says otherwise). What else a card says holds on that
            runtime too, unless it is given here.
        device: such as "cpu" or "cuda"; by default the best that is there.
        threads: by default as many as this process has cores.
        providers: for ONNX Runtime, in order: "tensorrt", "cuda", "cpu" or their full names.
        precision: the arithmetic; by default float32, also on OpenVINO, whose own default is bf16.
        module: for a .pt file, which holds weights alone: a module of the same class; it stays as it is.

    Raises:
        ArgumentError: when the runtime is unknown or cannot run this kind of model.
        DeviceError: when the device, provider or precision asked for is not there.
        MissingExtraError: when the runtime is not installed.
        ModelError: when the file cannot be opened.
        UnsafeModelError: when the file could run code, read other files, or fill the memory.

    Example:
        ```python
        with kit.open("runs/convnet", threads=1) as session:
            labels = session(data.test.inputs).argmax(1)
        ```
    """
    if runtime not in {"auto", *RUNTIMES}:
        raise unknown("runtime", runtime, ("auto", *RUNTIMES))
    if threads is not None and threads < 1:
        raise ArgumentError(f"threads must be at least 1, got {threads}")
    body, name, signature = _resolve(model, module)
    given = body.execution
    if providers and (given.runtime == "torch" or runtime not in {"auto", "onnxruntime"}):
        raise ArgumentError("providers= belongs to ONNX Runtime; for other runtimes give device=")
    chosen = given.runtime if runtime == "auto" else runtime
    meant = given if chosen == given.runtime else Execution(chosen)
    how = replace(
        meant,
        precision=precision or meant.precision,
        threads=threads or meant.here().threads,
        device=device or (None if providers else meant.device),
    )
    if isinstance(body, TorchModel):
        if chosen != "torch":
            raise ArgumentError(
                f"{chosen} runs ONNX files, and {name!r} is a PyTorch module; "
                "open what kit.export(model, data=data) returns"
            )
        return Session(open_torch(body.module, how), name, signature)
    if isinstance(body, ModelFile):
        if chosen != given.runtime:
            raise ArgumentError(
                f"{chosen} cannot run {body.path}, which is for {given.runtime}; kit.convert makes "
                "other formats of it"
            )
        return Session(open_foreign(body.path, body.format, how), name, signature)
    if chosen not in {"onnxruntime", "openvino"}:
        raise ArgumentError(f"{chosen} cannot run {body.path}; use runtime='onnxruntime' or 'openvino'")
    engine = open_file(
        body.path,
        runtime=chosen,
        device=how.device,
        threads=how.threads,
        providers=list(providers or ()) or None,
        precision=how.precision,
    )
    return Session(engine, name, signature)


def _resolve(
    model: Variant | torch.nn.Module | str | Path, module: torch.nn.Module | None
) -> tuple[TorchModel | OnnxModel | ModelFile, str, Signature | None]:
    """Return the module or file with how it is meant to run, its name, and its signature if it has one."""
    if isinstance(model, (str, Path)):
        path = Path(model)
        if not (path / CARD).is_file() and not packed.is_packed(path):
            return from_file(path, module), path.stem, None
        model = load(path, module=module)
    if isinstance(model, torch.nn.Module):
        return TorchModel(model), type(model).__name__.lower(), None
    if not isinstance(model, Variant):
        raise ArgumentError(f"expected a variant, a module or a path, got {type(model).__name__}: {model!r}")
    body = TorchModel(model.model) if isinstance(model.model, torch.nn.Module) else model.model
    if not isinstance(body, (TorchModel, OnnxModel, ModelFile)):
        kind: Any = type(body).__name__
        raise ModelError(f"{model.name!r} is a {kind}, which no runtime here can open; call it directly")
    return body, model.name, model.signature


def from_file(path: Path, module: torch.nn.Module | None = None) -> TorchModel | OnnxModel | ModelFile:
    """Return the model in a file of any format; weights alone go into a copy of `module`.

    Raises:
        ModelError: when it is no model file, or weights alone without a module.
        UnsafeModelError: when it must not be opened.
    """
    kind = gate.inspect(path)
    if kind == "state_dict":
        if module is None:
            raise ModelError(f"{path} holds weights alone; give a module of the same class: module=MyNet()")
        return TorchModel(read_state(path, module))
    return OnnxModel(path) if kind == "onnx" else ModelFile(path)
