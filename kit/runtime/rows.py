"""Whether the rows of a batch touch each other: then a neighbour changes an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.runtime import gate
from kit.runtime.onnx_model import OnnxModel

if TYPE_CHECKING:
    from pathlib import Path

    from kit.variant import Variant

_MIXING = {"DynamicQuantizeLinear", "DynamicQuantizeLSTM", "MatMulDynamicQuantize"}


def mixes_rows(variant: Variant) -> bool:
    """Tell whether a model, or the one it was converted from, scales all rows of a batch by one range."""
    if any(step.settings.get("scheme") == "dynamic" for step in variant.recipe):
        return True
    return isinstance(variant.model, OnnxModel) and file_mixes_rows(variant.model.path)


def file_mixes_rows(path: Path) -> bool:
    """Tell it of an ONNX file by its operators."""
    return any(node.op_type in _MIXING for node in gate.read(path).graph.node)
