"""What all figures share: size, colours with markers and line styles, the caption."""

from __future__ import annotations

from io import BytesIO
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kit import device

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito, "Color Universal Design", 2008: distinguishable with any kind of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", "-.", ":")


class Drawing(Figure):
    """A figure that a notebook shows by itself, without pyplot and its global state."""

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def new_figure(
    rows: int = 1, columns: int = 1, *, width: float = 6.0, height: float = 3.6, **settings: Any
) -> tuple[Figure, Any]:
    """Return a figure of its own (no global state, fit for any thread) and its axes.

    Args:
        rows, columns: the grid of axes.
        width, height: inches of the whole figure.
        settings: passed to `Figure.subplots`.
    """
    figure = Drawing(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, **settings)
    for axis in figure.axes:
        tidy(axis)
    return figure, axes


def tidy(axis: Axes) -> None:
    """Leave out the two spines that carry no scale and draw a light grid."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(visible=True, alpha=0.25, linewidth=0.6)
    axis.set_axisbelow(True)


def style(index: int) -> dict[str, Any]:
    """Return colour, marker and line style of the series with this index: never colour alone.

    The first 64 differ: when the colours come round again, the markers have moved on by one.
    """
    turn = index // len(COLOURS)
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[(index + turn) % len(MARKERS)],
        "linestyle": LINES[(index + turn) % len(LINES)],
    }


def caption(figure: Figure, text: str) -> None:
    """Write `text` and the machine under the figure, in as many lines as it is wide."""
    lines = wrap(f"{text} · {device.describe()}", int(figure.get_figwidth() * 19))
    figure.supxlabel("\n".join(lines), fontsize=7, color="#555555")
