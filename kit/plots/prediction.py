"""A prediction beside the measurement."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from kit.plots.canvas import caption, new_figure, style
from kit.statistics import Measurement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LINE = 60  # characters of a title that fit the figure


def prediction(
    said: float | None, measured: Measurement | float, *, unit: str = "", title: str = "Prediction"
) -> Figure:
    """Draw what was predicted over what was measured, with its interval.

    Args:
        said: the prediction; None draws the measurement alone.
        measured: the measurement, in the same unit.
        unit: of both, such as "×".
        title: the question.
    """
    figure, axis = new_figure(width=6.0, height=1.9)
    found = measured if isinstance(measured, Measurement) else None
    rows = [("measured", float(measured), 0)]
    if said is not None:
        rows.append(("predicted", said, 1))
    for _name, value, row in rows:
        look = style(row)
        axis.plot(value, row, color=look["color"], marker=look["marker"], markersize=9, linestyle="none")
        axis.annotate(
            f"{value:.3g}{unit}", (value, row), (0, 9), textcoords="offset points", ha="center", fontsize=8
        )
    if found is not None:
        axis.hlines(0, found.low, found.high, color=style(0)["color"], linewidth=3, alpha=0.5)
    axis.set(ylim=(-0.6, len(rows) - 0.2), xlabel=unit, title=textwrap.fill(title, _LINE))
    axis.set_yticks([row for _, _, row in rows], [name for name, _, _ in rows])
    axis.margins(x=0.15)
    if min(value for _, value, _ in rows) >= 0:
        axis.set_xlim(left=0)
    interval = "" if found is None else f", n = {found.n:,}, {found.method or 'interval'} as a bar"
    caption(figure, f"measured{interval}")
    return figure
