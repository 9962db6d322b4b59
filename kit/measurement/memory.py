"""Peak memory of a model file, measured in a fresh process that does nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from kit import files
from kit.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def peak(
    path: Path, shape: tuple[int, ...], batch_sizes: Sequence[int], *, threads: int = 1
) -> dict[int, int]:
    """Return the bytes that opening an ONNX file and running batches of each size adds at most.

    A fresh process opens and runs an empty model, so that what the runtime itself needs is there, and
    notes its resident memory; then it opens the file and runs the batches in ascending order. The highest
    resident memory since, less what was noted, is what the model costs: weights and activations.

    Args:
        path: the .onnx file.
        shape: of one sample.
        batch_sizes: how many samples at a time.
        threads: of the session.

    Raises:
        ModelError: when the file cannot be opened or run there.
    """
    request = json.dumps([str(path), str(empty(shape)), list(shape), sorted(batch_sizes), threads])
    command = [sys.executable, "-m", "kit.measurement.memory", request]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelError(f"{path.name} cannot run in a fresh process: {last}")
    return {int(size): int(added) for size, added in json.loads(result.stdout).items()}


@cache
def empty(shape: tuple[int, ...]) -> Path:
    """Write an ONNX model that hands samples of this shape on as they are; return its path."""
    import onnx
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, ["batch", *shape]) for end in ("x", "y")]
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    graph = helper.make_graph(nodes, "empty", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path = files.scratch("empty.onnx")
    onnx.save(model, path)
    return path


def _resident() -> tuple[int, int]:
    """Return the resident memory of this process, now and at its highest, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmRSS"].split()[0]) * 1024, int(fields["VmHWM"].split()[0]) * 1024
    import psutil

    now = psutil.Process().memory_info()
    if hasattr(now, "peak_wset"):
        return now.rss, now.peak_wset
    import resource  # macOS counts in bytes

    return now.rss, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _measure(path: str, empty: str, shape: list[int], batch_sizes: list[int], threads: int) -> dict[int, int]:
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3

    def run(file: str) -> Iterator[tuple[int, int, int]]:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        for size in batch_sizes:
            inputs = np.zeros((size, *shape), np.float32)
            for _ in range(3):
                session.run(None, {name: inputs})
            yield (size, *_resident())

    before = max(now for _, now, _ in run(empty))
    return {size: max(0, highest - before) for size, _, highest in run(path)}


if __name__ == "__main__":
    print(json.dumps(_measure(*json.loads(sys.argv[1]))))  # noqa: T201 -- the parent reads it
