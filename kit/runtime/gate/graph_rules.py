"""The graph of an ONNX file: known operators, functions that end, no tensor that dwarfs the file."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from kit.errors import ModelError, UnsafeModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

_DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.microsoft.experimental"}
_FORBIDDEN = {"EPContext": "loads a compiled program", "PyOp": "runs Python", "PyCustomOp": "runs Python"}
_MOST_NODES = 1_000_000  # once every call of a function is written out
_MOST_NUMBERS = 2**26  # of a tensor that an operator makes from its shape alone: 256 MB in float32
_MOST_INPUT = 2**31  # numbers in one sample
# Operators whose output takes its size from the numbers in an input, and which input that is.
_SIZED = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1, "Reshape": 1, "Pad": 1, "Resize": 3, "Upsample": 1}
_RANDOM = {"RandomNormal", "RandomUniform", "EyeLike"}


def check(file: Path, model: ModelProto) -> None:
    """Refuse a graph that asks for what is unknown, unending or out of proportion.

    Raises:
        ModelError: when a standard operator or the version of the operators does not exist.
        UnsafeModelError: when it is dangerous.
    """
    own = {(function.domain, function.name): function for function in model.functions}
    if len(own) < len(model.functions):
        raise UnsafeModelError(f"{file} defines a function twice; runtimes may take different ones")
    for node in _every_node(model):
        _check_operator(file, node, own)
    _check_versions(file, model)
    _check_calls(file, model, own)
    _check_declared(file, model)
    constants = _constants(model)
    for node in _every_node(model):
        _check_size(file, node, constants)


def nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield the nodes of a graph (or function) and of its subgraphs."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for subgraph in (attribute.g, *attribute.graphs):
                yield from nodes(subgraph)


def _every_node(model: ModelProto) -> Iterator[NodeProto]:
    for graph in (model.graph, *model.functions):
        yield from nodes(graph)


def _check_operator(file: Path, node: NodeProto, own: Mapping[tuple[str, str], object]) -> None:
    if (node.domain, node.op_type) in own:
        return
    if node.domain not in _DOMAINS:
        raise UnsafeModelError(
            f"{file} asks for the operator {node.op_type!r:.40} of the library {node.domain!r:.40}, which is "
            "unknown; do not load libraries for a file that you did not make"
        )
    if node.op_type in _FORBIDDEN:
        raise UnsafeModelError(f"{file} holds {node.op_type}, which {_FORBIDDEN[node.op_type]}")


def _check_versions(file: Path, model: ModelProto) -> None:
    from onnx import defs

    newest = defs.onnx_opset_version()
    version = max(
        (entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=1
    )
    if not 1 <= version <= newest:
        raise ModelError(f"{file} uses version {version} of ONNX's operators; 1 to {newest} are known here")
    functions = {function.name for function in model.functions}
    for node in _every_node(model):
        if node.domain in {"", "ai.onnx"} and node.op_type not in functions and not defs.has(node.op_type):
            raise ModelError(f"{file} asks for the operator {node.op_type!r:.40}, which ONNX does not have")


def _check_calls(file: Path, model: ModelProto, own: Mapping[tuple[str, str], GraphProto]) -> None:
    """Count the nodes that calls expand to; a function that reaches itself has no end."""
    known: dict[tuple[str, str], int] = {}

    def size(key: tuple[str, str], above: tuple[tuple[str, str], ...]) -> int:
        if key in above or len(above) > 100:
            raise UnsafeModelError(f"{file}: the function {key[1]!r:.60} calls itself, and never ends")
        if key not in known:
            known[key] = total(own[key], (*above, key))
        return known[key]

    def total(graph: GraphProto, above: tuple[tuple[str, str], ...]) -> int:
        count = 0
        for node in nodes(graph):
            called = (node.domain, node.op_type)
            count += size(called, above) if called in own else 1
            if count > _MOST_NODES:
                raise UnsafeModelError(f"{file}: its functions expand to more than {_MOST_NODES:,} nodes")
        return count

    for key in own:
        size(key, ())
    total(model.graph, ())


def _check_declared(file: Path, model: ModelProto) -> None:
    graphs = [model.graph, *(a.g for node in _every_node(model) for a in node.attribute if a.HasField("g"))]
    for graph in graphs:
        for value in (*graph.input, *graph.output, *graph.value_info):
            sides = [
                side.dim_value for side in value.type.tensor_type.shape.dim if side.HasField("dim_value")
            ]
            if any(side < 0 for side in sides) or prod(sides) > _MOST_INPUT:
                raise UnsafeModelError(
                    f"{file} declares {value.name!r:.60} as {sides[:8]}, which no memory holds"
                )
        for sparse in graph.sparse_initializer:
            _require(file, sparse.values.name, list(sparse.dims))


def _constants(model: ModelProto) -> dict[str, TensorProto]:
    """Return the small tensors of whole numbers, by name: the shapes that operators are given."""
    found = {tensor.name: tensor for graph in _graphs(model.graph) for tensor in graph.initializer}
    for node in _every_node(model):
        if node.op_type == "Constant" and node.output:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    found[node.output[0]] = attribute.t
    return {
        name: tensor
        for name, tensor in found.items()
        if len(tensor.dims) <= 1 and sum(tensor.dims) <= 16 and tensor.data_location != tensor.EXTERNAL
    }


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in nodes(graph):
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield attribute.g


def _check_size(file: Path, node: NodeProto, constants: Mapping[str, TensorProto]) -> None:
    from onnx import numpy_helper

    for attribute in node.attribute:
        if attribute.HasField("sparse_tensor"):
            _require(file, node.name, list(attribute.sparse_tensor.dims))
        if node.op_type in _RANDOM and attribute.name == "shape":
            _require(file, node.name, list(attribute.ints))
    places = range(3) if node.op_type == "Range" else [_SIZED.get(node.op_type, -1)]
    given = [node.input[k] for k in places if 0 <= k < len(node.input) and node.input[k] in constants]
    if not given:
        return
    values = [numpy_helper.to_array(constants[name]).ravel().tolist() for name in given]
    if node.op_type == "Range":
        if len(values) == 3 and all(values):
            start, limit, delta = (float(v[0]) for v in values)
            _require(file, node.name, [abs((limit - start) / (delta or 1))])
    else:
        _require(file, node.name, [abs(side) or 1 for side in values[0]])


def _require(file: Path, name: str, sides: list[float]) -> None:
    if prod(sides) > max(_MOST_NUMBERS, 64 * file.stat().st_size):
        shown = [int(side) for side in sides[:8]]
        raise UnsafeModelError(f"{file}: {name!r:.60} makes a tensor of {shown}, far larger than the file")
