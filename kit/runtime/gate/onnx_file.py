"""What an ONNX file must be before any runtime opens it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kit.errors import ModelError
from kit.runtime.gate import graph_rules, side, wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import GraphProto, ModelProto, TensorProto


def read(path: str | Path) -> ModelProto:
    """Read an ONNX file without its side files.

    Raises:
        ModelError: when it does not exist or is no ONNX file.
        UnsafeModelError: when it would need far more memory than its size.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    file = Path(path)
    if not file.is_file():
        raise ModelError(f"{file} does not exist; expected an .onnx file")
    wire.weigh(file, onnx.ModelProto.DESCRIPTOR)
    try:
        model = onnx.load(file, load_external_data=False)
    except DecodeError:
        raise ModelError(f"{file} is no ONNX file, or is cut short; export it again") from None
    if not model.graph.node:
        raise ModelError(f"{file} holds no ONNX graph; export it again")
    return model


def check(path: str | Path) -> Path:
    """Return the path of an ONNX file that a runtime may open.

    Raises:
        ModelError: when it is no ONNX file, or a side file that it names is missing.
        UnsafeModelError: when it names a file that is not plainly beside it, declares tensors that its size
            cannot hold, calls functions without end, or asks for operators of an unknown library.
    """
    file = Path(path)
    if file.suffix != ".onnx":
        raise ModelError(
            f"{file} is no .onnx file; kit.open takes other formats too, kit.convert makes ONNX of them"
        )
    model = read(file)
    for tensor in _all_tensors(model):
        side.check_tensor(file, tensor)
    graph_rules.check(file, model)
    return file


def side_files(model: ModelProto) -> Iterator[str]:
    """Yield the path of each side file, as written in the model, that holds weights."""
    for tensor in _all_tensors(model):
        for entry in tensor.external_data:
            if entry.key == "location":
                yield entry.value


def tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Yield every tensor stored in a graph (or function): initializers, attributes, and subgraphs' own."""
    yield from getattr(graph, "initializer", ())
    for sparse in getattr(graph, "sparse_initializer", ()):
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                if sparse.dims:
                    yield from (sparse.values, sparse.indices)
            for subgraph in (attribute.g, *attribute.graphs):
                yield from tensors(subgraph)


def _all_tensors(model: ModelProto) -> Iterator[TensorProto]:
    training = [graph for info in model.training_info for graph in (info.initialization, info.algorithm)]
    for graph in (model.graph, *model.functions, *training):
        yield from tensors(graph)
