"""A module and how it is run: precision, threads, layout and, on a GPU, what makes its kernels fast."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING

import torch
from torch import nn

from kit import device as hardware
from kit.errors import DeviceError, ModelError, unknown
from kit.runtime.engines import Engine
from kit.runtime.execution import Execution
from kit.runtime.lazy_model import LazyModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    Forward = Callable[[torch.Tensor], torch.Tensor]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_WARMUP = 3  # calls before a CUDA graph is captured, as its documentation asks for


class TorchModel(LazyModel):
    """A module that is run in a certain way; called like an ONNX file.

    Args:
        module: computes in float32 as it stands; a copy of it is opened at the first call.
        execution: how. Its runtime must be "torch".

    Attributes:
        module, execution: as given.

    Raises:
        DeviceError: at the first call, when this machine cannot run it in that way.

    Example: `TorchModel(net, Execution(precision="bf16", layout="channels_last"))(images)`
    """

    def __init__(self, module: nn.Module, execution: Execution | None = None) -> None:
        super().__init__(execution or Execution())
        self.module = module
        if self.execution.runtime != "torch":
            raise ModelError(f"a module runs on torch, not on {self.execution.runtime}; export it first")

    def _open(self, how: Execution) -> Engine:
        return open_torch(self.module, how)

    def __repr__(self) -> str:
        return f"TorchModel({type(self.module).__name__}: {self.execution})"


def open_torch(module: nn.Module, execution: Execution) -> Engine:
    """Open a copy of a module; what happens to the original afterwards does not reach the copy.

    The modes "compile", "cuda graph" and "2:4" are for NVIDIA GPUs. They were written by PyTorch's
    documentation and not run on a GPU yet.

    Raises:
        DeviceError: when the device is not there, or a mode needs a GPU.
    """
    where = hardware.pick(execution.device)
    precision = execution.precision or "fp32"
    if precision not in _DTYPES:
        raise unknown("precision", precision, _DTYPES)
    if execution.mode is not None and where.type != "cuda":
        raise DeviceError(f"mode {execution.mode!r} is for NVIDIA GPUs, and this model runs on {where}")
    dtype = _DTYPES[precision]
    copy = deepcopy(module).to(device=where, dtype=dtype).eval()
    last = execution.layout == "channels_last"
    if last:
        copy = copy.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    forward = _in_mode(copy, execution.mode)
    threads = execution.threads or hardware.threads()

    def run(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode(), _torch_threads(threads):
            batch = torch.from_numpy(inputs).to(device=where, dtype=dtype)
            if last and batch.ndim == 4:
                batch = batch.contiguous(memory_format=torch.channels_last)
            return forward(batch).float().cpu().numpy()

    return Engine(run, "torch", str(where), threads if where.type == "cpu" else 0, precision)


@contextmanager
def _torch_threads(wanted: int) -> Iterator[None]:
    """Compute with `wanted` threads: torch has one setting for the whole process, so it is put back."""
    before = torch.get_num_threads()
    if wanted == before:
        yield
        return
    torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _in_mode(module: nn.Module, mode: str | None) -> Forward:
    if mode == "compile":
        return torch.compile(module)
    if mode == "cuda graph":
        return _Graphs(module)
    if mode == "2:4":
        _compress(module)
    return module


class _Graphs:
    """Replays the kernels of a call without asking Python for each: one captured CUDA graph a batch size.

    Source: https://docs.pytorch.org/docs/stable/notes/cuda.html, "CUDA Graphs".
    """

    def __init__(self, module: nn.Module) -> None:
        self._module, self._lock = module, threading.Lock()
        self._captured: dict[torch.Size, tuple[torch.cuda.CUDAGraph, torch.Tensor, torch.Tensor]] = {}

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        with self._lock:  # a graph has one input and one output in memory
            if inputs.shape not in self._captured:
                self._captured[inputs.shape] = self._capture(inputs)
            graph, source, result = self._captured[inputs.shape]
            source.copy_(inputs)
            graph.replay()
            return result.clone()

    def _capture(self, inputs: torch.Tensor) -> tuple[torch.cuda.CUDAGraph, torch.Tensor, torch.Tensor]:
        source, graph = inputs.clone(), torch.cuda.CUDAGraph()
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(_WARMUP):
                self._module(source)
        torch.cuda.current_stream().wait_stream(beside)
        with torch.cuda.graph(graph):
            result = self._module(source)
        return graph, source, result


def _compress(module: nn.Module) -> None:
    """Hand those linear layers whose weights are 2:4 sparse to the sparse tensor cores.

    Source: https://docs.pytorch.org/docs/stable/sparse.html, "Semi-Structured Sparsity".

    Raises:
        ModelError: when no layer is.
    """
    found = [layer for layer in module.modules() if isinstance(layer, nn.Linear) and two_of_four(layer)]
    if not found:
        raise ModelError("no linear layer has 2 zeros in each 4 weights; kit.prune(method='2:4') makes them")
    for layer in found:
        sparse = torch.sparse.to_sparse_semi_structured(layer.weight.detach())
        layer.weight = nn.Parameter(sparse, requires_grad=False)


def two_of_four(layer: nn.Linear) -> bool:
    """Tell whether of each four weights of a row at most two are not zero.

    >>> two_of_four(nn.Linear(8, 2))
    False
    """
    rows = layer.weight.detach()
    return rows.shape[1] % 4 == 0 and bool(((rows.reshape(-1, 4) != 0).sum(1) <= 2).all())
