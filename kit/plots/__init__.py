"""Figures: units, n and the machine on each; readable without colour. They take plain numbers."""

from kit.plots.canvas import caption, new_figure
from kit.plots.images import image_rows
from kit.plots.pruning import layer_bars, sensitivity, weight_histograms
from kit.plots.training import training_curves

__all__ = [
    "caption",
    "image_rows",
    "layer_bars",
    "new_figure",
    "sensitivity",
    "training_curves",
    "weight_histograms",
]
