"""Which check noticed what: a table of words and colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kit.plots.canvas import caption, new_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike


def checklist(
    rows: Sequence[str], columns: Sequence[str], noticed: ArrayLike, *, word: str = "noticed", text: str = ""
) -> Figure:
    """Draw a table of yes and no.

    Args:
        rows, columns: the labels.
        noticed: truth values (rows, columns).
        word: what stands in a cell that is true; the others hold a dash.
        text: the caption.
    """
    table = np.asarray(noticed, dtype=bool)
    figure, axis = new_figure(width=1.35 * len(columns) + 2, height=0.32 * len(rows) + 0.9)
    axis.imshow(table, cmap="Oranges", vmin=0, vmax=2, aspect="auto")
    for (row, column), yes in np.ndenumerate(table):
        axis.text(column, row, word if yes else "–", ha="center", va="center", fontsize=8)
    axis.set_xticks(range(len(columns)), columns, fontsize=8)
    axis.set_yticks(range(len(rows)), rows, fontsize=8)
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.grid(visible=False)
    caption(figure, text)
    return figure
