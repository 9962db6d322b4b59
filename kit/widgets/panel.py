"""What every panel has: a head, its parts, its line of code, and a copy for readers without a kernel."""

from __future__ import annotations

import base64
import io
import uuid
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets as W
from IPython import get_ipython
from IPython.display import display, update_display

from kit.errors import KitError
from kit.measurement import table as tables
from kit.widgets.controls import Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.figure import Figure

Table = tuple[str, "Sequence[str]", "Sequence[Sequence[str]]"]


class Panel:
    """Controls over a verb. Shown as the last expression of a cell; everything it does is also `panel.code`.

    Where a notebook is read without its kernel there are no controls. So a panel also leaves a figure and
    a table as ordinary outputs under itself; while it lives they are hidden.

    Attributes:
        box: the widget, to embed the panel in another.
        frame: the panel's head, with its status and alert.
        error: the last exception that was shown as an alert, or None.
    """

    title: ClassVar[str]
    about: ClassVar[str]
    hint: ClassVar[str] = ""

    def __init__(self, *parts: W.Widget) -> None:
        self.frame = Frame(title=self.title, about=self.about, status=self.hint)
        self.error: Exception | None = None
        self._code = W.HTML()
        keep = self.button(
            "Keep this view", "Leave a picture and a table of what the panel shows now", self.keep
        )
        foot = W.HBox([self._code, keep])
        foot.add_class("kit-foot")
        self.box = W.VBox([self.frame, *parts, foot])
        self.box.add_class("kit-panel")
        self._copy = uuid.uuid4().hex
        self.show_code()

    @property
    def code(self) -> str:
        """The same as the panel's settings, as Python."""
        raise NotImplementedError

    def figure(self) -> Figure | None:
        """Draw what the panel shows now, or return None when there is nothing to draw."""
        raise NotImplementedError

    def table(self) -> Table:
        """Return what the panel shows now as a table: caption, header, rows."""
        raise NotImplementedError

    def show_code(self) -> None:
        """Write the line of code anew; panels call it when a setting changes."""
        self._code.value = code_field(self.code, "The same as code")

    def button(self, name: str, tooltip: str, action: Callable[[], object], style: str = "") -> W.Button:
        """Return a button whose action may fail: the panel then says why."""
        made = W.Button(description=name, tooltip=tooltip, button_style=style, layout={"width": "auto"})
        made.on_click(lambda _: self.attempt(action))
        return made

    def watch(self, control: W.Widget, action: Callable[[], object], trait: str = "value") -> None:
        """Call `action` whenever the value of a control changes; it may fail like a button's."""
        control.observe(lambda _: self.attempt(action), trait)

    def attempt(self, action: Callable[[], object]) -> None:
        """Call `action`; what it raises becomes the panel's alert and stands in `error`."""
        self.frame.alert = ""
        try:
            action()
        except Exception as error:  # noqa: BLE001 -- a traceback of a click would land nowhere
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Show an error: one of the kit's as its message, any other with its type."""
        self.error = error
        message = str(error) or "no message"
        self.frame.alert = message if isinstance(error, KitError) else f"{type(error).__name__}: {message}"

    def say(self, text: str) -> None:
        """Show how things stand."""
        self.frame.status = text

    def keep(self) -> None:
        """Renew the copy, as the button does, and say so."""
        self.renew()
        self.say("A picture and a table of this view now stand in the notebook.")

    def renew(self) -> None:
        """Renew the figure and the table that stand under the panel for readers without a kernel."""
        if get_ipython() is None:
            return
        for part, bundle, metadata in self._bundles(hidden=True):
            update_display(bundle, metadata=metadata, raw=True, display_id=f"{self._copy}-{part}")

    def snapshot(self) -> None:
        """Leave a figure and a table of what the panel shows now under the cell that runs."""
        if get_ipython() is None:
            return
        for _, bundle, metadata in self._bundles(hidden=False):
            if bundle["text/plain"]:
                display(bundle, metadata=metadata, raw=True)

    def _ipython_display_(self) -> None:
        view = {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id}
        bundle = {
            "application/vnd.jupyter.widget-view+json": view,
            "text/html": f"<p>{escape(self.title)} panel: live while its kernel runs. What it left:</p>",
            "text/plain": f"{self.title} panel",
        }
        display(bundle, raw=True)
        for part, copy, metadata in self._bundles(hidden=True):
            display(copy, metadata=metadata, raw=True, display_id=f"{self._copy}-{part}")

    def _bundles(self, *, hidden: bool) -> list[tuple[str, dict[str, str], dict[str, Any]]]:
        """Return the table and the figure as outputs; the style sheet hides a copy while the panel lives."""
        caption, header, rows = self.table()
        text = "\n".join([caption, tables.text(header, rows), self.code])
        page = f"{tables.html(caption, header, rows)}<pre>{escape(self.code)}</pre>"
        mark = ' class="kit-static"' if hidden else ""
        table = {"text/html": f"<div{mark}>{page}</div>", "text/plain": text}
        return [("table", table, {}), ("figure", *_picture(self.figure(), caption))]


def code_field(code: str, label: str) -> str:
    """Return code in a field from which it can be copied, by keyboard as well, and that cannot be changed."""
    return (
        f'<textarea class="kit-code" readonly spellcheck="false" aria-label="{escape(label)}" '
        f'data-lm-suppress-shortcuts="true" rows="{code.count(chr(10)) + 1}">{escape(code)}</textarea>'
    )


def _picture(figure: Figure | None, alt: str) -> tuple[dict[str, str], dict[str, Any]]:
    if figure is None:
        return {"text/html": "", "text/plain": ""}, {}
    file = io.BytesIO()
    figure.savefig(file, format="png")
    image = base64.b64encode(file.getvalue()).decode()
    return {"image/png": image, "text/plain": alt}, {"image/png": {"alt": alt}}
