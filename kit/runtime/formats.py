"""The formats of model files: how each is called, where it runs, and what brings its library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kit.errors import unknown

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Format:
    """A format of model files.

    Attributes:
        name: as in `kit.convert(model, name)`.
        suffix: of its files; a SavedModel is a folder.
        runtime: what runs it.
        extra: the extra that brings its libraries; empty for the core.
        channels_last: whether images have their channels last in it, as everywhere around TensorFlow.
        about: one line.
    """

    name: str
    suffix: str
    runtime: str
    extra: str = ""
    channels_last: bool = False
    about: str = ""


_ALL = (
    Format("onnx", ".onnx", "onnxruntime", about="ONNX, the format in the middle"),
    Format("openvino", ".xml", "openvino", "openvino", about="OpenVINO IR: an .xml and a .bin"),
    Format("pt2", ".pt2", "torch", about="a program of torch.export, no Python needed to run it"),
    Format("state_dict", ".pt", "torch", about="the weights alone, for a module that you have"),
    Format("safetensors", "", "torch", about="a model folder: safetensors and a card"),
    Format("keras", ".keras", "keras", "formats", channels_last=True, about="a Keras model, trainable"),
    Format(
        "tflite", ".tflite", "litert", "tensorflow", channels_last=True, about="LiteRT (TFLite), for phones"
    ),
    Format(
        "saved_model", "", "tensorflow", "tensorflow", channels_last=True, about="a TensorFlow SavedModel"
    ),
)
FORMATS: Mapping[str, Format] = {one.name: one for one in _ALL}


def find(name: str) -> Format:
    """Return the format of a name.

    Raises:
        ArgumentError: when there is none; the near misses are named.
    """
    if name not in FORMATS:
        raise unknown("format", name, FORMATS)
    return FORMATS[name]
