"""Line charts as SVG strings: half a millisecond a repaint, where a matplotlib figure takes a hundred."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from math import ceil, floor, isfinite, log10
from typing import TYPE_CHECKING

import numpy as np

from kit.plots.canvas import COLOURS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import ArrayLike

WIDTH, HEIGHT = 300, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 26, 34
_DASHES = ("", "6 3", "2 3", "8 3 2 3")
_POINTS = 160


@dataclass
class Curve:
    """Points of one line; when there are too many for a small chart, neighbours are merged.

    >>> curve = Curve("loss")
    >>> for step in range(10_000):
    ...     curve.add(step, 1 / (1 + step))
    >>> len(curve.x) <= 160
    True
    """

    name: str
    x: list[float] = field(default_factory=list)
    y: list[float] = field(default_factory=list)

    def add(self, x: float, y: float) -> None:
        """Add a point to the right of all others; what is not finite cannot be drawn and is left out."""
        if not isfinite(y):
            return
        self.x.append(x)
        self.y.append(y)
        if len(self.x) > _POINTS:
            half = len(self.x) // 2 * 2
            for values in (self.x, self.y):
                values[:half] = [(a + b) / 2 for a, b in zip(values[:half:2], values[1:half:2], strict=True)]


def chart(
    curves: Sequence[Curve],
    *,
    title: str,
    x_label: str,
    show: Callable[[float], str] = "{:.3g}".format,
    x_range: tuple[float, float] | None = None,
    zero: bool = False,
    beside: bool = False,
) -> str:
    """Draw curves as an `<svg>` that says its last values to a screen reader.

    Args:
        curves: what to draw; colour and dashes follow their order.
        title: what the y axis shows.
        x_label: what the x axis shows.
        show: writes a y value.
        x_range: first and last x; by default those of the points.
        zero: whether the y axis begins at 0.
        beside: whether the names stand beside the chart, each on a line: for many of them.
    """
    drawn = [curve for curve in curves if curve.x]
    last = ", ".join(f"{curve.name} {show(curve.y[-1])}" for curve in drawn) or "no points yet"
    xs, ys = ([v for curve in drawn for v in getattr(curve, axis)] for axis in "xy")
    left, right = x_range or _span(xs)
    x_ticks, y_ticks = ticks(left, right), ticks(*_span([*ys, 0.0] if zero and ys else ys))
    across, up = (
        _scale(left, right, _LEFT, WIDTH - _RIGHT),
        _scale(y_ticks[0], y_ticks[-1], HEIGHT - _BOTTOM, _TOP),
    )
    parts = [_grid(x_ticks, y_ticks, across, up, show)]
    parts += [_line(curve, i, across, up) for i, curve in enumerate(curves) if curve.x]
    names = [curve.name for curve in curves] if len(curves) > 1 else []
    parts += [_names_beside(names) if beside else _names_above(names)]
    width = WIDTH + (10 + 7 * max(map(len, names), default=0) + 30 if beside else 0)
    return (
        f'<svg role="img" aria-label="{escape(f"{title}: {last}")}" viewBox="0 0 {width} {HEIGHT}" '
        f'width="{width}" height="{HEIGHT}" font-size="11" fill="currentColor" class="kit-chart">'
        f'<text x="4" y="13" font-weight="600">{escape(title)}</text>'
        f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 4}" text-anchor="end">{escape(x_label)}</text>'
        f"{''.join(parts)}</svg>"
    )


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return round numbers that cover `low` to `high`, about `count` of them.

    >>> ticks(0.03, 0.97)
    [0.0, 0.5, 1.0]
    """
    rough = max(high - low, 1e-12) / count
    power = 10 ** floor(log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    digits = max(0, -floor(log10(step)))
    return [round(k * step, digits) for k in range(first, max(last, first + 1) + 1)]


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    return (low, high) if high > low else (low - abs(low) / 10 - 1e-9, high + abs(high) / 10 + 1e-9)


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    factor = (end - start) / ((high - low) or 1.0)
    return lambda value: start + (value - low) * factor


def _grid(
    x_ticks: Iterable[float],
    y_ticks: Iterable[float],
    across: Callable[[float], float],
    up: Callable[[float], float],
    show: Callable[[float], str],
) -> str:
    lines = [
        f'<path d="M{_LEFT} {up(y):.1f}H{WIDTH - _RIGHT}" stroke="currentColor" opacity=".15"/>'
        f'<text x="{_LEFT - 5}" y="{up(y) + 4:.1f}" text-anchor="end">{escape(show(y))}</text>'
        for y in y_ticks
    ]
    lines += [
        f'<text x="{across(x):.1f}" y="{HEIGHT - _BOTTOM + 14}" text-anchor="middle">{x:g}</text>'
        for x in x_ticks
        if _LEFT - 1 <= across(x) <= WIDTH - _RIGHT + 1
    ]
    return "".join(lines)


def _line(curve: Curve, index: int, across: Callable[[float], float], up: Callable[[float], float]) -> str:
    points = [f"{across(x):.0f} {up(y):.1f}" for x, y in zip(curve.x, curve.y, strict=True)]
    colour, dashes = COLOURS[index % len(COLOURS)], _DASHES[index % len(_DASHES)]
    x, y = points[-1].split()
    return (
        f'<polyline points="{",".join(points)}" fill="none" stroke="{colour}" stroke-width="1.8" '
        f'stroke-dasharray="{dashes}"/><circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>'
    )


def _names_above(names: Sequence[str]) -> str:
    parts, x = [], float(WIDTH - _RIGHT)
    for index, name in reversed(list(enumerate(names))):
        x -= 6.2 * len(name)
        parts.append(f'<text x="{x:.0f}" y="13">{escape(name)}</text>{_sample(index, x - 24, 9)}')
        x -= 34
    return "".join(parts)


def _names_beside(names: Sequence[str]) -> str:
    return "".join(
        f'<text x="{WIDTH + 30}" y="{_TOP + 4 + 15 * index}">{escape(name)}</text>'
        f"{_sample(index, WIDTH + 4, _TOP + 15 * index)}"
        for index, name in enumerate(names)
    )


def _sample(index: int, x: float, y: float) -> str:
    """Return a short piece of a line, for a legend."""
    colour, dashes = COLOURS[index % len(COLOURS)], _DASHES[index % len(_DASHES)]
    return f'<path d="M{x:.0f} {y:.0f}h20" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'


def histogram(values: ArrayLike, levels: ArrayLike, *, title: str, bins: int = 61) -> str:
    """Draw how often values occur, with ticks beneath at the levels they are rounded to.

    Args:
        values: any number of them.
        levels: where they go; drawn as ticks, and left out where they would merge into a line.
        title: what the values are.
        bins: how many bars.
    """
    found, steps = np.asarray(values, float).ravel(), np.asarray(levels, float)
    edge = float(max(np.abs(found).max(initial=0), np.abs(steps).max(initial=0))) or 1.0
    counts, edges = np.histogram(found, bins, (-edge, edge))
    width, base = 2 * WIDTH, HEIGHT - 40
    across, up = _scale(-edge, edge, 8, width - 8), _scale(0, max(int(counts.max()), 1), base, _TOP)
    bars = "".join(
        f'<rect x="{across(left):.1f}" y="{up(n):.1f}" width="{across(right) - across(left) - 0.6:.1f}" '
        f'height="{base - up(n):.1f}" fill="{COLOURS[0]}"/>'
        for n, left, right in zip(counts, edges, edges[1:], strict=False)
        if n
    )
    marks = "".join(
        f'<path d="M{across(x):.1f} {base + 2}v9" stroke="{COLOURS[1]}" stroke-width="1.5"/>' for x in steps
    )
    labels = "".join(
        f'<text x="{across(x):.1f}" y="{HEIGHT - 12}" text-anchor="middle">{x:.2g}</text>'
        for x in (-0.9 * edge, 0.0, 0.9 * edge)
    )
    label = f"{title}: {found.size:,} values from {found.min():.3g} to {found.max():.3g}, {steps.size} levels"
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {width} {HEIGHT}" width="{width}" '
        f'height="{HEIGHT}" font-size="11" fill="currentColor" class="kit-chart">'
        f'<text x="8" y="13" font-weight="600">{escape(title)}</text>{bars}'
        f"{marks if steps.size <= 2 * bins else ''}{labels}</svg>"
    )
