"""Small changes at both ends of an ONNX graph: the order of an image's axes, logits for probabilities."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kit.errors import ModelError

_LEAST = 1e-9  # probabilities below count as this; float32 rounds a sum of them to nothing


def take_channels_first(model: onnx.ModelProto, shape: tuple[int, ...]) -> None:
    """Let a graph that takes (N, height, width, channels) take (N, channels, height, width).

    A Transpose is put in front. (A Reshape would fit as well, and mix up the pixels.)
    """
    graph = model.graph
    inner = graph.input[0].name
    outer = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", *shape])
    order = [0, *range(2, len(shape) + 1), 1]
    graph.input[0].CopyFrom(outer)
    graph.node.insert(0, helper.make_node("Transpose", ["image"], [inner], name="channels_last", perm=order))


def give_logits(model: onnx.ModelProto, classes: int) -> str:
    """Let a graph that ends in probabilities end in logits, one a class, as all classifiers here do.

    Returns:
        What was done, for the recipe; empty if the graph does not end in a softmax or sigmoid.

    Raises:
        ModelError: when it gives one probability and there are more than two classes.
    """
    graph = model.graph
    name = graph.output[0].name
    last = next((node for node in graph.node if name in node.output), None)
    while last is not None and last.op_type == "Identity":
        name = last.input[0]
        last = next((node for node in graph.node if name in node.output), None)
    if last is None or last.op_type not in {"Softmax", "Sigmoid"}:
        return ""
    if last.op_type == "Softmax":
        _end(model, last, last.input[0])
        return "the softmax at the end was left out"
    if classes != 2:
        raise ModelError(f"the model ends in a sigmoid, which tells 2 classes apart; the data has {classes}")
    zeros = helper.make_node("Sub", [last.input[0], last.input[0]], ["zeros"], name="zeros")
    both = helper.make_node("Concat", ["zeros", last.input[0]], ["logits"], name="two_classes", axis=1)
    _end(model, last, "logits", zeros, both)
    return (
        "the sigmoid at the end was left out; its logit stands beside a zero: softmax([0, z]) is sigmoid(z)"
    )


def take_log(model: onnx.ModelProto) -> None:
    """Let a graph that ends in probabilities (N, classes) end in their logarithms: logits as good as any."""
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array(_LEAST, np.float32), "least"))
    held = helper.make_node("Max", [graph.output[0].name, "least"], ["held"], name="held")
    log = helper.make_node("Log", ["held"], ["logits"], name="log")
    _end(model, None, "logits", held, log)


def fold_weights(model: onnx.ModelProto) -> None:
    """Turn weights once, here, instead of at each call: Keras keeps them as HWIO, ONNX as OIHW."""
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in list(graph.node):
        if node.op_type == "Transpose" and node.input[0] in stored:
            order = next((list(a.ints) for a in node.attribute if a.name == "perm"), None)
            turned = np.ascontiguousarray(numpy_helper.to_array(stored[node.input[0]]).transpose(order))
            stored[node.output[0]] = numpy_helper.from_array(turned, node.output[0])
            graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    del graph.initializer[:]
    graph.initializer.extend(tensor for name, tensor in stored.items() if name in used)


def _end(model: onnx.ModelProto, drop: onnx.NodeProto | None, name: str, *added: onnx.NodeProto) -> None:
    """End a graph at the tensor `name`, after `added` nodes, and remove what no longer leads there."""
    graph = model.graph
    if drop is not None:
        graph.node.remove(drop)
    graph.node.extend(added)
    needed, kept = {name}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    del graph.output[:]
    del graph.value_info[:]
    graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", None]))
