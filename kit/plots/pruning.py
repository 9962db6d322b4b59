"""Figures of pruning: what each layer bears, what became of the weights, what each layer still costs."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import EngFormatter

from kit.plots.canvas import COLOURS, caption, new_figure, style

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

    Interval = tuple[float, float, float]


def sensitivity(
    scores: Mapping[str, Sequence[Interval]],
    ratios: Sequence[float],
    *,
    dense: Interval,
    metric: str,
    text: str,
    columns: int = 4,
) -> Figure:
    """Draw one small panel a layer: the metric against the ratio removed, and the dense net as a line.

    Args:
        scores: value, low and high at each ratio, by layer.
        ratios: fractions removed.
        dense: value, low and high of the dense net.
        metric: the name of the metric, such as "accuracy".
        text: the caption: how many samples, which split.
        columns: panels in a row.
    """
    rows, columns = _grid(len(scores), columns)
    figure, axes = new_figure(
        rows,
        columns,
        width=max(2.1 * columns, 4),
        height=1.8 * rows + 0.6,
        squeeze=False,
        sharex=True,
        sharey=True,
    )
    for axis in axes.flat[len(scores) :]:
        axis.set_axis_off()
    for axis, (layer, points) in zip(axes.flat, scores.items(), strict=False):
        values, low, high = np.asarray([dense, *points]).T
        axis.axhline(dense[0], color="#555555", linestyle="--", linewidth=1)
        axis.fill_between([0, *ratios], low, high, color=COLOURS[0], alpha=0.2, linewidth=0)
        axis.plot([0, *ratios], values, **style(0), markersize=3.5, linewidth=1.2)
        axis.set_title(layer, fontsize=8)
        axis.tick_params(labelsize=7)
        axis.set_xlim(-0.05, 1)
    for axis in axes[:, 0]:
        axis.set_ylabel(metric, fontsize=8)
    for axis in axes.flat[max(0, len(scores) - columns) : len(scores)]:
        axis.set_xlabel("fraction removed", fontsize=8)
        axis.tick_params(labelbottom=True)
    figure.suptitle("What each layer bears alone (dashed: the dense net)", fontsize=10)
    caption(figure, text)
    return figure


def weight_histograms(weights: Mapping[str, tuple[ArrayLike, ArrayLike]], *, columns: int = 3) -> Figure:
    """Draw how often each weight occurs before and after, one panel a layer, counts on a log scale.

    Exact zeros get a bar of their own, marked with their number: in a histogram they would drown in the
    bin around 0.

    Args:
        weights: the weights before and after, of any shape, by layer.
        columns: panels in a row.
    """
    rows, columns = _grid(len(weights), columns)
    figure, axes = new_figure(
        rows, columns, width=max(2.8 * columns, 4), height=2.1 * rows + 0.6, squeeze=False
    )
    for axis in axes.flat[len(weights) :]:
        axis.set_axis_off()
    for axis, (layer, (before, after)) in zip(axes.flat, weights.items(), strict=False):
        old, new = (np.asarray(part).ravel() for part in (before, after))
        edges = np.linspace(min(old.min(), new.min()), max(old.max(), new.max()), 61)
        zeros = int((new == 0).sum())
        axis.hist(old, edges, histtype="step", color=COLOURS[0], label=f"before, {old.size:,}")
        axis.hist(
            new[new != 0],
            edges,
            color=COLOURS[1],
            alpha=0.6,
            hatch="//",
            label=f"after, {new.size - zeros:,}",
        )
        if zeros:
            axis.bar(0, zeros, width=edges[1] - edges[0], color=COLOURS[6], label=f"exactly 0, {zeros:,}")
        axis.set_yscale("log")
        axis.set_title(layer, fontsize=8)
        axis.tick_params(labelsize=7)
        axis.legend(fontsize=6, frameon=False)
    for axis in axes[:, 0]:
        axis.set_ylabel("weights", fontsize=8)
    for axis in axes.flat[max(0, len(weights) - columns) : len(weights)]:
        axis.set_xlabel("value", fontsize=8)
    caption(figure, "bins of equal width, counts on a log scale")
    return figure


def layer_bars(
    layers: Sequence[str],
    quantities: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    text: str = "numbers for one sample",
) -> Figure:
    """Draw each layer's quantities before and after as bars, one panel a quantity.

    Args:
        layers: their names, in the order of the net.
        quantities: before and after for each layer, by the name of the quantity, such as "parameters".
        text: the caption.
    """
    figure, axes = new_figure(
        1,
        len(quantities),
        width=3.4 * len(quantities),
        height=0.32 * len(layers) + 1.3,
        squeeze=False,
        sharey=True,
    )
    places = np.arange(len(layers))
    for axis, (quantity, (before, after)) in zip(axes[0], quantities.items(), strict=True):
        axis.barh(places - 0.2, before, 0.38, color=COLOURS[0], label="before")
        axis.barh(places + 0.2, after, 0.38, color=COLOURS[1], hatch="//", label="after")
        axis.set_xlabel(quantity, fontsize=8)
        axis.set_yticks(places, layers, fontsize=8)
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.tick_params(labelsize=7)
    axes[0, 0].invert_yaxis()
    axes[0, 0].legend(fontsize=7, frameon=False)
    caption(figure, text)
    return figure


def _grid(panels: int, columns: int) -> tuple[int, int]:
    """Return rows and columns for so many panels, as evenly filled as they go."""
    rows = ceil(panels / columns)
    return rows, ceil(panels / rows)
