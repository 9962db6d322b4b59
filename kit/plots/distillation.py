"""Figures of distillation: what a teacher thinks of one sample, the softer the more of it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kit.plots.canvas import COLOURS, caption, new_figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike


def softened(
    image: ArrayLike,
    answers: Mapping[float, ArrayLike],
    classes: Sequence[str],
    *,
    target: int,
    text: str = "",
) -> Figure:
    """Draw one image and a bar a class for each temperature; the true class is hatched.

    Args:
        image: (C, H, W), C = 1 or 3.
        answers: probabilities (classes,) by temperature.
        classes: their names.
        target: the index of the true class.
        text: the caption.
    """
    figure, axes = new_figure(
        1, len(answers) + 1, width=1.7 * (len(answers) + 1), height=0.2 * len(classes) + 1.3
    )
    picture, *panels = axes
    pixels = np.moveaxis(np.asarray(image), 0, -1)
    picture.imshow(pixels, cmap="gray_r" if pixels.shape[-1] == 1 else None)
    picture.set_axis_off()
    picture.set_title(classes[target], fontsize=9)
    for axis, (temperature, probabilities) in zip(panels, answers.items(), strict=True):
        bars = axis.barh(range(len(classes)), np.asarray(probabilities), color=COLOURS[0])
        bars[target].set(facecolor=COLOURS[1], edgecolor="black", linewidth=0, hatch="//")
        axis.set_title(f"T = {temperature:g}", fontsize=9)
        axis.set_xlim(0, 1)
        axis.tick_params(labelsize=7)
        axis.set_yticks(range(len(classes)), classes if axis is panels[0] else [])
        axis.set_xlabel("probability", fontsize=7)
        axis.invert_yaxis()
    caption(figure, text)
    return figure
