"""Is a converted file equal to its original? A fresh process, which knows nothing but the file, answers.

`python -m kit.conversion.parity` is that process: it loads a runtime and numpy, no torch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import kit
from kit.conversion.suspects import suspects_of_values, suspects_of_words
from kit.errors import ArgumentError, ParityError
from kit.notebook import Readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Difference:
    """The first input on which a file and its original differ.

    Attributes:
        index: its position among the inputs.
        batch: the batch size with which it was found.
        expected, got: the outputs of the original and of the file.
    """

    index: int
    batch: int
    expected: tuple[float, ...]
    got: tuple[float, ...]


@dataclass(frozen=True)
class ParityReport(Readable):
    """What a fresh process found.

    Attributes:
        path: the file.
        n: how many inputs were compared at each batch size.
        batches: the batch sizes.
        tolerance: the largest absolute difference that rounding explains.
        max_abs: the largest absolute difference found; infinite when there was no number to compare.
        disagreements: inputs whose largest output (the class) is another; near-ties are left out.
        first: the first input that differs, if any.
        problem: why the file could not be opened or run, if it could not.
        suspects: what may be wrong, likeliest first.
        fresh: whether a fresh process answered; only a module whose code is in a notebook cannot go there.
    """

    path: str
    n: int
    batches: tuple[int, ...]
    tolerance: float
    max_abs: float
    disagreements: int = 0
    first: Difference | None = None
    problem: str = ""
    suspects: tuple[str, ...] = ()
    fresh: bool = True

    @property
    def agreed(self) -> bool:
        """Whether every output at every batch size is within the tolerance."""
        return not self.problem and self.first is None

    def require(self) -> None:
        """Raise ParityError unless the file agreed."""
        if not self.agreed:
            raise ParityError(str(self))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a dictionary fit for JSON."""
        return asdict(self) | {"agreed": self.agreed, "path": Path(self.path).name}

    def __str__(self) -> str:
        sizes = ", ".join(map(str, self.batches))
        where = "a fresh process" if self.fresh else "this process"
        head = f"{Path(self.path).name}, {self.n:,} inputs in {where}, batch {sizes}: "
        if self.agreed:
            return f"{head}equal (largest difference {self.max_abs:.1e}, tolerance {self.tolerance:.1e})"
        lines = [
            head + (self.problem or f"not equal, {self.disagreements:,} inputs change their largest output")
        ]
        if self.first is not None:
            lines += [
                f"  first at input {self.first.index} in batches of {self.first.batch}",
                f"  largest difference {self.max_abs:.2g}, tolerance {self.tolerance:.1e}",
                f"  expected {_shown(self.first.expected)}",
                f"  got      {_shown(self.first.got)}",
            ]
        lines += [f"  suspect: {suspect}" for suspect in self.suspects]
        return "\n".join(lines)


def check(
    path: str | Path,
    inputs: Floats,
    expected: Floats | Mapping[int, Floats],
    *,
    batches: Sequence[int] = (1, 2, 17),
    tolerance: float = 1e-5,
    runtime: str = "onnxruntime",
    precision: str | None = None,
    threads: int | None = None,
    device: str | None = None,
    layout: str | None = None,
    architecture: Mapping[str, Any] | None = None,
    logits: bool = False,
) -> ParityReport:
    """Run a file in a fresh process and compare its outputs with those of its original.

    Args:
        path: a model file of any format, or a model folder.
        inputs: (N, *shape) float32.
        expected: the original's outputs (N, outputs) float32, or one such array for each batch size.
        batches: the batch sizes to run with; the last batch may be smaller.
        tolerance: the largest absolute difference that counts as equal.
        runtime, precision, threads, device: as in `kit.open`; the runtime is that of an .onnx file.
        layout: "channels_last" if the file takes images so.
        architecture: for a file of weights alone, the factory and arguments of the `kit.models` net they fit.
        logits: the file gives logits where the original gave probabilities; they are compared as these.

    Returns:
        The report; `report.require()` raises when the file differs.

    Raises:
        ArgumentError: when there is nothing to compare.

    Example: `check("net.onnx", inputs, dense(inputs)).require()`
    """
    wanted = {b: expected[b] if not isinstance(expected, np.ndarray) else expected for b in batches}
    if not len(inputs) or any(len(outputs) != len(inputs) for outputs in wanted.values()):
        raise ArgumentError(f"parity needs inputs with one expected output each, got {len(inputs)} inputs")
    with tempfile.TemporaryDirectory(prefix="maaskit-parity-") as folder:
        np.save(Path(folder) / "inputs.npy", np.ascontiguousarray(inputs, dtype=np.float32))
        for batch, outputs in wanted.items():
            np.save(Path(folder) / f"expected-{batch}.npy", np.asarray(outputs, dtype=np.float32))
        request = {
            "path": str(Path(path).resolve()),
            "folder": folder,
            "batches": list(wanted),
            "tolerance": tolerance,
            "runtime": runtime,
            "precision": precision,
            "threads": threads,
            "device": device,
            "layout": layout,
            "architecture": architecture,
            "logits": logits,
        }
        return _report(request, len(inputs), _ask(request))


def _ask(request: Mapping[str, Any]) -> dict[str, Any]:
    """Start the fresh process and return what it found; its death is a finding too."""
    source = str(Path(kit.__file__).parent.parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])}
    result = subprocess.run(
        [sys.executable, "-m", "kit.conversion.parity", json.dumps(request)],
        capture_output=True,
        text=True,
        check=False,
        cwd=request["folder"],
        env=environment,
    )
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        return {"problem": f"the fresh process died with code {result.returncode}: {last}", "suspects": []}
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def _report(request: Mapping[str, Any], n: int, found: dict[str, Any]) -> ParityReport:
    first: dict[str, Any] = found.get("first") or {}
    return ParityReport(
        path=request["path"],
        n=n,
        batches=tuple(request["batches"]),
        tolerance=request["tolerance"],
        max_abs=found.get("max_abs", float("inf")),
        disagreements=found.get("disagreements", 0),
        first=Difference(first["index"], first["batch"], tuple(first["expected"]), tuple(first["got"]))
        if first
        else None,
        problem=found.get("problem", ""),
        suspects=tuple(found["suspects"]),
    )


def _shown(values: tuple[float, ...], most: int = 10) -> str:
    text = ", ".join(f"{value:.6g}" for value in values[:most])
    return f"[{text}{', …' if len(values) > most else ''}]"


# ---- the fresh process -------------------------------------------------------------------------------


def _examine(request: Mapping[str, Any]) -> dict[str, Any]:
    """Open the file, run it at each batch size, and compare."""
    from kit.errors import KitError

    folder, batches = Path(request["folder"]), request["batches"]
    inputs = np.load(folder / "inputs.npy")
    expected = {batch: np.load(folder / f"expected-{batch}.npy") for batch in batches}
    try:
        run = _opened(request)
    except KitError as error:
        return {"problem": f"cannot be opened: {error}", "suspects": suspects_of_words(str(error), inputs)}
    got: dict[int, Floats] = {}
    for batch in batches:
        try:
            got[batch] = _in_batches(run, inputs, batch)
        except (KitError, ValueError) as error:
            problem = f"fails in batches of {batch}: {error}"
            return {"problem": problem, "suspects": suspects_of_words(str(error), inputs, runs=list(got))}
        if got[batch].shape != expected[batch].shape:
            problem = f"gives outputs {got[batch].shape}, its original {expected[batch].shape}"
            return {"problem": problem, "suspects": ["the batch is frozen, or an operator at the end"]}
    return _compare(run, inputs, got, expected, request["tolerance"])


def _opened(request: Mapping[str, Any]) -> Callable[[Floats], Floats]:
    """Open what the path holds, and return what maps a batch to outputs."""
    from kit.runtime import gate

    path = Path(request["path"])
    how = {key: request[key] for key in ("precision", "threads", "device")}
    run: Callable[[Floats], Floats]
    if (path / "card.json").is_file():
        from kit.runtime.folder import load

        run = load(path)
    elif (kind := gate.inspect(path)) == "onnx":
        from kit.runtime.onnx_model import open_file

        run = open_file(path, runtime=request["runtime"], **how).run
    elif kind == "state_dict":
        from kit.models import Architecture, build
        from kit.runtime.state import read_state
        from kit.runtime.torch_model import TorchModel

        run = TorchModel(read_state(path, build(Architecture(**request["architecture"]))))
    else:
        from kit.runtime.execution import Execution
        from kit.runtime.foreign import open_foreign
        from kit.runtime.formats import FORMATS

        run = open_foreign(path, kind, Execution(FORMATS[kind].runtime, layout=request["layout"], **how)).run
    return (lambda inputs: softmax(run(inputs))) if request["logits"] else run


def softmax(values: Floats) -> Floats:
    """Turn logits (N, classes) into probabilities."""
    powers = np.exp(values - values.max(1, keepdims=True))
    result: Floats = powers / powers.sum(1, keepdims=True)
    return result


def _in_batches(run: Callable[[Floats], Floats], inputs: Floats, batch: int) -> Floats:
    def parts() -> Iterator[Floats]:
        for start in range(0, len(inputs), batch):
            yield run(np.ascontiguousarray(inputs[start : start + batch]))

    return np.concatenate(list(parts()))


def _compare(
    run: Callable[[Floats], Floats],
    inputs: Floats,
    got: Mapping[int, Floats],
    expected: Mapping[int, Floats],
    tolerance: float,
) -> dict[str, Any]:
    """Return the largest difference over all batch sizes, and the first input that differs."""
    rows = len(inputs)
    found: dict[str, Any] = {"max_abs": 0.0, "disagreements": 0, "suspects": []}
    for batch, outputs in got.items():
        apart = np.abs(outputs.astype(np.float64) - expected[batch]).reshape(rows, -1).max(1)
        found["max_abs"] = max(found["max_abs"], float(np.nan_to_num(apart, nan=np.inf).max()))
        wrong = ~(apart <= tolerance)  # written so that NaN is wrong
        flat, target = outputs.reshape(rows, -1), expected[batch].reshape(rows, -1)
        changed = flat.argmax(1) != target.argmax(1)
        found["disagreements"] = max(found["disagreements"], int((wrong & changed).sum()))
        if wrong.any() and "first" not in found:
            index = int(wrong.argmax())
            found["first"] = {
                "index": index,
                "batch": batch,
                "expected": target[index].tolist(),
                "got": flat[index].tolist(),
            }
            found["suspects"] = suspects_of_values(run, inputs, got, expected, batch, tolerance)
    return found


if __name__ == "__main__":
    print(json.dumps(_examine(json.loads(sys.argv[1]))))  # noqa: T201 -- the answer goes to the parent
