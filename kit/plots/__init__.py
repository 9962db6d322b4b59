"""Figures: units, n and the machine on each; readable without colour. They take plain numbers."""

from kit.plots.canvas import caption, new_figure
from kit.plots.images import image_rows

__all__ = ["caption", "image_rows", "new_figure"]
