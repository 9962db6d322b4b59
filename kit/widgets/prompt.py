"""`Prompt`: type a text, and every chosen variant names it or goes on with it, token by token."""

from __future__ import annotations

import time
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as W

from kit.errors import ArgumentError, ModelError
from kit.media import Subwords, Text
from kit.runtime.pipelines.answers import Written
from kit.runtime.pipelines.pipeline import Predictor, pipeline
from kit.runtime.pipelines.reading import read_text
from kit.variant import Variant
from kit.widgets import answers
from kit.widgets.answers import Answer
from kit.widgets.verb import VerbPanel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kit.runtime.pipelines.generator import Generator
    from kit.training import Control
    from kit.widgets.panel import Table

_OFTEN = 0.1  # s between two looks at a text that grows


class Prompt(VerbPanel):
    """Type a text: classifiers say what it is, generators go on with it while one watches.

    Tab leaves the text field; Answer and Stop are buttons. What was typed stays when it cannot be answered.

    Args:
        variants: one or more that take texts, all classifiers or all generators.

    Attributes:
        said: what each variant said last, by name: `Answer` or `Written`.

    Raises:
        ModelError: when a variant takes no text.
        ArgumentError: when there is none, or some write and others classify.

    Example:
        >>> kit.widgets.Prompt([small, int8])  # doctest: +SKIP
    """

    title = "Prompt"
    about = "Type a text; every chosen variant answers it."
    action = "Answer"
    hint = "Type a text, then press Answer."

    def __init__(self, variants: Sequence[Variant] | Variant, text: str = "") -> None:
        given = [variants] if isinstance(variants, Variant) else list(variants)
        _check(given)
        self.signature = given[0].signature
        self.writes = self.signature.task == "generation"
        self._pipes: dict[str, Predictor | Generator] = {}
        for variant in given:
            self._pipes[answers.free(variant.name, self._pipes)] = pipeline(variant)
        self.said: dict[str, Answer | Written] = {}
        names = list(self._pipes)
        self.text = W.Textarea(
            value=text, description="Text", rows=4, continuous_update=False, layout={"width": "auto"}
        )
        self.variants = W.SelectMultiple(
            options=names, value=names, rows=min(6, len(names)), description="Variants"
        )
        self.length = W.BoundedIntText(value=120, min=1, max=2000, description="Length")
        self.temperature = W.BoundedFloatText(value=0.8, min=0, max=10, step=0.1, description="Temperature")
        self.seed = W.BoundedIntText(value=0, min=0, max=2**31 - 1, description="Seed")
        settings = [self.length, self.temperature, self.seed] if self.writes else []
        choice = W.HBox([self.variants, *settings])
        choice.add_class("kit-form")
        self._shown = W.HTML()
        super().__init__(W.VBox([self.text, choice]), self._shown)
        for control in (self.text, self.variants, *settings):
            self.watch(control, self.show_code)

    @property
    def code(self) -> str:
        """The call that answers."""
        text = self.text.value
        quoted = repr(text if len(text) <= 60 else f"{text[:57]}...")
        if not self.writes:
            return f"kit.pipeline(variant)({quoted})"
        return (
            f"kit.pipeline(variant)({quoted}, length={self.length.value}, "
            f"temperature={self.temperature.value}, seed={self.seed.value})"
        )

    def prepare(self) -> Callable[[Control], Any]:
        """Return the call that answers, with text and settings as they are now."""
        media, text, names = self.signature.media, self.text.value, list(self.variants.value)
        assert isinstance(media, Text | Subwords)
        read_text(text, media)  # what cannot be read is said at once
        if not names:
            raise ArgumentError("choose at least one variant")
        settings = {
            "length": self.length.value,
            "temperature": self.temperature.value,
            "seed": self.seed.value,
        }
        self.said = {}
        return lambda control: self._answer(control, text, names, settings)

    def finished(self, result: dict[str, Answer | Written]) -> str:
        """Say how it went, and what of a long text the models did not see."""
        self.result = result
        seen, given = self.signature.shape[0], len(self.text.value)
        which = "last" if self.writes else "first"
        note = f" Only the {which} {seen:,} of {given:,} characters were looked at." if given > seen else ""
        parts = [
            f"{name}: {made.tokens} tokens"
            if isinstance(made, Written)
            else f"{name}: {', '.join(made.words(0)[0])}"
            for name, made in result.items()
        ]
        return "; ".join(parts) + "." + note

    def figure(self) -> None:
        """Return nothing: the answers are words, and stand in the table."""

    def table(self) -> Table:
        """Return the answers."""
        caption = "Prompt: what each variant says"
        if not self.writes:
            return answers.rows([a for a in self.said.values() if isinstance(a, Answer)], caption)
        rows = [
            (name, made.text, f"{1000 * made.seconds / max(1, made.tokens):.2f}")
            for name, made in self.said.items()
            if isinstance(made, Written)
        ]
        return caption, ("variant", "goes on with", "ms a token, once"), rows or [("no answer yet", "", "")]

    def _answer(
        self, control: Control, text: str, names: Sequence[str], settings: dict[str, Any]
    ) -> dict[str, Answer | Written]:
        """Let one variant after the other answer; in the worker's thread."""
        said: dict[str, Answer | Written] = {}
        for name in names:
            if control.stopping:
                break
            pipe = self._pipes[name]
            said[name] = (
                _named(name, pipe, text)
                if isinstance(pipe, Predictor)
                else self._write(control, pipe, text, settings, said, name)
            )
            self.said = dict(said)
            self._show(said)
        return said

    def _write(
        self,
        control: Control,
        pipe: Generator,
        text: str,
        settings: dict[str, Any],
        said: dict[str, Answer | Written],
        name: str,
    ) -> Written:
        """Show a text while it grows."""
        begin = shown = time.perf_counter()
        written, count = "", 0
        for piece in pipe.stream(text, **settings):
            control.hold()
            if control.stopping:
                break
            written, count = written + piece, count + 1
            if time.perf_counter() - shown > _OFTEN:
                shown = time.perf_counter()
                self._show({**said, name: Written(text, written, count, shown - begin, "length")})
        return Written(text, written, count, time.perf_counter() - begin, "length")

    def _show(self, said: dict[str, Answer | Written]) -> None:
        if not self.writes:
            self._shown.value = answers.show([a for a in said.values() if isinstance(a, Answer)])
            return
        columns = [_column(name, made) for name, made in said.items() if isinstance(made, Written)]
        self._shown.value = f'<div class="kit-charts">{"".join(columns)}</div>'


def _named(name: str, pipe: Predictor, text: str) -> Answer:
    pipe(text)  # the first call is slower
    begin = time.perf_counter()
    labels = pipe(text)
    return Answer(name, labels.ranked, 1000 * (time.perf_counter() - begin))


def _column(name: str, made: Written) -> str:
    """Return a text and what a token of it took: the prompt's end in grey, so that one sees the seam."""
    speed = f"{1000 * made.seconds / max(1, made.tokens):.2f} ms a token, {made.tokens} tokens"
    return (
        f'<figure class="kit-written"><figcaption>{escape(name)}</figcaption>'
        f"<p><em>{escape(made.prompt[-80:])}</em>{escape(made.text)}</p><small>{speed}</small></figure>"
    )


def _check(given: Sequence[Variant]) -> None:
    if not given:
        raise ArgumentError("give at least one variant")
    for variant in given:
        if not isinstance(variant.signature.media, Text | Subwords):
            raise ModelError(
                f"{variant.name!r} takes samples of shape {variant.signature.shape}, not texts: its "
                "signature has no media=Text(alphabet)"
            )
    if len({(v.signature.task, v.signature.media) for v in given}) > 1:
        raise ArgumentError("some variants have another task or alphabet; show them in two panels")
