"""The ways to run a model: which form of it, on which runtime, in which precision, with how many threads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kit import device as hardware
from kit.errors import unknown
from kit.runtime.execution import Execution

if TYPE_CHECKING:
    from collections.abc import Sequence

_CPU = {
    "onnxruntime fp32": ("fp32", Execution("onnxruntime")),
    "onnxruntime fp16": ("fp16", Execution("onnxruntime")),
    "onnxruntime int8": ("int8", Execution("onnxruntime")),
    "onnxruntime int8 dynamic": ("int8 dynamic", Execution("onnxruntime")),
    "onnxruntime int8 nncf": ("int8 nncf", Execution("onnxruntime")),
    "openvino fp32": ("fp32", Execution("openvino", "fp32")),
    "openvino bf16": ("fp32", Execution("openvino", "bf16")),
    "openvino fp16": ("fp32", Execution("openvino", "fp16")),
    "openvino int8": ("int8", Execution("openvino", "fp32")),
    "openvino int8 + bf16": ("int8", Execution("openvino", "bf16")),
    "openvino int8 dynamic": ("int8 dynamic", Execution("openvino", "fp32")),
    "openvino int8 nncf": ("int8 nncf", Execution("openvino", "fp32")),
    "openvino int8 nncf + bf16": ("int8 nncf", Execution("openvino", "bf16")),
    "torch fp32": ("module", Execution("torch", "fp32")),
    "torch fp32 channels_last": ("module", Execution("torch", "fp32", layout="channels_last")),
    "torch bf16 channels_last": ("module", Execution("torch", "bf16", layout="channels_last")),
}
_LAST = "channels_last"
_GPU = {
    "cuda fp32": ("fp32", Execution("onnxruntime", device="cuda")),
    "cuda fp16": ("fp16", Execution("onnxruntime", device="cuda")),
    "tensorrt fp32": ("fp32", Execution("onnxruntime", device="tensorrt")),
    "tensorrt fp16": ("fp16", Execution("onnxruntime", device="tensorrt")),
    "tensorrt int8": ("int8 tensorrt", Execution("onnxruntime", device="tensorrt")),
    "torch cuda fp16": ("module", Execution("torch", "fp16", None, "cuda", _LAST)),
    "torch cuda bf16": ("module", Execution("torch", "bf16", None, "cuda", _LAST)),
    "torch cuda compile": ("module", Execution("torch", "fp16", None, "cuda", _LAST, "compile")),
    "torch cuda graph": ("module", Execution("torch", "fp16", None, "cuda", _LAST, "cuda graph")),
    "torch cuda 2:4": ("module", Execution("torch", "fp16", None, "cuda", None, "2:4")),
}


@dataclass(frozen=True)
class Way:
    """One way to run a model.

    Attributes:
        name: such as "openvino int8 nncf".
        form: what is run: "module", or the file "fp32", "fp16", "int8", "int8 dynamic", "int8 nncf" or
            "int8 tensorrt".
        execution: how it is run.
    """

    name: str
    form: str
    execution: Execution

    @property
    def on_gpu(self) -> bool:
        """Whether it needs an NVIDIA GPU."""
        return self.execution.device not in {None, "cpu"}

    def with_threads(self, count: int | None) -> Way:
        """Return the same with a number of threads, which the name tells; None leaves it open."""
        if count is None or self.on_gpu:
            return self
        name = f"{self.name}, {count} thread{'s' * (count > 1)}"
        return Way(name, self.form, replace(self.execution, threads=count))


def ways(names: Sequence[str] | str = "all") -> list[Way]:
    """Return the ways that `names` asks for: whole names, or first words such as "openvino".

    Those for the processor say so in their execution, so that a GPU that is there does not take over.

    Raises:
        ArgumentError: when a name stands for none.

    >>> [way.name for way in ways("torch bf16")]
    ['torch bf16 channels_last']
    """
    table = [Way(name, form, replace(how, device="cpu")) for name, (form, how) in _CPU.items()]
    table += [Way(name, form, how) for name, (form, how) in _GPU.items()]
    if names == "all":
        return table
    wanted, known = [names] if isinstance(names, str) else list(names), [way.name for way in table]
    asked = set()
    for name in wanted:
        found = [name] if name in known else [other for other in known if other.startswith(f"{name} ")]
        if not found:
            raise unknown("candidate", name, known)
        asked |= set(found)
    return [way for way in table if way.name in asked]


def thread_counts(threads: int | None = None) -> list[int]:
    """Return the numbers of threads to try: the one asked for, or all cores, half of them, and one."""
    cores = hardware.threads()
    return [threads] if threads else sorted({cores, max(1, cores // 2), 1}, reverse=True)
