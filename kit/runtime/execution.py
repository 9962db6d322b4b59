"""How a model is run: the part of a card that a runtime needs to do again what was measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from kit import device as hardware
from kit.errors import ArgumentError, unknown

RUNTIMES = ("torch", "onnxruntime", "openvino", "litert", "keras", "tensorflow")
PRECISIONS = ("fp32", "bf16", "fp16")
LAYOUTS = ("channels_last",)
MODES = ("compile", "cuda graph", "2:4")
_CHOICES = {"precision": PRECISIONS, "layout": LAYOUTS, "mode": MODES}


@dataclass(frozen=True)
class Execution:
    """How a model is meant to be run; None leaves a setting to the machine that runs it.

    Attributes:
        runtime: "torch", "onnxruntime", "openvino", "litert", "keras" or "tensorflow".
        precision: "fp32", "bf16" or "fp16"; None is float32, or whatever the file was written in.
        threads: of one call; on a machine with fewer cores as many as it has.
        device: such as "cpu" or "cuda", and for ONNX Runtime "tensorrt".
        layout: "channels_last" keeps the channels of images last: in memory for a module, and in the shape
            for a file that wants them so.
        mode: "compile", "cuda graph" or "2:4" (sparse tensor cores), of torch.

    Raises:
        ArgumentError: when a name is unknown, or threads is not a number from 1.
    """

    runtime: str = "torch"
    precision: str | None = None
    threads: int | None = None
    device: str | None = None
    layout: str | None = None
    mode: str | None = None

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES:
            raise unknown("runtime", self.runtime, RUNTIMES)
        for kind, known in _CHOICES.items():
            given = getattr(self, kind)
            if given is not None and given not in known:
                raise unknown(kind, given, known)
        if self.threads is not None and (type(self.threads) is not int or self.threads < 1):
            raise ArgumentError(f"threads must be at least 1, got {self.threads!r:.60}")
        if not isinstance(self.device, str | None):
            raise ArgumentError(f"a device is a name such as 'cpu', got {self.device!r:.60}")

    def here(self) -> Execution:
        """Return it with as many threads as are asked for, or as this process has cores if that is fewer."""
        cores = hardware.threads()
        return replace(self, threads=min(self.threads or cores, cores))

    def to_dict(self) -> dict[str, Any]:
        """Return runtime and precision, and what else is set, as a dictionary fit for JSON."""
        always = {"runtime", "precision"}
        return {key: value for key, value in asdict(self).items() if key in always or value is not None}

    def __str__(self) -> str:
        parts = [self.runtime, self.device, self.precision, self.layout, self.mode]
        count = f", {self.threads} thread{'s' * (self.threads > 1)}" if self.threads else ""
        return " ".join(part for part in parts if part) + count
