"""A panel that puts one picture to several variants: what drawing and photographing share."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import ipywidgets as W

from kit import plots
from kit.data.pictures import image_shape
from kit.widgets import answers, markup
from kit.widgets.answers import Answer, Answers
from kit.widgets.panel import Panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from matplotlib.figure import Figure

    from kit.variant import Variant
    from kit.widgets.panel import Table


class AskingPanel(Panel):
    """A picture, and what every chosen variant says to it.

    Attributes:
        raw: the picture as the models' raw input (C, H, W); None before.
        answers: the last answers.

    Raises:
        ModelError: when the models do not take pictures.
    """

    sense: ClassVar[str] = "what the models see"

    def __init__(self, variants: Sequence[Variant] | Variant, *parts: W.Widget) -> None:
        self._answers = Answers(variants)
        image_shape(self._answers.signature)
        self.raw: torch.Tensor | None = None
        self.answers: list[Answer] = []
        names = self._answers.names
        self.variants = W.SelectMultiple(
            options=names, value=names, rows=min(6, len(names)), description="Variants"
        )
        self._seen, self._said = W.HTML(), W.HTML()
        sides = W.HBox([*parts[:1], self._seen])
        sides.add_class("kit-sides")
        choice = W.HBox([self.variants])
        choice.add_class("kit-form")
        super().__init__(sides, *parts[1:], choice, self._said)
        self.watch(self.variants, self.answer)
        self.watch(self.variants, self.show_code)

    @property
    def code(self) -> str:
        """The call that answers."""
        return "variant(variant.signature.preprocess(raw[None]).numpy())"

    def ask(self, raw: torch.Tensor) -> None:
        """Put a raw picture (C, H, W) to the chosen variants and show what they say."""
        self.raw = raw
        size = f"{raw.shape[-1]} × {raw.shape[-2]} pixels"
        seen = markup.picture(self.shown(raw), self.sense, size=140)
        self._seen.value = f"<figure>{seen}<figcaption>{self.sense},<br>{size}</figcaption></figure>"
        self.answer()

    def shown(self, raw: torch.Tensor) -> torch.Tensor:
        """Return the sample as a picture to look at."""
        return raw

    def answer(self) -> None:
        """Ask again, such as when another variant was chosen."""
        if self.raw is None:
            return
        self.answers = self._answers.ask(self.raw, self.variants.value)
        self._said.value = answers.show(self.answers)
        said = "; ".join(f"{a.name}: {', '.join(a.words(0)[0])}" for a in self.answers)
        self.say(said or "Choose at least one variant.")

    def clear(self, text: str) -> None:
        """Forget the picture and the answers, and say why."""
        self.raw, self.answers = None, []
        self._seen.value = self._said.value = ""
        self.say(text)

    def figure(self) -> Figure | None:
        """Draw what the models were given."""
        if self.raw is None:
            return None
        return plots.image_rows([("", self.shown(self.raw)[None].numpy())], title=self.sense)

    def table(self) -> Table:
        """Return the answers."""
        return answers.rows(self.answers, f"{self.title}: what each variant says")
