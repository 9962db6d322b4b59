"""A scatter of points that can be chosen, as SVG."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from kit.plots.canvas import COLOURS
from kit.widgets.curves import ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 520, 300, 54, 20, 24, 40


@dataclass(frozen=True)
class Dot:
    """One point.

    Attributes:
        name: its label, and what choosing it says.
        x, y: where it stands.
        interval: low and high of `y`.
        filled: hollow points are beaten by others.
        chosen, best: how it is marked: a ring, a star.
    """

    name: str
    x: float
    y: float
    interval: tuple[float, float]
    filled: bool = True
    chosen: bool = False
    best: bool = False


def scatter(dots: Sequence[Dot], *, x_label: str, y_label: str) -> str:
    """Draw points as buttons: Tab walks through them, Enter chooses."""
    xs = ticks(0.0, max(dot.x for dot in dots), 5)
    ys = ticks(min(dot.interval[0] for dot in dots), max(dot.interval[1] for dot in dots), 5)

    def across(x: float) -> float:
        return _LEFT + (x - xs[0]) / (xs[-1] - xs[0]) * (_WIDTH - _LEFT - _RIGHT)

    def up(y: float) -> float:
        return _HEIGHT - _BOTTOM - (y - ys[0]) / (ys[-1] - ys[0]) * (_HEIGHT - _BOTTOM - _TOP)

    grid = "".join(
        f'<path d="M{_LEFT} {up(y):.1f}H{_WIDTH - _RIGHT}" stroke="currentColor" opacity=".15"/>'
        f'<text x="{_LEFT - 6}" y="{up(y) + 4:.1f}" text-anchor="end">{y:g}</text>'
        for y in ys
    ) + "".join(
        f'<text x="{across(x):.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{x:g}</text>'
        for x in xs
    )
    points = "".join(
        _point(i, dot, across(dot.x), [up(y) for y in (dot.y, *dot.interval)]) for i, dot in enumerate(dots)
    )
    label = f"{y_label} against {x_label}, {len(dots)} variants"
    return (
        f'<svg role="group" aria-label="{escape(label)}" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" font-size="11" fill="currentColor" class="kit-chart">'
        f'<text x="4" y="13" font-weight="600">{escape(y_label)}</text>'
        f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 6}" text-anchor="end" font-weight="600">{escape(x_label)}'
        f"</text>{grid}{points}</svg>"
    )


def _point(index: int, dot: Dot, x: float, heights: Sequence[float]) -> str:
    y, low, high = heights
    colour = COLOURS[index % len(COLOURS)]
    fill = colour if dot.filled else "var(--jp-layout-color0, white)"
    said = escape(f"{dot.name}: {dot.y:.4g} at {dot.x:.4g}{', best within the budget' if dot.best else ''}")
    place, anchor = (x - 14, "end") if x > _WIDTH - 140 else (x + 14, "start")
    ring = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="11" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    return (
        f'<g role="button" tabindex="0" data-choice="{escape(dot.name)}" aria-label="{said}" '
        f'aria-pressed="{str(dot.chosen).lower()}" style="cursor:pointer"><title>{said}</title>'
        f'<path d="M{x:.1f} {low:.1f}V{high:.1f}" stroke="{colour}" stroke-width="1.5"/>'
        f'{ring if dot.chosen else ""}<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{fill}" '
        f'stroke="{colour}" stroke-width="2"/><text x="{place:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}">'
        f"{'★ ' if dot.best else ''}{escape(dot.name)}</text></g>"
    )
