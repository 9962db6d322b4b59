"""Figures of quantization: the signal left in each layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kit.plots.canvas import COLOURS, caption, new_figure, style

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike


def signal_to_noise(rows: Sequence[tuple[str, float, float]], *, title: str = "") -> Figure:
    """Draw the signal-to-noise ratio of each layer's weights and outputs, in decibels.

    Args:
        rows: the layer's name, then decibels of its weights and of its outputs; infinite where exact.
        title: above the figure.
    """
    figure, axis = new_figure(width=6.4, height=0.3 * len(rows) + 1.3)
    places = np.arange(len(rows))
    finite = [value for row in rows for value in row[1:] if np.isfinite(value)]
    edge = 1.08 * max(finite, default=1.0)
    for index, (label, column) in enumerate((("weights", 1), ("output, all errors so far", 2))):
        values = np.array([row[column] for row in rows], dtype=float)
        exact = ~np.isfinite(values)
        look = style(index)
        axis.plot(np.where(exact, np.nan, values), places, label=label, **look)
        axis.plot(np.full(exact.sum(), edge), places[exact], **{**look, "linestyle": ""}, fillstyle="none")
        for place in places[exact]:
            axis.annotate("exact", (edge, place), xytext=(5, -3), textcoords="offset points", fontsize=7)
    axis.set_yticks(places, [row[0] for row in rows], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("signal-to-noise ratio (dB): 6 more are one bit more")
    axis.legend(fontsize=8, frameon=False)
    axis.set_title(title, fontsize=10)
    caption(figure, f"{len(rows)} layers")
    return figure


def levels(weights: ArrayLike, steps: ArrayLike, *, title: str = "") -> Figure:
    """Draw how often each weight occurs, and beneath it the levels that it is rounded to.

    Args:
        weights: of one output or one layer.
        steps: the levels, ascending.
        title: above the figure.
    """
    values, places = np.asarray(weights).ravel(), np.asarray(steps)
    figure, axis = new_figure(width=6.4, height=2.8)
    counts, _, _ = axis.hist(values, 61, color=COLOURS[0])
    axis.plot(places, np.full(len(places), -0.06 * counts.max()), "|", color=COLOURS[1], markersize=9)
    axis.set_xlabel(f"value; ticks: the {len(places)} levels, {places[1] - places[0]:.3g} apart")
    axis.set_ylabel("weights")
    axis.set_title(title, fontsize=10)
    caption(figure, f"{values.size:,} weights")
    return figure


def bit_sensitivity(losses: Mapping[str, Sequence[float]], bits: Sequence[int], *, text: str = "") -> Figure:
    """Draw what few bits in one layer alone do to the answers, a row a layer, on a log scale.

    Args:
        losses: the loss at each number of bits, by layer.
        bits: these numbers.
        text: the caption.
    """
    figure, axis = new_figure(width=6.4, height=0.3 * len(losses) + 1.3)
    places = np.arange(len(losses))
    values = np.array(list(losses.values()), dtype=float)
    for index, number in enumerate(bits):
        axis.plot(values[:, index], places, label=f"{number} bits", **{**style(index), "linestyle": ""})
    axis.hlines(places, values.min(1), values.max(1), color="#bbbbbb", linewidth=1, zorder=0)
    axis.set_yticks(places, list(losses), fontsize=8)
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.set_xlabel("loss: distance from the answers of float32")
    axis.legend(fontsize=8, frameon=False)
    axis.set_title("What fewer bits in one layer alone do", fontsize=10)
    caption(figure, text)
    return figure
