"""The float32 file that quantization starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from kit.compression.quantization.onnx_layers import check_float, layers
from kit.conversion.export import export
from kit.errors import ArgumentError, ModelError
from kit.runtime.onnx_model import OnnxModel

if TYPE_CHECKING:
    from pathlib import Path

    from kit.data import Dataset
    from kit.variant import Variant


def float_variant(variant: Variant, dataset: Dataset | None) -> Variant:
    """Return the ONNX variant to start from: the one given, or the module's export.

    Raises:
        ArgumentError: when a module comes without data.
    """
    if isinstance(variant.model, OnnxModel):
        return variant
    if dataset is None:
        raise ArgumentError(
            f"{variant.name!r} is a module and is exported first: give data to prove it equal"
        )
    return export(variant, data=dataset)


def checked_file(source: Variant) -> Path:
    """Return the file of a float32 variant that has something to quantize.

    Raises:
        ModelError: when it is quantized already, or has no layer with weights.
    """
    assert source.file is not None  # an OnnxModel always has one
    model = onnx.load(source.file)
    check_float(model, source.name)
    if not layers(model):
        kinds = sorted({node.op_type for node in model.graph.node})
        raise ModelError(f"{source.name!r} has no Conv, Gemm or MatMul to quantize, only {', '.join(kinds)}")
    return source.file
