"""The controls that ipywidgets lacks: a panel's head, a slider with a name, HTML to choose from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
from traitlets import Float, Int, Unicode

if TYPE_CHECKING:
    from collections.abc import Callable

_HERE = Path(__file__).parent


class Frame(anywidget.AnyWidget):
    """The head of a panel: title, purpose, and what it has to say; it keeps typed keys inside the panel.

    Attributes:
        title: the panel's name.
        about: what it does, in a sentence.
        status: how it stands; announced politely.
        alert: what went wrong; announced at once.
    """

    _esm = _HERE / "frame.js"
    _css = _HERE / "panel.css"
    title = Unicode().tag(sync=True)
    about = Unicode().tag(sync=True)
    status = Unicode().tag(sync=True)
    alert = Unicode().tag(sync=True)


class Slider(anywidget.AnyWidget):
    """A slider with a name, a unit and its value in words.

    ipywidgets' own sliders have no accessible name (axe: aria-input-field-name, serious).

    Attributes:
        label: its name.
        value, min, max, step: numbers in `unit`.
        digits: decimals shown.
        unit: written behind the value, such as " %".
    """

    _esm = _HERE / "slider.js"
    label = Unicode().tag(sync=True)
    value = Float(0.0).tag(sync=True)
    min = Float(0.0).tag(sync=True)
    max = Float(100.0).tag(sync=True)
    step = Float(1.0).tag(sync=True)
    digits = Int(0).tag(sync=True)
    unit = Unicode("").tag(sync=True)


class Chooser(anywidget.AnyWidget):
    """HTML or SVG in which the elements with `data-choice="…"` can be chosen by mouse or keyboard.

    Attributes:
        html: the content; text in it must be escaped. What is no button needs `tabindex` and a role.
    """

    _esm = _HERE / "chooser.js"
    html = Unicode().tag(sync=True)

    def on_choice(self, listener: Callable[[str], object]) -> None:
        """Call `listener(choice)` whenever something is chosen, the same thing again included."""

        def receive(_widget: Any, content: Any, _buffers: Any) -> None:
            if isinstance(content, dict) and isinstance(content.get("choice"), str):
                listener(content["choice"])

        self.on_msg(receive)
