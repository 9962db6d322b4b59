"""Latency: its whole distribution, and what it means for throughput."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kit.plots.canvas import caption, new_figure, style

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

    from kit.statistics import Measurement

_PERCENTILES = (50, 90, 99)
_SMALL: dict[str, Any] = {"fontsize": 7.5, "title_fontsize": 7.5, "frameon": False}


def latency(times: Mapping[str, ArrayLike], *, conditions: str, title: str = "Latency") -> Figure:
    """Draw the share of calls that had answered by a time, with p50, p90 and p99 marked.

    Args:
        times: the time of each call in ms, by model.
        conditions: the caption: n, clock and threads.
        title: above the figure.
    """
    figure, axis = new_figure(width=7.6, height=3.7)
    for index, (name, values) in enumerate(times.items()):
        ordered = np.sort(np.asarray(values, dtype=np.float64).ravel())
        marks = np.percentile(ordered, _PERCENTILES)
        look = style(index)
        shares = 100 * np.arange(1, len(ordered) + 1) / len(ordered)
        axis.plot(ordered, shares, color=look["color"], linestyle=look["linestyle"], linewidth=1.4)
        axis.plot(
            marks,
            _PERCENTILES,
            color=look["color"],
            marker=look["marker"],
            linestyle="none",
            markersize=6,
            label=f"{name}: {' / '.join(f'{mark:.3g}' for mark in marks)}",
        )
    for percentile in _PERCENTILES:
        axis.axhline(percentile, color="#888888", linewidth=0.6, linestyle=(0, (4, 4)), zorder=0)
    axis.set_yticks([0, 25, *_PERCENTILES], ["0", "25", *(f"p{q}" for q in _PERCENTILES)])
    axis.set_ylabel("calls answered, %")
    axis.set_xlabel("ms a call")
    _logarithmic(axis, "x")
    axis.set_title(title, fontsize=10)
    figure.legend(title="p50 / p90 / p99, ms", loc="outside right center", **_SMALL)
    caption(figure, conditions)
    return figure


def throughput(series: Mapping[str, Sequence[tuple[int, Measurement]]], *, conditions: str) -> Figure:
    """Draw samples a second over batch sizes, both logarithmic, with intervals as bars.

    Args:
        series: batch size and samples a second, by model.
        conditions: the caption: n, clock and threads.
    """
    figure, axis = new_figure(width=7.6, height=3.7)
    sizes = sorted({size for points in series.values() for size, _ in points})
    for index, (name, points) in enumerate(series.items()):
        x = [size for size, _ in points]
        y = np.array([measured.value for _, measured in points])
        bars = [y - [m.low for _, m in points], [m.high for _, m in points] - y]
        axis.errorbar(
            x,
            y,
            yerr=np.maximum(bars, 0),
            **style(index),
            capsize=2.5,
            markersize=6,
            linewidth=1.4,
            label=name,
        )
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.set_xlabel("batch, samples a call")
    axis.set_ylabel("samples a second")
    _logarithmic(axis, "y")
    figure.legend(loc="outside right center", **_SMALL)
    axis.set_title("Throughput", fontsize=10)
    caption(figure, conditions)
    return figure


def _logarithmic(axis: Axes, which: str) -> None:
    """Make an axis logarithmic with plain numbers at 1, 2 and 5 times a power of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    scaled, numbers = (axis.set_xscale, axis.xaxis) if which == "x" else (axis.set_yscale, axis.yaxis)
    scaled("log")
    low, high = axis.get_xlim() if which == "x" else axis.get_ylim()
    numbers.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 500 else (1,)))
    numbers.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    numbers.set_minor_formatter(NullFormatter())
