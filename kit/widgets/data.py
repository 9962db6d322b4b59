"""`Data`: what is in the splits, how even it is, what stands in two of them, and what a model gets to see."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as W
import torch

from kit.data import as_dataset
from kit.widgets import markup
from kit.widgets.controls import Chooser
from kit.widgets.verb import VerbPanel

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

    from kit.data import Duplicates
    from kit.training import Control
    from kit.widgets.panel import Table

_ALL = "all classes"
_SHOWN = 20  # samples on a page


class Data(VerbPanel):
    """Look at a data set: samples by class, balance, one sample on its way into the model, duplicates.

    Args:
        data: a `Dataset`, or what `kit.data.as_dataset` takes.
        augment: what training would do to its samples, as in `kit.train`; shown as a last step.

    Attributes:
        result: the `Duplicates`, once they were looked for.

    Example:
        >>> kit.widgets.Data(kit.data.fashion_mnist())  # doctest: +SKIP
    """

    title = "Data"
    about = "Shows what the splits hold, and each sample on its way into the model."
    action = "Find duplicates"
    hint = "Choose a split, a class, a sample."
    pausable = False

    def __init__(self, data: Any, *, augment: Callable[[torch.Tensor], torch.Tensor] | None = None) -> None:
        self.data, self._augment = as_dataset(data), augment
        self.split = W.Dropdown(options=[split.name for split in self.data.splits], description="Split")
        self.of = W.Dropdown(options=[_ALL, *self.data.signature.classes], description="Class")
        self.sample = W.BoundedIntText(value=0, min=0, max=0, description="Sample")
        self._balance, self._steps, self._twins = W.HTML(), W.HTML(), W.HTML()
        self._samples = Chooser()
        form = W.HBox([self.split, self.of, self.sample])
        form.add_class("kit-form")
        sides = W.HBox([self._balance, self._samples])
        sides.add_class("kit-sides")
        self._choose()
        super().__init__(form, sides, self._steps, self._twins)
        self._samples.on_choice(lambda number: self.attempt(lambda: self._go(int(number))))
        for control in (self.split, self.of):
            self.watch(control, self._choose)
        self.watch(self.sample, self._show)
        for control in form.children:
            self.watch(control, self.show_code)

    @property
    def code(self) -> str:
        """The calls behind the pictures."""
        split, index = self.split.value, self.position
        return (
            f"data.balance()\n"
            f"data.inspect({split!r})\n"
            f"data[{split!r}].preprocess.steps(data[{split!r}].raw[{index}:{index + 1}])"
        )

    @property
    def position(self) -> int:
        """Where the shown sample stands in its split."""
        return int(self._members[self.sample.value]) if len(self._members) else 0

    def prepare(self) -> Callable[[Control], Any]:
        """Return the search for duplicates."""
        return lambda _control: self.data.duplicates()

    def finished(self, result: Duplicates) -> str:
        """Show the nearest pairs."""
        self.result = result
        pairs = [
            f"<figure>{_look(result.raw[p.first][p.i], f'{p.first} {p.i}')}"
            f"{_look(result.raw[p.second][p.j], f'{p.second} {p.j}')}"
            f"<figcaption>{p.first} {p.i}<br>{p.second} {p.j}</figcaption></figure>"
            for p in result.pairs[:10]
        ]
        self._twins.value = (
            f"<b>The nearest pairs across splits</b><div class='kit-grid'>{''.join(pairs)}</div>"
        )
        return str(result)

    def figure(self) -> Figure | None:
        """Draw samples of every class."""
        pictures = len(self.data.signature.shape) == 3 and self.data.signature.classes
        return self.data.inspect(self.split.value) if pictures else None

    def table(self) -> Table:
        """Return how many samples of each class the splits hold."""
        names = [split.name for split in self.data.splits]
        if not self.data.signature.classes:
            sizes = [f"{len(split):,}" for split in self.data.splits]
            return f"{self.data.name}: samples", ("", *names), [("samples", *sizes)]
        counts = self.data.balance()
        rows = [
            (label, *(f"{counts[name][k]:,}" for name in names))
            for k, label in enumerate(self.data.signature.classes)
        ]
        found = f"; {self.result}".replace("\n", "; ") if self.result else ""
        return f"{self.data.name}: samples by class{found}", ("class", *names), rows

    def _choose(self) -> None:
        """Take the samples of the chosen split and class, and show the first of them."""
        split, classes = self.data[self.split.value], self.data.signature.classes
        self._members = torch.arange(len(split))
        if self.of.value != _ALL:
            self._members = self._members[split.targets == classes.index(self.of.value)]
        self.sample.max = max(len(self._members) - 1, 0)
        self.sample.value = 0
        self._balance.value = self._bars()
        self._show()

    def _bars(self) -> str:
        split, classes = self.data[self.split.value], self.data.signature.classes
        if not classes:
            low, high = float(split.targets.min()), float(split.targets.max())
            return markup.facts([("samples", f"{len(split):,}"), ("targets", f"{low:.3g} to {high:.3g}")])
        counts = self.data.balance()[split.name]
        rows = [(name, n / max(counts), f"{n:,}") for name, n in zip(classes, counts, strict=True)]
        return markup.bars(rows, caption=f"{len(split):,} samples by class")

    def _go(self, number: int) -> None:
        self.sample.value = number

    def _show(self) -> None:
        """Show a page of samples, and the chosen one step by step."""
        if not len(self._members):
            self._samples.html = self._steps.value = (
                f"<p>No sample of {escape(self.of.value)} in this split.</p>"
            )
            return
        split, chosen = self.data[self.split.value], self.sample.value
        first = chosen // _SHOWN * _SHOWN
        page = range(first, min(first + _SHOWN, len(self._members)))
        buttons = [
            f'<button data-choice="{number}" aria-pressed="{str(number == chosen).lower()}">'
            f"{_look(split.raw[int(self._members[number])], self._name(number), 44)}</button>"
            for number in page
        ]
        self._samples.html = (
            f"<b>Samples {page[0]:,} to {page[-1]:,} of {len(self._members):,}</b>"
            f'<div class="kit-grid">{"".join(buttons)}</div>'
        )
        index = self.position
        steps = split.preprocess.steps(split.raw[index : index + 1])
        if self._augment is not None and split.name == "train":
            steps += [("augmented, as it may be", self._augment(steps[-1][1].clone())) for _ in range(3)]
        self._steps.value = (
            f"<b>{escape(self._name(chosen))}, step by step into the model</b>"
            f'<div class="kit-grid">{"".join(_step(name, batch[0]) for name, batch in steps)}</div>'
        )

    def _name(self, number: int) -> str:
        split, index = self.data[self.split.value], int(self._members[number])
        target = split.targets[index]
        classes = self.data.signature.classes
        label = classes[int(target)] if classes else f"{float(target.flatten()[0]):.3g}"
        return f"{split.name} {index}: {label}"


def _look(sample: torch.Tensor, alt: str, size: int = 64) -> str:
    """Return a sample as a picture, or its first values where it is none."""
    if sample.ndim == 3 and sample.shape[0] in {1, 3}:
        return markup.picture(sample, alt, size=size)
    values = ", ".join(f"{value:.3g}" for value in sample.flatten()[:4].tolist())
    return f'<span title="{escape(alt)}">{values}{", …" if sample.numel() > 4 else ""}</span>'


def _step(name: str, sample: torch.Tensor) -> str:
    values = sample.float()
    dtype = str(sample.dtype).removeprefix("torch.")
    return (
        f"<figure>{_look(sample, name, 96)}<figcaption>{escape(name)}<br>{dtype}, "
        f"{float(values.min()):.3g} to {float(values.max()):.3g}<br>mean {float(values.mean()):.3g}"
        "</figcaption></figure>"
    )
