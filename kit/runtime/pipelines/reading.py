"""One source as a model's raw sample: which reader is asked stands in the signature."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from kit.data.pictures import read_picture
from kit.data.sounds import read_sound
from kit.errors import DataError
from kit.media import Columns, Sound, Subwords, Text

if TYPE_CHECKING:
    from kit.variant import Signature


def read(source: Any, signature: Signature, index: int = 0, count: int = 1) -> torch.Tensor:
    """Turn a source into a raw sample of the signature's shape.

    Args:
        source: a path, bytes, an array, a text, a row: what `signature.media` or its shape asks for.
        signature: the model's.
        index, count: its place in a batch, for messages.

    Raises:
        DataError: when it cannot be read or has another shape.
    """
    try:
        return _read(source, signature)
    except DataError as error:
        if count == 1:
            raise
        raise DataError(f"source {index + 1} of {count}: {error}") from error


def read_text(text: Any, media: Text | Subwords) -> list[int]:
    """Return the tokens of a text.

    Raises:
        DataError: when it is empty, no text, or holds half a character or one the model does not know.
    """
    if not isinstance(text, str):
        raise DataError(f"expected a text, got {type(text).__name__}")
    if not text:
        raise DataError("the text is empty; give a few characters")
    half = next((i for i, c in enumerate(text) if 0xD800 <= ord(c) < 0xE000), None)
    if half is not None:
        code = ord(text[half])
        raise DataError(
            f"the text holds half a character (U+{code:04X}, place {half + 1}); it was cut in two somewhere"
        )
    return media.encode(text)


def _read(source: Any, signature: Signature) -> torch.Tensor:
    if isinstance(source, np.ndarray | torch.Tensor) and tuple(source.shape) == signature.shape:
        return _finite(torch.as_tensor(source))
    if isinstance(signature.media, Sound):
        return read_sound(source, signature)
    if isinstance(signature.media, Text):
        tokens = read_text(source, signature.media)[: signature.shape[0]]
        return torch.tensor(tokens + [0] * (signature.shape[0] - len(tokens)))
    if isinstance(signature.media, Columns) or len(signature.shape) == 1:
        return _row(source, signature)
    if len(signature.shape) == 3 and signature.shape[0] in {1, 3}:
        return read_picture(source, signature).raw
    raise DataError(
        f"expected an array of shape {signature.shape}, got {_what(source)}; "
        "the model's card says nothing of files"
    )


def _row(source: Any, signature: Signature) -> torch.Tensor:
    """Return the numbers of a row, by name or in order."""
    try:
        if isinstance(source, Mapping):
            if not isinstance(signature.media, Columns):
                raise DataError(
                    f"the model knows no column names; give {signature.shape[0]} numbers in order"
                )
            numbers = signature.media.read(source)
        else:
            numbers = [float(value) for value in source]
    except (TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"expected a row of numbers, got {_what(source)}: {error}") from error
    if len(numbers) != signature.shape[0]:
        raise DataError(f"expected {signature.shape[0]} numbers, got {len(numbers)}")
    return _finite(torch.tensor(numbers, dtype=torch.float32))


def _finite(raw: torch.Tensor) -> torch.Tensor:
    if raw.is_floating_point() and not bool(torch.isfinite(raw).all()):
        raise DataError("the sample holds NaN or infinity; clean it first")
    return raw


def _what(source: Any) -> str:
    shape = getattr(source, "shape", None)
    if shape is not None:
        return f"an array of shape {tuple(shape)}"
    return f"the path {source}" if isinstance(source, Path) else type(source).__name__
