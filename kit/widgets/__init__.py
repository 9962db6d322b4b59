"""Widgets: live panels over the verbs, each with the line of code it stands for."""

from kit.widgets.clip import Clip
from kit.widgets.data import Data
from kit.widgets.distillation import Distillation
from kit.widgets.frontier import Frontier
from kit.widgets.hardware import Hardware
from kit.widgets.photo import Photo
from kit.widgets.predict import Predict
from kit.widgets.prompt import Prompt
from kit.widgets.pruning import Pruning
from kit.widgets.quantization import Quantization
from kit.widgets.sketch import Sketch
from kit.widgets.training import Training

__all__ = [
    "Clip",
    "Data",
    "Distillation",
    "Frontier",
    "Hardware",
    "Photo",
    "Predict",
    "Prompt",
    "Pruning",
    "Quantization",
    "Sketch",
    "Training",
]
