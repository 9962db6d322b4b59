"""scikit-learn to ONNX: trees, forests, support vector machines, and pipelines that end in one.

What a pipeline does before its last step is computed in float64, as scikit-learn does, and rounded once.
Computed in float32, a scaled number can fall on the other side of a tree's threshold: on the digits of
scikit-learn that changes the answer of a scaler and a forest for one row in five.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, compose, helper

from kit.conversion.adapt import take_log
from kit.errors import ExportError, require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_OPSETS = {"": 20, "ai.onnx.ml": 3}


def is_table_model(model: object) -> bool:
    """Tell whether this is an estimator of scikit-learn."""
    return hasattr(model, "get_params") and hasattr(model, "predict") and hasattr(model, "fit")


def answers(model: Any, inputs: Floats) -> tuple[Floats, bool]:
    """Return what an estimator says of rows (N, features), and whether these are probabilities.

    A classifier gives probabilities (N, classes), or the scores of its decision function: of two classes
    (-score, score). A regression gives (N, outputs).

    Raises:
        ExportError: when it has not been fitted, or cannot take such rows.
    """
    rows = inputs.astype(np.float64)
    try:
        if hasattr(model, "predict_proba"):
            return np.asarray(model.predict_proba(rows), np.float32), True
        if hasattr(model, "decision_function"):
            scores = np.asarray(model.decision_function(rows), np.float32)
            return (np.stack([-scores, scores], 1) if scores.ndim == 1 else scores), False
        return np.asarray(model.predict(rows), np.float32).reshape(len(rows), -1), False
    except Exception as error:  # not fitted, other features: each estimator has its own
        first = str(error).splitlines()[0]
        raise ExportError(f"{type(model).__name__} cannot take rows {inputs.shape}: {first}") from error


def to_onnx(model: Any, features: int) -> onnx.ModelProto:
    """Convert a fitted estimator; it takes float32 rows (N, features) and gives logits or numbers.

    Raises:
        ExportError: when skl2onnx has no converter for it.
    """
    skl2onnx = require("skl2onnx", "formats")
    steps = getattr(model, "steps", None)
    try:
        last = _last(skl2onnx, steps[-1][1] if steps else model, _width(model, features))
        if steps and len(steps) > 1:
            last = _joined(_first(skl2onnx, model[:-1], features), last)
    except ExportError:
        raise
    except Exception as error:  # skl2onnx raises what its converters happen to raise
        name = type(steps[-1][1] if steps else model).__name__
        raise ExportError(f"skl2onnx cannot convert {name}: {str(error).splitlines()[0]:.200}") from error
    _free_batch(last, features)
    onnx.checker.check_model(last)
    return last


def _width(model: Any, features: int) -> int:
    """Return how many numbers the last step of a pipeline is given."""
    if not getattr(model, "steps", None) or len(model.steps) == 1:
        return features
    return int(model[:-1].transform(np.zeros((1, features))).shape[1])


def _last(skl2onnx: Any, step: Any, width: int) -> onnx.ModelProto:
    """Convert the step that answers, and keep that answer alone, as logits."""
    kind = skl2onnx.common.data_types.FloatTensorType([None, width])
    classifier = hasattr(step, "classes_")
    options = {}
    if classifier and (hasattr(step, "predict_proba") or type(step).__name__ in {"SVC", "NuSVC"}):
        options["zipmap"] = False
    if classifier and not hasattr(step, "predict_proba"):
        options["raw_scores"] = True
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", FutureWarning
        )  # skl2onnx reads attributes that scikit-learn will drop
        proto: onnx.ModelProto = skl2onnx.to_onnx(
            step, initial_types=[("rows", kind)], options={id(step): options} if options else None,
            target_opset=_OPSETS,
        )  # fmt: skip
    if classifier:
        del proto.graph.output[0]  # the label: the largest logit says it
        if hasattr(step, "predict_proba"):
            take_log(proto)
    return proto


def _first(skl2onnx: Any, steps: Any, features: int) -> onnx.ModelProto:
    """Convert what comes before, in float64."""
    kind = skl2onnx.common.data_types.DoubleTensorType([None, features])
    proto: onnx.ModelProto = skl2onnx.to_onnx(steps, initial_types=[("exact", kind)], target_opset=_OPSETS)
    graph = proto.graph
    graph.node.insert(0, helper.make_node("Cast", ["rows"], ["exact"], name="exact", to=TensorProto.DOUBLE))
    graph.input[0].CopyFrom(helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, features]))
    graph.node.append(
        helper.make_node("Cast", [graph.output[0].name], ["rounded"], name="rounded", to=TensorProto.FLOAT)
    )
    graph.output[0].CopyFrom(helper.make_tensor_value_info("rounded", TensorProto.FLOAT, [None, None]))
    return proto


def _joined(first: onnx.ModelProto, last: onnx.ModelProto) -> onnx.ModelProto:
    first, last = compose.add_prefix(first, "a_"), compose.add_prefix(last, "b_")
    version = max(first.ir_version, last.ir_version)
    for model in (first, last):
        model.ir_version = version
        del model.opset_import[:]
        model.opset_import.extend(helper.make_opsetid(domain, number) for domain, number in _OPSETS.items())
    pairs = [(first.graph.output[0].name, last.graph.input[0].name)]
    joined: onnx.ModelProto = compose.merge_models(first, last, io_map=pairs)
    return joined


def _free_batch(model: onnx.ModelProto, features: int) -> None:
    name = model.graph.input[0].name
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", features]))
