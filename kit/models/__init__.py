"""Small reference nets. Each carries its architecture, so that a model folder can rebuild it."""

from kit.models.architecture import Architecture, architecture_of, build, factories, fit_to_weights
from kit.models.convnet import convnet
from kit.models.lenet import lenet5, lenet_300_100
from kit.models.mobilenet import mobilenet

__all__ = [
    "Architecture",
    "architecture_of",
    "build",
    "convnet",
    "factories",
    "fit_to_weights",
    "lenet5",
    "lenet_300_100",
    "mobilenet",
]
