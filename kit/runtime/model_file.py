"""`ModelFile`: a model in any format but ONNX, called like a module."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kit.errors import ModelError
from kit.runtime import foreign, gate
from kit.runtime.execution import Execution
from kit.runtime.formats import FORMATS
from kit.runtime.lazy_model import LazyModel

if TYPE_CHECKING:
    from kit.runtime.engines import Engine


class ModelFile(LazyModel):
    """A model file that maps a float32 batch to a float32 batch, on the runtime of its format.

    Args:
        path: a .pt2, .xml (OpenVINO), .tflite or .keras file, or the folder of a SavedModel; its content says
            which, not its name.
        layout: "channels_last" hands (N, channels, height, width) over as (N, height, width, channels).
        precision: of OpenVINO; by default float32.
        threads: of a call; by default as many as this process has cores.
        device: of OpenVINO and .pt2; by default the best that is there.

    Attributes:
        path, format: the file and the name of its format.
        execution: how it is run.

    Raises:
        ModelError, UnsafeModelError: when it is no model file, or one that must not be opened.

    Example: `ModelFile("net.tflite", layout="channels_last")(images)`
    """

    def __init__(
        self,
        path: str | Path,
        *,
        layout: str | None = None,
        precision: str | None = None,
        threads: int | None = None,
        device: str | None = None,
    ) -> None:
        self.path = Path(path)
        self.format = gate.inspect(self.path)
        if self.format in {"onnx", "state_dict"}:
            raise ModelError(f"{self.path} is of the format {self.format!r}; open it with kit.open")
        super().__init__(Execution(FORMATS[self.format].runtime, precision, threads, device, layout))

    def _open(self, how: Execution) -> Engine:
        return foreign.open_foreign(self.path, self.format, how)

    def __repr__(self) -> str:
        return f"ModelFile({str(self.path)!r}: {self.execution})"
