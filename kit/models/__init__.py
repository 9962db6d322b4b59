"""Small reference nets. Each carries its architecture, so that a model folder can rebuild it."""

from kit.models.architecture import Architecture, architecture_of, build, factories, fit_to_weights
from kit.models.characters import charnet
from kit.models.convnet import convnet
from kit.models.gpt import gpt
from kit.models.lenet import lenet5, lenet_300_100
from kit.models.mobilenet import mobilenet
from kit.models.spotter import spotter

__all__ = [
    "Architecture",
    "architecture_of",
    "build",
    "charnet",
    "convnet",
    "factories",
    "fit_to_weights",
    "gpt",
    "lenet5",
    "lenet_300_100",
    "mobilenet",
    "spotter",
]
