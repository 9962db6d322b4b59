"""`Graph`: an ONNX file as a PyTorch module again, so that what is trained is what will run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

from kit.conversion.operators import OPERATORS
from kit.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

# The operators whose stored tensors are learned; elsewhere a stored tensor is a constant of the formula.
_LEARNED = {"Conv", "Gemm", "MatMul", "LayerNormalization"}


@dataclass(frozen=True)
class _Node:
    kind: str
    inputs: tuple[str, ...]
    output: str
    settings: Mapping[str, Any]


class Graph(nn.Module):
    """Computes what a float32 ONNX graph computes; its weights and biases are parameters.

    Batch normalisation has been folded into the weights by the export, dropout is gone.

    Args:
        model: one input, one output, with all weights inside.

    Attributes:
        tensors: the names of all tensors with numbers in float32: stored ones, the input, what nodes give.

    Raises:
        ModelError: when it holds an operator that has no form in PyTorch here.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        graph = model.graph
        self._nodes = [_node(node) for node in graph.node]
        if strange := sorted({node.kind for node in self._nodes} - set(OPERATORS)):
            raise ModelError(
                f"this graph cannot be trained, for want of {', '.join(strange)} in PyTorch; train the "
                "module itself (kit.train), and quantize with finetune=0"
            )
        self._input, self._output = graph.input[0].name, graph.output[0].name
        self._parameters_of: dict[str, int] = {}
        self._constants_of: dict[str, str] = {}
        self.weights = nn.ParameterList()
        self.taps = nn.ModuleDict()
        self._taps_of: dict[str, str] = {}
        learned = {name for node in self._nodes if node.kind in _LEARNED for name in node.inputs[1:]}
        learned |= {tensor.name for tensor in graph.initializer if tensor.name.endswith(".bias")}
        for place, tensor in enumerate(graph.initializer):
            value = torch.from_numpy(numpy_helper.to_array(tensor).copy())
            if tensor.name in learned and value.is_floating_point():
                self._parameters_of[tensor.name] = len(self.weights)
                self.weights.append(nn.Parameter(value))
            else:
                self._constants_of[tensor.name] = f"constant{place}"
                self.register_buffer(f"constant{place}", value, persistent=False)
        made = {node.output for node in self._nodes}
        self.tensors = frozenset({self._input, *made, *self._parameters_of, *self._constants_of})

    def tap(self, tensor: str, transform: nn.Module) -> None:
        """Let a module change a tensor, whenever it is made or used, from now on."""
        assert tensor in self.tensors
        key = self._taps_of.get(tensor, f"tap{len(self._taps_of)}")
        self._taps_of[tensor] = key
        self.taps[key] = transform

    def value(self, tensor: str) -> torch.Tensor:
        """Return a learned tensor as it is kept, before any tap."""
        found: torch.Tensor = self.weights[self._parameters_of[tensor]]
        return found.detach()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (N, *shape) to (N, outputs)."""
        values: dict[str, torch.Tensor | None] = {"": None}
        for name, place in self._parameters_of.items():
            values[name] = self._tapped(name, self.weights[place])
        for name, buffer in self._constants_of.items():
            values[name] = self._tapped(name, self.get_buffer(buffer))
        values[self._input] = self._tapped(self._input, inputs)
        for node in self._nodes:
            result = OPERATORS[node.kind](node.settings, *(values[name] for name in node.inputs))
            values[node.output] = self._tapped(node.output, result)
        answer = values[self._output]
        assert answer is not None
        return answer

    def write(self, model: onnx.ModelProto) -> None:
        """Store the learned tensors, as they are kept, in a model that has tensors of these names."""
        for tensor in model.graph.initializer:
            if tensor.name in self._parameters_of:
                value = self.value(tensor.name).cpu().contiguous().numpy()
                tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))

    def _tapped(self, name: str, value: torch.Tensor) -> torch.Tensor:
        key = self._taps_of.get(name)
        if key is None:
            return value
        changed: torch.Tensor = self.taps[key](value)
        return changed


def _node(node: onnx.NodeProto) -> _Node:
    settings = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return _Node(node.op_type, tuple(node.input), node.output[0], settings)
