"""Quantization-aware training: a net learns while it is rounded exactly as its file will be.

The float32 graph, with batch normalisation folded in, runs in PyTorch. What the file rounds is rounded there
too, from the scales that were found without training. Weights, biases and scales are trained, and written
back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from kit.compression.distillation.distill import answers, check_weights, taught
from kit.compression.quantization import weight_only
from kit.compression.quantization.fake import BiasStep, LearnedStep, LearnedWeightStep
from kit.compression.quantization.onnx_layers import layers
from kit.compression.quantization.plan import WEIGHTS
from kit.compression.quantization.report import decibels
from kit.conversion.trainable import Graph
from kit.errors import ArgumentError, ModelError, ParityError
from kit.measurement.evaluate import evaluate
from kit.measurement.predict import logits
from kit.runtime.onnx_model import OnnxModel
from kit.training.loop import fit
from kit.training.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from kit.compression.quantization.onnx_layers import Layer
    from kit.compression.quantization.plan import Plan
    from kit.data import Dataset
    from kit.statistics import Measurement
    from kit.training.history import History
    from kit.variant import Variant

    Arrays = Mapping[str, NDArray[Any]]

# Decibels between the answers of the file and those of the net in PyTorch. Where activations are rounded, the
# last bit of a sum decides now and then which way, and what follows moves by a step: 70 dB were measured.
_PARITY = {True: 80.0, False: 35.0}


@dataclass
class Rounded:
    """A graph that rounds as a file does.

    Attributes:
        graph: the float32 graph, with taps.
        scales: the steps of activations by the name of their scale in the file; some share one.
        activations: the same by tensor.
        weights, biases: the steps of these by tensor.
    """

    graph: Graph
    scales: dict[str, LearnedStep] = field(default_factory=dict)
    activations: dict[str, LearnedStep] = field(default_factory=dict)
    weights: dict[str, LearnedWeightStep] = field(default_factory=dict)
    biases: dict[str, BiasStep] = field(default_factory=dict)


@dataclass(frozen=True)
class Training:
    """How to train: the keywords of `kit.quantize`, checked before anything is measured.

    Attributes:
        temperature, weight: of the distillation from the float32 model; weight 0 is the labels alone.
        how: the keywords of `fit`.
    """

    temperature: float
    weight: float
    how: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        scheme: str,
        finetune: int,
        *,
        distill: bool,
        temperature: float,
        weight: float,
        seed: int,
        given: Mapping[str, Any],
    ) -> Training | None:
        """Return how to train; None when finetune is 0.

        Raises:
            ArgumentError: when the scheme has no rounding to learn, or a setting is wrong.
        """
        if not isinstance(finetune, int) or finetune < 0:
            raise ArgumentError(f"finetune must be a whole number of epochs, 0 or more, got {finetune!r}")
        if "epochs" in given:
            raise ArgumentError("quantize takes finetune= instead of epochs=")
        Settings.of({**given, "seed": seed})
        if not finetune:
            if given:
                raise ArgumentError(f"{', '.join(sorted(given))} belongs to a training: give finetune= too")
            return None
        if scheme not in {"static", *WEIGHTS}:
            raise ArgumentError(
                f"scheme {scheme!r} has no scales to learn; finetune= goes with 'static', "
                f"{', '.join(map(repr, WEIGHTS))}"
            )
        check_weights(temperature=temperature, weight=weight)
        how = {"precision": "fp32", **given, "epochs": finetune, "seed": seed}
        return cls(temperature, weight if distill else 0.0, how)

    def recipe(self) -> dict[str, Any]:
        """Return what shapes the result, fit for JSON."""
        told = {key: value for key, value in Settings.of(self.how).recipe().items() if key in self.how}
        epochs = told.pop("epochs")
        return {"finetune": epochs, "temperature": self.temperature, "weight": self.weight} | told


@dataclass(frozen=True)
class Learned:
    """What a training gave.

    Attributes:
        untrained: accuracy (or root-mean-square error) of the file without training, on the validation split.
        history: of the training.
        parity: the answers of the trained file against those of the net in PyTorch, in decibels.
    """

    untrained: Measurement
    history: History
    parity: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as a dictionary fit for JSON."""
        return {
            "untrained": self.untrained.to_dict(),
            "history": self.history.to_dict(),
            "parity": self.parity,
        }

    def __str__(self) -> str:
        return (
            f"{len(self.history.epochs)} epochs while rounded, validation {self.history.metric} "
            f"{self.untrained:.4f} before them; the file agrees with the trained net to {self.parity:.0f} dB"
        )


def learn(
    training: Training, plan: Plan, prepared: Path, draft: Path, parent: Variant, data: Dataset
) -> Learned:
    """Train what `draft` rounds, and write what was learned into both files, in place.

    Args:
        training: how.
        plan: how `draft` was made of `prepared`.
        prepared: the float32 file; it gets the trained weights before rounding.
        draft: the quantized file; it gets the trained numbers and scales.
        parent: the float32 model, which is the teacher.
        data: to train on; validates on its valid split.

    Raises:
        ModelError: when an operator of the graph cannot be trained through.
        ParityError: when the trained file does not answer as the net that was trained.
    """
    untrained = evaluate(parent.derive(OnnxModel(draft), "quantize", {}), data, split="valid").score
    floats = onnx.load(prepared)
    rounded = rounding(plan, floats, onnx.load(draft))
    objective = taught(
        answers(parent, data, training.how),
        data,
        temperature=training.temperature,
        weight=training.weight,
        training=training.how,
    )
    history = fit(rounded.graph, data, objective, label="quantize", **training.how)
    rounded.graph.write(floats)
    onnx.save(floats, prepared)
    write(rounded, plan, prepared, draft)
    few = data.valid.take(500, seed=0)
    parity = decibels(
        logits(rounded.graph, few), logits(parent.derive(OnnxModel(draft), "quantize", {}), few)
    )
    least = _PARITY[plan.scheme in WEIGHTS]
    if parity < least:
        raise ParityError(
            f"the file answers otherwise than the net that was trained ({parity:.0f} dB, expected "
            f"{least:.0f} or more): sums may overflow on this processor; try reduce_range=True"
        )
    return Learned(untrained, history, parity)


def rounding(plan: Plan, prepared: onnx.ModelProto, draft: onnx.ModelProto) -> Rounded:
    """Return the float32 graph, rounding what `draft` rounds, with the scales found there."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in draft.graph.initializer}
    result = Rounded(Graph(prepared))
    for node in draft.graph.node:
        if node.op_type == "QuantizeLinear":
            _tap_activation(result, node, stored)
    found = layers(prepared)
    bits = plan.bits(found)
    nodes = {node.name: node for node in prepared.graph.node}
    for layer in found:
        if layer.name in bits:
            _tap_weight(result, layer, nodes[layer.node], plan, stored)
    return result


def _tap_activation(result: Rounded, node: onnx.NodeProto, stored: Arrays) -> None:
    tensor, scale = node.input[0].removesuffix("_QuantizeLinear_Input"), node.input[1]
    if tensor not in result.graph.tensors:
        raise ModelError(f"the file rounds {tensor!r}, which the float32 graph does not have")
    zero = stored[node.input[2]]
    limits, shift = np.iinfo(zero.dtype), int(zero)
    if scale not in result.scales:  # what only moves numbers, such as a reshape, has the scale of its input
        step = torch.tensor(float(stored[scale]))
        result.scales[scale] = LearnedStep(step, limits.min - shift, limits.max - shift)
    result.activations[tensor] = result.scales[scale]
    result.graph.tap(tensor, result.scales[scale])


def _tap_weight(result: Rounded, layer: Layer, node: onnx.NodeProto, plan: Plan, stored: Arrays) -> None:
    scale = stored[f"{layer.weight}_scale"].astype(np.float32)
    outputs = layer.shape[0] if layer.by_row else layer.shape[-1]
    first = torch.from_numpy(scale.reshape(outputs if scale.size > 1 else 1, -1, 1))
    form = plan.forms.get(layer.name)
    highest = 7 if form and form.bits == 4 else 64 if not form and plan.reduce_range else 127
    block = form.block if form else layer.reduction
    step = LearnedWeightStep(first, highest, block=block, by_row=layer.by_row)
    result.weights[layer.weight] = step
    result.graph.tap(layer.weight, step)
    bias = node.input[2] if len(node.input) > 2 else ""
    if f"{bias}_quantized" in stored:
        result.biases[bias] = BiasStep(result.activations[node.input[0]], step)
        result.graph.tap(bias, result.biases[bias])


def write(rounded: Rounded, plan: Plan, prepared: Path, draft: Path) -> None:
    """Write what was learned into the quantized file: the scales as they are, and numbers rounded by them.

    Args:
        rounded: the trained net.
        plan: how the file was made.
        prepared: the float32 file, which has the trained weights already.
        draft: the file to change.
    """
    if plan.scheme in WEIGHTS:
        scales = {name: _array(step.step) for name, step in rounded.weights.items()}
        weight_only.quantize_weights(prepared, draft, plan.forms, scales)
        return
    values = {name: _array(step.step) for name, step in rounded.scales.items()}
    for steps, scale in ((rounded.weights, "_scale"), (rounded.biases, "_quantized_scale")):
        for name, step in steps.items():
            values[f"{name}_quantized"] = _array(step.numbers(rounded.graph.value(name)))
            values[f"{name}{scale}"] = _array(step.step)
    model = onnx.load(draft)
    rounded.graph.write(model)  # what stays in float32
    for tensor in model.graph.initializer:
        if tensor.name in values:
            value = np.ascontiguousarray(values[tensor.name]).reshape(tensor.dims)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    onnx.save(model, draft)


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().numpy()
