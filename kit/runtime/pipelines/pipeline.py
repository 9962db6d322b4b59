"""`pipeline`: a model with all that stands before and behind it, chosen by its card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from kit.errors import ArgumentError, ModelError
from kit.runtime.folder import load
from kit.runtime.pipelines.answers import Labels, Values
from kit.runtime.pipelines.generator import Generator
from kit.runtime.pipelines.reading import read
from kit.runtime.rows import mixes_rows
from kit.runtime.session import open as open_session
from kit.variant import Variant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kit.runtime.session import Session


def pipeline(model: Variant | str | Path, **how: Any) -> Predictor | Generator:
    """Make a pipeline of a model: files, arrays, texts or rows in, labels, numbers or texts out.

    What a sample is, and how it becomes the model's input, is in the model's signature and travels in its
    card: pictures, sounds, texts, rows of a table. A `list` is a batch and gives a list; each of its answers
    is what that sample gets alone.

    Args:
        model: a variant, or a model folder or packed file.
        how: as for `kit.open`, such as runtime="openvino" or threads=1.

    Returns:
        A `Generator` of texts for the task "generation", else a `Predictor`.

    Raises:
        ArgumentError: when `model` is a bare file or module, which does not say what it takes.
        ModelError, DeviceError: when the model cannot be opened.

    Example:
        ```python
        pipe = kit.pipeline("runs/convnet")
        print(pipe("boot.jpg"))                     # ankle boot 97.3 %, sneaker 2.1 %
        pipe(["boot.jpg", bag_as_array])            # two answers
        ```
    """
    if not isinstance(model, Variant | str | Path):
        raise ArgumentError(
            f"expected a variant, a model folder or a packed file, got {type(model).__name__}; "
            "a bare module does not say what it takes: wrap it with kit.Variant(module, name, signature)"
        )
    variant = model if isinstance(model, Variant) else load(model)
    if variant.signature.task == "generation":
        return Generator(variant, **how)
    return Predictor(variant, **how)


class Predictor:
    """Samples in, labels or numbers out; close it, or use it in a `with` block.

    Attributes:
        name: the model's.
        signature: what its samples are, and its classes.
        session: the open model.
    """

    def __init__(self, variant: Variant, **how: Any) -> None:
        self.name, self.signature = variant.name, variant.signature
        self.session: Session = open_session(variant, **how)
        self._batch = 1 if mixes_rows(variant) else 32

    def __call__(self, source: Any, /) -> Any:
        """Answer one source, or a list of them.

        Args:
            source: by what the model takes: a picture (path, bytes, PIL image or array), a sound (path,
                bytes, or `(samples, rate)`), a text, a row (mapping or numbers), or an array of the model's
                own shape.

        Returns:
            `Labels`, or `Values` for regression; for a list a list.

        Raises:
            DataError: when a source cannot be read; of a list, which one.
        """
        return list(self.stream(source)) if isinstance(source, list) else next(self.stream([source]))

    def stream(self, sources: Sequence[Any]) -> Iterator[Labels | Values]:
        """Answer sources one after the other, in batches: a folder of any size needs no more memory."""
        for start in range(0, len(sources), self._batch):
            part = sources[start : start + self._batch]
            raws = [read(source, self.signature, start + i, len(sources)) for i, source in enumerate(part)]
            inputs = np.concatenate([self.signature.preprocess(raw[None]).numpy() for raw in raws])
            yield from map(self._answer, self.session(np.ascontiguousarray(inputs)))

    def _answer(self, outputs: Any) -> Labels | Values:
        outputs = np.asarray(outputs, np.float64).reshape(-1)
        if not np.isfinite(outputs).all():
            raise ModelError(f"{self.name!r} gives NaN or infinity for this sample; was it trained?")
        if self.signature.task == "regression":
            return Values(tuple(float(v) for v in outputs))
        return Labels.of(outputs, self.signature.classes)

    def close(self) -> None:
        """Free what the runtime holds."""
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Predictor({self.name!r} on {self.session.runtime})"
