"""Whatever `convert` is given, as a variant that answers: a module, file, Keras model or estimator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kit import files
from kit.conversion import tables
from kit.errors import ArgumentError, ModelError
from kit.runtime import packed
from kit.runtime.folder import CARD, load
from kit.runtime.foreign import open_foreign, takes_channels_last
from kit.runtime.model_file import ModelFile
from kit.runtime.session import from_file
from kit.runtime.torch_model import TorchModel
from kit.variant import Variant, as_variant

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from kit.variant import Signature

    Floats = NDArray[np.float32]


class Table:
    """A fitted scikit-learn estimator, called like a model.

    Args:
        estimator: a classifier or a regression, or a pipeline that ends in one.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def __call__(self, inputs: Floats, /) -> Floats:
        """Map rows (N, features) to probabilities or scores (N, classes), or to numbers (N, outputs)."""
        return tables.answers(self.estimator, inputs)[0]

    def __repr__(self) -> str:
        return f"Table({self.estimator!r})"


def bring(model: Any, signature: Signature, module: nn.Module | None = None) -> Variant:
    """Return what `convert` was given as a variant.

    Args:
        model: a variant, a module, a path, a Keras model or an estimator of scikit-learn.
        signature: of the data it is for.
        module: for a path to weights alone: a module of the same class.

    Raises:
        ArgumentError: when it is none of these.
        ModelError, UnsafeModelError: when a file cannot be opened, or must not be.
    """
    if isinstance(model, (str, Path)):
        return _from_path(Path(model), signature, module)
    if tables.is_table_model(model) and not _is_keras(model):
        name = type(getattr(model, "steps", [("", model)])[-1][1]).__name__.lower()
        return Variant(Table(model), name, signature)
    if _is_keras(model):
        path = files.scratch(f"{model.name}.keras")
        model.save(path)
        return _from_path(path, signature, None)
    try:
        return as_variant(model, signature)
    except ArgumentError:
        raise ArgumentError(
            "expected a variant, a module, a path, a Keras model or a scikit-learn estimator, got "
            f"{type(model).__name__}"
        ) from None


def _is_keras(model: object) -> bool:
    """Tell whether this is a Keras model, without importing Keras: on PyTorch it is an `nn.Module` too."""
    return any(
        kind.__module__.startswith("keras.") and kind.__name__ == "Model" for kind in type(model).__mro__
    )


def _from_path(path: Path, signature: Signature, module: nn.Module | None) -> Variant:
    if (path / CARD).is_file() or packed.is_packed(path):
        return load(path, module=module)
    body = from_file(path, module)
    if isinstance(body, ModelFile) and body.format not in {"openvino", "pt2"} and len(signature.shape) > 1:
        with_layout = open_foreign(path, body.format, body.execution)
        if takes_channels_last(with_layout.declared, signature.shape):
            body = ModelFile(path, layout="channels_last")
    return Variant(body.module if isinstance(body, TorchModel) else body, path.stem, signature)


def require_answers(variant: Variant, inputs: Floats) -> Floats:
    """Return a variant's outputs (N, outputs), finite.

    Raises:
        ModelError: when they are not.
    """
    parts = [np.asarray(variant(inputs[start : start + 250])) for start in range(0, len(inputs), 250)]
    answers: Floats = np.concatenate(parts).astype(np.float32)
    if len(answers) != len(inputs) or not np.isfinite(answers).all():
        raise ModelError(
            f"{variant.name!r} gives {answers.shape}, not finite numbers for each of {len(inputs)} inputs"
        )
    return answers
