"""The Pareto front: quality against what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.text import Text

from kit.plots.canvas import caption, new_figure, style

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Box = tuple[float, ...]


@dataclass(frozen=True)
class Point:
    """One model in a plot of quality against cost.

    Attributes:
        name: its label.
        cost, quality: where it stands.
        cost_interval, quality_interval: low and high, drawn as error bars; None for an exact number.
        dominated: whether another point is better and cheaper: drawn hollow.
    """

    name: str
    cost: float
    quality: float
    cost_interval: tuple[float, float] | None = None
    quality_interval: tuple[float, float] | None = None
    dominated: bool = False


def pareto(
    points: Sequence[Point],
    *,
    cost: str,
    quality: str,
    text: str,
    lower_is_better: bool = False,
) -> Figure:
    """Draw quality against cost; the first point is the baseline, marked by a ring and dashed lines.

    Args:
        points: the models, the baseline first.
        cost, quality: labels of the axes, with units.
        text: the caption: n and conditions.
        lower_is_better: whether a good quality is a small number, such as an error.
    """
    figure, axis = new_figure(width=6.4, height=4.2)
    front = sorted((p for p in points if not p.dominated), key=lambda p: p.cost)
    axis.plot([p.cost for p in front], [p.quality for p in front], **_FRONT)
    for index, point in enumerate(points):
        look = style(index)
        axis.errorbar(
            point.cost,
            point.quality,
            xerr=_bars(point.cost, point.cost_interval),
            yerr=_bars(point.quality, point.quality_interval),
            color=look["color"],
            marker=look["marker"],
            linestyle="none",
            markerfacecolor="white" if point.dominated else look["color"],
            markersize=8,
            markeredgewidth=1.6,
            elinewidth=1.0,
            capsize=2.5,
            zorder=4 - index / len(points),  # the baseline on top
        )
    if points:
        first = points[0]
        axis.plot(first.cost, first.quality, "o", markersize=16, mfc="none", mec="#555555", zorder=2)
        for draw, at in ((axis.axvline, first.cost), (axis.axhline, first.quality)):
            draw(at, color="#888888", linewidth=0.7, linestyle=(0, (4, 4)), zorder=1)
    _room(axis, points)
    axis.set_xlabel(cost + "  (← cheaper)")
    axis.set_ylabel(quality + ("  (better ↓)" if lower_is_better else "  (better ↑)"))
    axis.set_title("Filled: on the Pareto front.  Hollow: beaten in both.  Ring: baseline.", fontsize=8)
    caption(figure, text)
    _label(figure, axis, points)
    return figure


_FRONT = {"color": "#444444", "linewidth": 1.0, "linestyle": "-", "drawstyle": "steps-post", "zorder": 1}


def _bars(value: float, interval: tuple[float, float] | None) -> list[list[float]] | None:
    if interval is None:
        return None
    return [[max(0.0, value - interval[0])], [max(0.0, interval[1] - value)]]


def _room(axis: Axes, points: Sequence[Point]) -> None:
    """Use a logarithmic cost axis when costs span more than a factor of eight; leave room for labels."""
    costs = [p.cost for p in points if p.cost > 0]
    if costs and max(costs) / min(costs) > 8:
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
    axis.margins(0.18, 0.16)


def _label(figure: Figure, axis: Axes, points: Sequence[Point]) -> None:
    """Write each name beside its point, where it covers least of the others."""
    figure.draw_without_rendering()
    dot = figure.dpi / 72
    places = [axis.transData.transform((point.cost, point.quality)) for point in points]
    taken: list[Box] = [(x - 6 * dot, y - 6 * dot, x + 6 * dot, y + 6 * dot) for x, y in places]
    for point, (x, y) in zip(points, places, strict=True):
        note = axis.annotate(
            point.name,
            (point.cost, point.quality),
            (0, 0),
            textcoords="offset points",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": "#999999", "linewidth": 0.6, "shrinkB": 5},
            zorder=5,
        )
        extent = Text.get_window_extent(note)  # without the line to the point
        width, height = extent.width, extent.height

        def box(
            offset: tuple[float, float], x: float = x, y: float = y, w: float = width, h: float = height
        ) -> Box:
            return (x + offset[0], y + offset[1], x + offset[0] + w, y + offset[1] + h)

        def crowding(offset: tuple[float, float], box: Callable[..., Box] = box) -> float:
            inside = box(offset)
            frame = tuple(axis.bbox.extents)
            return sum(_overlap(inside, other) for other in taken) + 3 * _outside(inside, frame)

        best = min(_around(width, height, dot), key=crowding)
        note.set_position((best[0] / dot, best[1] / dot))
        taken.append(box(best))


def _around(width: float, height: float, dot: float) -> list[tuple[float, float]]:
    """Return where the lower left corner of a label may stand, in pixels from its point, best first."""
    places = []
    for far in (1.0, 2.5, 4.5):
        aside, near, above = 9 * dot, 5 * dot * far, 13 * dot * far
        places += [(aside, near), (aside, -near - height), (-aside - width, near)]
        places += [(-aside - width, -near - height), (-width / 2, above), (-width / 2, -above - height)]
    return places


def _overlap(one: Box, other: Box) -> float:
    """Return the area, in pixels, that two boxes (left, bottom, right, top) share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def _outside(box: Box, frame: Box) -> float:
    """Return the area of a box that lies outside the frame."""
    return (box[2] - box[0]) * (box[3] - box[1]) - _overlap(box, frame)
