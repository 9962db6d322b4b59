"""What notebooks need: the mode they run in, and prose whose numbers come from the run."""

from __future__ import annotations

import os
from typing import Any


def fast() -> bool:
    """Tell whether notebooks run in fast mode (`KIT_FAST=1`): small data, few epochs, minutes in all."""
    return os.environ.get("KIT_FAST", "0") not in {"", "0"}


def say(text: str) -> None:
    """Show `text` as Markdown: prose in which every number was just computed.

    >>> say(f"The net has **{2 + 2}** layers.")  # doctest: +SKIP
    """
    from IPython.display import Markdown, display

    display(Markdown(text))


class Readable:
    """Gives a report its `str` as the plain text that notebooks show, in place of its `repr`."""

    def __init_subclass__(cls) -> None:
        """Set it on each class: IPython prefers the `repr` of a dataclass to an inherited method."""
        cls._repr_pretty_ = Readable._repr_pretty_  # type: ignore[method-assign]

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text("…" if cycle else str(self))
