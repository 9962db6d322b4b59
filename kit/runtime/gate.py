"""What an ONNX file must be before any runtime opens it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kit.errors import ModelError, UnsafeModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import GraphProto, ModelProto, TensorProto


def read(path: str | Path) -> ModelProto:
    """Read an ONNX file without its side files.

    Raises:
        ModelError: when it does not exist or is no ONNX file.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    file = Path(path)
    if not file.is_file():
        raise ModelError(f"{file} does not exist; expected an .onnx file")
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
        UnsafeModelError: when it names a side file outside its own folder.
    """
    file = Path(path)
    if file.suffix != ".onnx":
        raise ModelError(f"{file} is no .onnx file; kit.open takes .onnx files and model folders")
    folder = file.resolve().parent
    for name in sorted(set(side_files(read(file)))):
        target = (folder / name).resolve()
        if not target.is_relative_to(folder):
            raise UnsafeModelError(
                f"{file} asks for weights in {name!r}, outside its own folder; do not run this file"
            )
        if not target.is_file():
            raise ModelError(
                f"{file} keeps weights in the side file {name!r}, which is missing; put it beside the model"
            )
    return file


def side_files(model: ModelProto) -> Iterator[str]:
    """Yield the path of each side file, as written in the model, that holds weights."""
    for graph in (model.graph, *model.functions):
        for tensor in tensors(graph):
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
            yield from (attribute.t, *attribute.tensors)
            for subgraph in (attribute.g, *attribute.graphs):
                yield from tensors(subgraph)
