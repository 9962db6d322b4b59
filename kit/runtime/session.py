"""`open`: one call for every format and runtime."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch

from kit.errors import ArgumentError, DataError, ModelError, unknown
from kit.runtime import packed
from kit.runtime.execution import RUNTIMES, Execution
from kit.runtime.folder import load
from kit.runtime.onnx_model import OnnxModel, open_file
from kit.runtime.torch_model import TorchModel, open_torch
from kit.variant import Variant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kit.runtime.engines import Engine
    from kit.variant import Signature

Runtime = Literal["auto", "torch", "onnxruntime", "openvino"]


class Session:
    """A model that is ready to run; close it, or use it in a `with` block.

    Attributes:
        name: the model's name.
        runtime: "torch", "onnxruntime" or "openvino".
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
) -> Session:
    """Open a model on a runtime.

    Args:
        model: a variant, a module, an .onnx file, a packed file or a model folder.
        runtime: "auto" takes torch for a module and, for a file, the runtime it was made for
            (ONNX Runtime unless its card says otherwise). What else a card says holds on that
            runtime too, unless it is given here.
        device: such as "cpu" or "cuda"; by default the best that is there.
        threads: by default as many as this process has cores.
        providers: for ONNX Runtime, in order: "tensorrt", "cuda", "cpu" or their full names.
        precision: the arithmetic; by default float32, also on OpenVINO, whose own default is bf16.

    Raises:
        ArgumentError: when the runtime is unknown or cannot run this kind of model.
        DeviceError: when the device, provider or precision asked for is not there.
        MissingExtraError: when the runtime is not installed.
        ModelError: when the file cannot be opened.

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
    body, name, signature = _resolve(model)
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
    if chosen == "torch":
        raise ArgumentError(f"torch cannot run {body.path}; use runtime='onnxruntime' or 'openvino'")
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
    model: Variant | torch.nn.Module | str | Path,
) -> tuple[TorchModel | OnnxModel, str, Signature | None]:
    """Return the module or file with how it is meant to run, its name, and its signature if it has one."""
    if isinstance(model, (str, Path)):
        path = Path(model)
        if not path.is_dir() and not packed.is_packed(path):
            return OnnxModel(path), path.stem, None
        model = load(path)
    if isinstance(model, torch.nn.Module):
        return TorchModel(model), type(model).__name__.lower(), None
    if not isinstance(model, Variant):
        raise ArgumentError(f"expected a variant, a module or a path, got {type(model).__name__}: {model!r}")
    body = TorchModel(model.model) if isinstance(model.model, torch.nn.Module) else model.model
    if not isinstance(body, (TorchModel, OnnxModel)):
        kind: Any = type(body).__name__
        raise ModelError(f"{model.name!r} is a {kind}, which no runtime here can open; call it directly")
    return body, model.name, model.signature
