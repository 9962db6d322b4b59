"""Confusion matrices: what is taken for what, and what compression changed of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kit.plots.canvas import caption, new_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_LARGEST_WITH_NUMBERS = 20


def confusion(
    counts: NDArray[np.int64],
    classes: Sequence[str],
    *,
    title: str,
    data: str,
    against: tuple[str, NDArray[np.int64]] | None = None,
) -> Figure:
    """Draw a confusion matrix in percent of each true class; beside it what changed since another one.

    Args:
        counts: (true class, predicted class).
        classes: names, in order.
        title: the model's name.
        data: the data set and split, for the caption.
        against: name and counts of the model to compare with, on the same samples.
    """
    side = 1.6 + 0.36 * max(len(classes), 5)
    figure, axes = new_figure(
        1, 1 + (against is not None), width=side * (1.95 if against else 1.15), height=side
    )
    panels = np.atleast_1d(axes)
    rows = _rows(counts)
    _panel(panels[0], rows, classes, colours="Blues", limits=(0, 100), signed=False)
    panels[0].set_title(f"{title}\n% of each true class", fontsize=9)
    panels[0].set_ylabel("true class")
    if against is not None:
        change = rows - _rows(against[1])
        # Right answers more often is good, wrong ones more often is bad: one sign for "better".
        better = np.where(np.eye(len(classes), dtype=bool), change, -change)
        limit = max(2.0, float(np.abs(change).max()))
        _panel(panels[1], change, classes, colours="PuOr", limits=(-limit, limit), signed=True, shade=better)
        panels[1].set_title(f"change since {against[0]}, points\nviolet: better, orange: worse", fontsize=9)
        panels[1].set_yticklabels([])
    for axis in panels:
        axis.set_xlabel("predicted class")
    caption(figure, f"{data}, n = {int(counts.sum()):,}")
    return figure


def _rows(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def _panel(
    axis: Axes,
    values: NDArray[np.float64],
    classes: Sequence[str],
    *,
    colours: str,
    limits: tuple[float, float],
    signed: bool,
    shade: NDArray[np.float64] | None = None,
) -> None:
    """Draw one matrix, with its numbers when there is room for them."""
    shade = values if shade is None else shade
    axis.imshow(shade, cmap=colours, vmin=limits[0], vmax=limits[1])
    axis.grid(visible=False)
    ticks = range(len(classes))
    axis.set_xticks(ticks, classes, rotation=45, ha="right", rotation_mode="anchor", fontsize=7.5)
    axis.set_yticks(ticks, classes, fontsize=7.5)
    axis.spines[:].set_visible(False)
    if len(classes) > _LARGEST_WITH_NUMBERS:
        return
    for (row, column), value in np.ndenumerate(values):
        text = f"{value:+.1f}".replace("-", "−") if signed else f"{value:.0f}"
        if abs(value) < (0.05 if signed else 0.5):
            continue
        share = (shade[row, column] - limits[0]) / (limits[1] - limits[0])
        dark = share > 0.6 if not signed else not 0.2 < share < 0.8
        axis.text(
            column, row, text, ha="center", va="center", fontsize=6.5, color="white" if dark else "#222222"
        )
