"""`Photo`: choose, drop or take a photo, and every chosen variant says what is on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import anywidget
import ipywidgets as W
from traitlets import Bytes, Int, Unicode

from kit.data.pictures import read_picture
from kit.errors import DataError
from kit.widgets.asking import AskingPanel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kit.variant import Variant

_INVERT: dict[str, bool | Literal["auto"]] = {
    "where the border is light": "auto",
    "always": True,
    "never": False,
}


class Drop(anywidget.AnyWidget):
    """A place to choose, drop or take a picture; the browser makes it at most 1,024 pixels wide or high.

    ipywidgets' `FileUpload` sends the file as it is, and more than 10 MB end the connection to the kernel.

    Attributes:
        content: the picture as a file.
        name: what the file is called.
        problem: why there is no content.
        count: how many were given so far.
    """

    _esm = Path(__file__).with_name("photo.js")
    content = Bytes(b"")
    name = Unicode()
    problem = Unicode()
    count = Int(0)

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.on_msg(self._given)

    def _given(self, _widget: Any, content: Any, buffers: list[Any]) -> None:
        said = content if isinstance(content, dict) else {}
        self.give(
            bytes(buffers[0]) if buffers else b"", str(said.get("name")), str(said.get("problem") or "")
        )

    def give(self, content: bytes, name: str = "", problem: str = "") -> None:
        """Take a picture, as the browser does when one is chosen."""
        self.content, self.name, self.problem = content, name, problem
        self.count += 1


class Photo(AskingPanel):
    """Give a photo; it becomes grey or stays coloured, small and, if need be, inverted.

    Args:
        variants: one or more that take pictures (1 or 3, height, width).

    Example:
        >>> kit.widgets.Photo([dense, int8])  # doctest: +SKIP
    """

    title = "Photo"
    about = "Give a photo; every chosen variant says what is on it."
    hint = "It stays on this machine."

    def __init__(self, variants: Sequence[Variant] | Variant) -> None:
        self.drop = Drop()
        self.invert = W.Dropdown(options=list(_INVERT), description="Invert")
        form = W.HBox([self.invert])
        form.add_class("kit-form")
        super().__init__(variants, self.drop, form)
        self.watch(self.drop, self._given, "count")
        self.watch(self.invert, self._given)
        self.watch(self.invert, self.show_code)

    @property
    def code(self) -> str:
        """The calls that read and answer."""
        chosen = _INVERT[self.invert.value]
        return (
            f'raw = kit.data.read_picture("photo.jpg", variant.signature, invert={chosen!r}).raw\n'
            "variant(variant.signature.preprocess(raw[None]).numpy())"
        )

    def _given(self) -> None:
        """Read the photo and ask about it."""
        if self.drop.problem:
            self.clear("")
            raise DataError(self.drop.problem)
        if not self.drop.count:
            return
        try:
            found = read_picture(
                bytes(self.drop.content), self._answers.signature, invert=_INVERT[self.invert.value]
            )
        except DataError:
            self.clear("")
            raise
        self.ask(found.raw)
        if found.inverted:
            self.say(f"{self.frame.status} (inverted: the models know light things on a dark ground)")
