"""Rows of small images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kit.plots.canvas import new_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray


def image_rows(
    rows: Sequence[tuple[str, NDArray[np.generic]]], *, title: str = "", columns: Sequence[str] = ()
) -> Figure:
    """Draw rows of images (n, C, H, W), C = 1 or 3, each row with its label.

    Args:
        rows: label and images of each row.
        title: above the figure.
        columns: a label over each column.
    """
    width = max((len(images) for _, images in rows), default=1) or 1
    figure, axes = new_figure(
        len(rows),
        width,
        width=0.75 * width + 1.2,
        height=0.75 * len(rows) + (0.8 if columns else 0.4),
        squeeze=False,
    )
    for (label, images), line in zip(rows, axes, strict=True):
        for axis in line:
            axis.set_axis_off()
        for axis, image in zip(line, images, strict=False):
            axis.imshow(
                np.moveaxis(image, 0, -1),
                cmap="gray_r" if image.shape[0] == 1 else None,
                interpolation="nearest",
            )
        line[0].text(-0.15, 0.5, label, ha="right", va="center", transform=line[0].transAxes, fontsize=9)
    for axis, text in zip(axes[0], columns, strict=False):
        axis.set_title(text, fontsize=7)
    figure.suptitle(title, fontsize=10)
    return figure
