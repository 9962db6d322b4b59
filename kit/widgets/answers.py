"""Answers side by side: one sample, every chosen variant, its probabilities and how long it took."""

from __future__ import annotations

import time
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from kit.compression.distillation.distill import softened
from kit.errors import ArgumentError
from kit.runtime.session import Session
from kit.runtime.session import open as open_session
from kit.variant import Variant
from kit.widgets import markup

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from kit.variant import Signature
    from kit.widgets.panel import Table

_TOP = 4  # classes shown


@dataclass(frozen=True)
class Answer:
    """What one variant says to one sample.

    Attributes:
        name: the variant.
        outputs: class names or numbers with their probability (regression: their value), the likeliest first.
        milliseconds: of this one call; no benchmark.
        shares: whether the numbers are probabilities.
    """

    name: str
    outputs: tuple[tuple[str, float], ...]
    milliseconds: float
    shares: bool = True

    def words(self, digits: int = 1) -> list[tuple[str, str]]:
        """Return the outputs with their numbers as text."""
        return [(n, f"{v:.{digits}%}" if self.shares else f"{v:.4g}") for n, v in self.outputs]


class Answers:
    """Sessions of several variants that answer the same samples.

    Args:
        variants: at least one; all take inputs of the same shape.

    Attributes:
        signature: of the first.

    Raises:
        ArgumentError: when there is none, or their inputs or classes differ.
    """

    def __init__(self, variants: Sequence[Variant] | Variant) -> None:
        given = [variants] if isinstance(variants, Variant) else list(variants)
        if not given:
            raise ArgumentError("give at least one variant")
        self.signature: Signature = given[0].signature
        for variant in given:
            if (variant.signature.shape, variant.signature.classes) != (
                self.signature.shape,
                self.signature.classes,
            ):
                raise ArgumentError(
                    f"{variant.name!r} takes {variant.signature.shape}, {given[0].name!r} takes "
                    f"{self.signature.shape}, or their classes differ; show them in two panels"
                )
        self._sessions: dict[str, Session] = {}
        for variant in given:
            self._sessions[free(variant.name, self._sessions)] = open_session(variant)
        self.names = list(self._sessions)

    def ask(self, raw: torch.Tensor, names: Sequence[str]) -> list[Answer]:
        """Let variants answer a raw sample of the signature's shape; pre-processing is the signature's."""
        inputs = np.ascontiguousarray(self.signature.preprocess(raw[None]).numpy())
        return [self._answer(name, inputs) for name in names]

    def _answer(self, name: str, inputs: Any) -> Answer:
        session = self._sessions[name]
        session(inputs)  # the first call of a shape is slower
        begin = time.perf_counter()
        outputs = session(inputs)[0]
        spent = 1000 * (time.perf_counter() - begin)
        if not self.signature.classes:
            values = tuple((f"output {i}", float(v)) for i, v in enumerate(outputs))
            return Answer(name, values, spent, shares=False)
        shares = softened(torch.from_numpy(outputs), 1.0).tolist()
        ranked = sorted(zip(self.signature.classes, shares, strict=True), key=lambda pair: -pair[1])
        return Answer(name, tuple(ranked), spent)


def show(answers: Sequence[Answer]) -> str:
    """Return the answers as bars, one column a variant."""
    return f'<div class="kit-charts">{"".join(_column(i, answer) for i, answer in enumerate(answers))}</div>'


def rows(answers: Sequence[Answer], caption: str) -> Table:
    """Return the answers as a table."""
    header = ("variant", "first answer", "", "second", "", "one call, ms")
    body = []
    for answer in answers:
        first, second = (*answer.words(), ("", ""))[:2]
        body.append((answer.name, *first, *second, f"{answer.milliseconds:.2f}"))
    return caption, header, body or [("no answer yet", *[""] * 5)]


def _column(index: int, answer: Answer) -> str:
    pairs = zip(answer.outputs, answer.words(), strict=True)
    lines = [(name, value if answer.shares else 0.0, text) for (name, value), (_, text) in pairs][:_TOP]
    return (
        f"<div>{markup.bars(lines, caption=answer.name, colour=index)}"
        f"<small>{escape(f'{answer.milliseconds:.2f} ms for this one call')}</small></div>"
    )


def free(name: str, taken: Container[str]) -> str:
    """Return a name that is not taken, with a number if need be."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name} ({number})"
    return found
