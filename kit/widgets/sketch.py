"""`Sketch`: draw, and every chosen variant says what it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import ipywidgets as W
import torch
from traitlets import Bytes, Int

from kit.data import as_dataset
from kit.data.pictures import centred, image_shape
from kit.errors import DataError
from kit.widgets.asking import AskingPanel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kit.variant import Variant

_AS_DRAWN, _CENTRED = "as drawn", "centred, as in MNIST"


class Sheet(anywidget.AnyWidget):
    """A sheet to draw on, by pointer or keyboard.

    Attributes:
        width, height: in pixels of the model's input.
        pixels: one byte a pixel, row by row: 0 paper, 255 ink.
    """

    _esm = Path(__file__).with_name("sketch.js")
    width = Int(28).tag(sync=True)
    height = Int(28).tag(sync=True)
    pixels = Bytes(b"")

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.on_msg(self._drawn)

    def wipe(self) -> None:
        """Make the sheet empty."""
        self.send("clear")

    def _drawn(self, _widget: Any, _content: Any, buffers: list[Any]) -> None:
        if buffers:
            self.pixels = bytes(buffers[0])


class Sketch(AskingPanel):
    """Draw on a sheet of the models' own size; they answer while one draws.

    With the keyboard: the arrow keys move the pen, Space puts it down or lifts it, Delete clears. Or
    choose one of the data's own test images with the arrow keys of its number.

    Args:
        variants: one or more that take pictures (1 or 3, height, width).
        data: whose test images can be chosen; may be left out.

    Example:
        >>> kit.widgets.Sketch([dense, int8], data)  # doctest: +SKIP
    """

    title = "Sketch"
    about = "Draw something; every chosen variant says what it is."
    hint = "By keyboard: arrow keys move the pen, Space puts it down or lifts it, Delete clears."

    def __init__(self, variants: Sequence[Variant] | Variant, data: Any = None) -> None:
        self.data = None if data is None else as_dataset(data)
        self._test = -1  # which test image is shown; none while one draws
        self.sheet = Sheet()
        self.placed = W.Dropdown(options=[_AS_DRAWN, _CENTRED], description="Placed")
        last = len(self.data.test) - 1 if self.data else 0
        self.image = W.BoundedIntText(value=0, min=0, max=last, description="Or test image")
        clear = self.button("Clear", "Wipe the sheet", self.sheet.wipe)
        form = W.HBox([clear, self.placed, *([self.image] if self.data else [])])
        form.add_class("kit-form")
        super().__init__(variants, self.sheet, form)
        _, self.sheet.height, self.sheet.width = image_shape(self._answers.signature)
        self.watch(self.sheet, self._drawn, "pixels")
        self.watch(self.placed, self._drawn)
        self.watch(self.image, self._chosen)

    @property
    def code(self) -> str:
        """The call that answers."""
        return (
            f"variant(data.test.inputs[{self._test}:{self._test + 1}])" if self._test >= 0 else super().code
        )

    def _drawn(self) -> None:
        """Ask about the drawing."""
        self._test = -1
        self.show_code()
        channels, height, width = image_shape(self._answers.signature)
        ink = bytes(self.sheet.pixels)
        if len(ink) not in {0, height * width}:
            raise DataError(f"expected a drawing of {height} × {width} bytes, got {len(ink):,}")
        if not any(ink):
            self.clear("The sheet is empty: draw something.")
            return
        raw = torch.frombuffer(bytearray(ink), dtype=torch.uint8).view(1, height, width)
        raw = centred(raw, round(5 / 7 * min(height, width))) if self.placed.value == _CENTRED else raw
        self.ask(raw.expand(channels, -1, -1).contiguous())

    def _chosen(self) -> None:
        """Ask about a test image, and say what it is."""
        assert self.data is not None
        index = self._test = self.image.value
        self.show_code()
        self.ask(self.data.test.raw[index])
        if self.data.signature.classes:
            label = self.data.signature.classes[int(self.data.test.targets[index])]
            self.say(f"{self.frame.status} (label: {label})")
