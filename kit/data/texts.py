"""Texts of one's own, with a label each."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from kit.data.dataset import Dataset
from kit.data.sources import from_arrays
from kit.errors import ArgumentError, DataError
from kit.media import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

_CHARACTERS = 255  # kinds that are told apart; the rest is "other"


def from_texts(
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    length: int = 256,
    valid: float = 0.1,
    test: float = 0.1,
    name: str = "texts",
    seed: int = 0,
) -> Dataset:
    """Make a data set of texts, character by character, for a classifier such as `kit.models.charnet`.

    What is longer than `length` is cut off; what is shorter is filled up. Its alphabet travels with every
    model that is trained on it, so that `kit.pipeline` and `kit.widgets.Prompt` take plain text.

    Args:
        texts: at least ten, none of them empty.
        labels: the class of each.
        length: characters that a model sees.
        valid, test: the shares to take away for these splits (stratified).
        name: a short name.
        seed: the seed of the splits.

    Raises:
        DataError: when a text is none or empty, or the numbers differ.
        ArgumentError: when `length` is out of range.

    >>> data = from_texts(["to be", "or not"] * 20, ["a", "b"] * 20, length=16)
    >>> data
    Dataset('texts': 32 train + 4 valid + 4 test, 2 classes, input (16,))
    """
    if not 1 <= length <= 2**16:
        raise ArgumentError(f"expected a length of 1 to 65,536 characters, got {length}")
    if len(texts) != len(labels):
        raise DataError(f"{len(texts)} texts but {len(labels)} labels")
    bad = next((i for i, text in enumerate(texts) if not isinstance(text, str) or not text), None)
    if bad is not None:
        raise DataError(f"text {bad} is empty or no text: {texts[bad]!r:.60}; drop it")
    kinds = Counter("".join(text[:length] for text in texts))
    kinds.pop("\0", None)
    media = Text("\0" + "".join(sorted(c for c, _ in kinds.most_common(_CHARACTERS))), other=True)
    classes = sorted(set(labels))
    rows = [media.encode(text[:length]) for text in texts]
    raw = torch.tensor([row + [0] * (length - len(row)) for row in rows], dtype=torch.int16)
    targets = torch.tensor([classes.index(label) for label in labels])
    made = from_arrays(raw, targets, classes=classes, valid=valid, test=test, name=name, seed=seed)
    return Dataset(name, *made.splits, replace(made.signature, media=media))
