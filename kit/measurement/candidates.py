"""What a benchmark times: models that are opened anew for each block, sessions and functions as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from kit.data import as_dataset
from kit.errors import ArgumentError, DataError
from kit.measurement.memory import empty
from kit.runtime.onnx_model import OnnxModel
from kit.runtime.session import Session
from kit.runtime.session import open as open_session
from kit.variant import Variant

if TYPE_CHECKING:
    from numpy.typing import NDArray

Call = Callable[[Any], Any]


@dataclass(frozen=True)
class Candidate:
    """One thing to time.

    Attributes:
        name: in tables and plots.
        model: a variant, a module, a path, a session or a function.
        role: "model", or "control" (the first model once more) or "overhead" (an empty model).
    """

    name: str
    model: Any
    role: str = "model"

    @property
    def reopens(self) -> bool:
        """Whether each block opens the model anew; a session or a function stays what it is."""
        return isinstance(self.model, (Variant, torch.nn.Module, str, Path))

    @property
    def file(self) -> Path | None:
        """The model file, if the candidate is one that a fresh process could open."""
        if isinstance(self.model, (str, Path)):
            path = Path(self.model)
            return path if path.suffix == ".onnx" else None
        return self.model.file if isinstance(self.model, Variant) else None

    @property
    def runtime(self) -> str | None:
        """The runtime that a variant of a file was made for."""
        return getattr(getattr(self.model, "model", None), "runtime", None)

    def open(self, **settings: Any) -> Call:
        """Return what is called; the caller closes it if it has `close` and this candidate reopens."""
        return open_session(self.model, **settings) if self.reopens else self.model


def candidates(models: Sequence[Any] | Mapping[str, Any] | Any) -> list[Candidate]:
    """Name what was given; equal names get a number.

    Raises:
        ArgumentError: when there is nothing, or something that can be neither opened nor called.
    """
    if isinstance(models, Mapping):
        named = [(str(name), model) for name, model in models.items()]
    else:
        several = isinstance(models, Sequence) and not isinstance(models, str)
        named = [(_name(model), model) for model in (models if several else [models])]
    if not named:
        raise ArgumentError("there is nothing to measure: give at least one model")
    taken: dict[str, int] = {}
    result = []
    for name, model in named:
        if not callable(model) and not isinstance(model, (str, Path)):
            raise ArgumentError(
                f"cannot measure {type(model).__name__}; give variants, modules, paths, sessions or functions"
            )
        taken[name] = taken.get(name, 0) + 1
        result.append(Candidate(name if taken[name] == 1 else f"{name} ({taken[name]})", model))
    return result


def _name(model: Any) -> str:
    if isinstance(model, (str, Path)):
        return Path(model).stem
    return str(getattr(model, "name", None) or getattr(model, "__name__", type(model).__name__.lower()))


def with_controls(given: list[Candidate], shape: tuple[int, ...], *, control: bool) -> list[Candidate]:
    """Add the first candidate once more, and an empty model of its kind that shows what a call costs."""
    first = given[0]
    again = [Candidate(f"{first.name} again", first.model, "control")] if control else []
    if not first.reopens:
        nothing = Candidate("a function that does nothing", _same, "overhead")
    elif first.file is None and not isinstance(first.model, (str, Path)):
        nothing = Candidate("an empty module", torch.nn.Identity(), "overhead")
    else:
        nothing = Candidate("an empty model", empty(shape), "overhead")
    return [*given, *again, nothing, *_empty_elsewhere(given, shape)]


def _empty_elsewhere(given: list[Candidate], shape: tuple[int, ...]) -> list[Candidate]:
    """Return an empty model for each runtime of files but ONNX Runtime that a variant was made for."""
    made = {str(c.runtime): c.model.signature for c in given if c.file and isinstance(c.model, Variant)}
    made.pop("onnxruntime", None)
    return [
        Candidate(name, Variant(OnnxModel(empty(shape), runtime=runtime), name, signature), "overhead")
        for runtime, signature in made.items()
        for name in [f"an empty model on {runtime}"]
    ]


def _same(inputs: Any) -> Any:
    return inputs


def samples(
    given: list[Candidate], data: Any, inputs: Any, batch_sizes: Sequence[int], seed: int
) -> dict[int, NDArray[np.float32]]:
    """Return a batch (n, *shape) of each size: drawn from `inputs`, from the test split, or normal noise.

    Raises:
        ArgumentError: when nothing says what an input looks like, or a batch size is below 1.
        DataError: when `inputs` is empty.
    """
    if not batch_sizes or any(size < 1 for size in batch_sizes):
        raise ArgumentError(f"batch sizes must be at least 1, got {tuple(batch_sizes)}")
    generator = np.random.default_rng(seed)
    if inputs is not None:
        pool = np.asarray(inputs)
        if pool.ndim == 0 or len(pool) == 0:
            raise DataError("inputs is empty; give an array (N, *shape)")
    elif data is not None:
        pool = as_dataset(data).test.inputs.numpy()
    else:
        signature = next((s for c in given if (s := getattr(c.model, "signature", None))), None)
        if signature is None:
            raise ArgumentError("give data= or inputs= (an array (N, *shape)): nothing says what an input is")
        pool = generator.standard_normal((max(batch_sizes), *signature.shape)).astype(np.float32)
    return {size: pool[generator.integers(0, len(pool), size)] for size in batch_sizes}


def sessions(calls: Sequence[Call]) -> list[Session]:
    """Return those of `calls` that are sessions, which know their threads and their provider."""
    return [call for call in calls if isinstance(call, Session)]
