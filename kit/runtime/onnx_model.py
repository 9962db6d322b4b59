"""An ONNX file as a model: call it like a module."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from kit import device as hardware
from kit.errors import ModelError
from kit.runtime import engines, gate
from kit.runtime.execution import Execution
from kit.runtime.lazy_model import LazyModel

if TYPE_CHECKING:
    import onnx


class OnnxModel(LazyModel):
    """An ONNX file that maps (N, *shape) float32 to (N, outputs) float32.

    The file is opened at the first call, once for all threads; `kit.open` gives a session with a
    choice of runtime, provider and threads.

    Args:
        path: the .onnx file.
        runtime: "onnxruntime" or "openvino", which computes when this model is called.
        precision: "bf16" or "fp16" for OpenVINO; None means the precision the file was written in.
        threads: of a call; by default as many as this process has cores.
        device: such as "cpu", "cuda" or "tensorrt"; by default the fastest that is there.

    Attributes:
        path: as given.
        execution: the runtime and its settings.

    Raises:
        ModelError: when the file does not exist, now; or when it cannot be opened, at the first call.

    Example: `OnnxModel("convnet.onnx")(images)`
    """

    def __init__(
        self,
        path: str | Path,
        *,
        runtime: str = "onnxruntime",
        precision: str | None = None,
        threads: int | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__(Execution(runtime, precision, threads, device))
        self.path = Path(path)
        if not self.path.is_file():
            raise ModelError(f"{self.path} does not exist; expected an .onnx file")

    @property
    def precision(self) -> str | None:
        """The precision it is meant to be run in, if the file does not say."""
        return self.execution.precision

    def _open(self, how: Execution) -> engines.Engine:
        return open_file(
            self.path, runtime=how.runtime, device=how.device, threads=how.threads, precision=how.precision
        )

    def __repr__(self) -> str:
        return f"OnnxModel({str(self.path)!r})"


def open_file(
    path: Path,
    *,
    runtime: str = "onnxruntime",
    device: str | None = None,
    threads: int | None = None,
    providers: list[str] | None = None,
    precision: str | None = None,
) -> engines.Engine:
    """Open an ONNX file on a runtime."""
    count = threads or hardware.threads()
    if runtime == "openvino":
        return engines.open_openvino(path, device=device, threads=count, precision=precision)
    return engines.open_onnxruntime(
        path, device=device, threads=count, providers=providers, precision=precision
    )


def optimized_operators(path: str | Path) -> dict[str, int]:
    """Count the operators that ONNX Runtime executes after its own graph optimisations on this CPU.

    It shows what was fused: an int8 convolution that runs as one is a `QLinearConv`; one that did not
    fuse is a `Conv` between `DequantizeLinear` and `QuantizeLinear`.
    """
    return dict(sorted(Counter(node.op_type for node in optimized_nodes(path)).items()))


def optimized_nodes(path: str | Path) -> list[onnx.NodeProto]:
    """Return the nodes that ONNX Runtime executes after its own graph optimisations on this CPU.

    Source: https://onnxruntime.ai/docs/performance/model-optimizations/graph-optimizations.html
    """
    import onnx
    import onnxruntime

    gate.check(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        options.optimized_model_filepath = str(optimized)
        onnxruntime.InferenceSession(path, options, providers=[engines.PROVIDERS["cpu"]])
        return list(onnx.load(optimized).graph.node)
