"""Figures: units, n and the machine on each; readable without colour. They take plain numbers."""

from kit.plots.canvas import caption, new_figure
from kit.plots.checklist import checklist
from kit.plots.confusion import confusion
from kit.plots.distillation import softened
from kit.plots.images import image_rows
from kit.plots.latency import latency, throughput
from kit.plots.pareto import Point, pareto
from kit.plots.prediction import prediction
from kit.plots.pruning import layer_bars, sensitivity, weight_histograms
from kit.plots.quantization import levels, signal_to_noise
from kit.plots.training import training_curves

__all__ = [
    "Point",
    "caption",
    "checklist",
    "confusion",
    "image_rows",
    "latency",
    "layer_bars",
    "levels",
    "new_figure",
    "pareto",
    "prediction",
    "sensitivity",
    "signal_to_noise",
    "softened",
    "throughput",
    "training_curves",
    "weight_histograms",
]
