"""From a PyTorch module to an ONNX graph, and why a module has none."""

from __future__ import annotations

import io
import linecache
import logging
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

import torch

from kit.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from onnx import ModelProto
    from torch import nn


def to_onnx(module: nn.Module, example: torch.Tensor, *, opset: int) -> ModelProto:
    """Trace a module and translate the trace; the batch is free, all weights are inside.

    Args:
        module: a module in eval mode on the CPU.
        example: a batch of at least two inputs; a batch of one would be written into the graph.
        opset: the version of ONNX's operators.

    Raises:
        ExportError: when the module cannot be traced or translated; it names the operator and the layer.

    Source: https://docs.pytorch.org/docs/stable/onnx_export.html
    """
    return translate(trace(module, example), opset=opset)


def translate(program: torch.export.ExportedProgram, *, opset: int) -> ModelProto:
    """Translate a traced program to an ONNX graph.

    Raises:
        ExportError: when an operator has no translation; it and its layer are named.
    """
    with _quiet():
        try:
            result = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=opset,
                input_names=["input"],
                output_names=["output"],
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise ExportError(_untranslated(program, error)) from error
        assert result is not None  # dynamo=True always returns a program
        model = result.model_proto
    _tidy(model)
    return model


def trace(module: nn.Module, example: torch.Tensor) -> torch.export.ExportedProgram:
    """Follow one batch of at least two through a module in eval mode, with a free batch size.

    Raises:
        ExportError: when the module cannot be traced; it names the layer.
    """
    free = ({0: torch.export.Dim.DYNAMIC},)
    try:
        with _quiet():
            return torch.export.export(module, (example,), dynamic_shapes=free, strict=False)
    except Exception as error:  # the module's own code runs here, so anything may come out of it
        where, line = culprit(module, error.__traceback__)
        raise ExportError(f"{where} cannot be exported: {_reason(error)}{line}") from error


def culprit(module: nn.Module, trace: TracebackType | None) -> tuple[str, str]:
    """Return the innermost layer that an error passed through, and the line of its code."""
    layers = {id(layer): (name, type(layer).__name__) for name, layer in module.named_modules()}
    found, line = layers[id(module)], ""
    while trace is not None:
        code, scope = trace.tb_frame.f_code, trace.tb_frame.f_locals
        owner = id(scope.get(code.co_varnames[0])) if code.co_argcount else None
        if owner in layers and not code.co_filename.endswith("torch/nn/modules/module.py"):
            found = layers[owner]
            text = linecache.getline(code.co_filename, trace.tb_lineno).strip()
            line = f" (line {trace.tb_lineno}: `{text}`)" if text else ""
        trace = trace.tb_next
    return _layer(*found), line


def _layer(name: str, kind: str) -> str:
    return f"layer {name!r} ({kind})" if name else f"{kind} itself"


def _reason(error: Exception) -> str:
    """Say in one sentence why tracing failed and what to write instead."""
    text = str(error)
    first = text.splitlines()[0] if text else type(error).__name__
    if "data-dependent" in text:
        return "its path depends on the values of the data; compute both and choose with torch.where"
    if "static shape" in text or "is invalid for input of size" in text:
        return f"the batch size is written into its code ({first}); use -1 or x.shape[0]"
    return f"{type(error).__name__}: {first}"


def _untranslated(program: torch.export.ExportedProgram, error: Exception) -> str:
    """Name the operator that ONNX has no translation for, and the layer it stands in."""
    message, cause = str(error), error.__cause__
    while cause is not None:
        message, cause = f"{message}\n{cause}", cause.__cause__
    for graph in (program.graph, program.run_decompositions().graph):
        for node in graph.nodes:
            if node.op == "call_function" and f"%{node.name} :" in message:
                name, kind = [*node.meta.get("nn_module_stack", {"": ("", "the module")}).values()][-1]
                where = _layer(name, str(kind).rsplit(".", maxsplit=1)[-1])
                return f"operator {node.target} in {where} has no ONNX translation; replace it by others"
    return f"the module could be traced but not translated to ONNX: {message.splitlines()[-1]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what the exporter logs, warns and prints; what it raises says enough."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _tidy(model: ModelProto) -> None:
    """Name the free dimension "batch" and drop the trace's notes: source lines and paths of this machine."""
    graph = model.graph
    free = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*graph.input, *graph.output, *graph.value_info):
        del value.metadata_props[:]
        for dimension in value.type.tensor_type.shape.dim:
            if free and dimension.dim_param == free:
                dimension.dim_param = "batch"
    for item in (model, graph, *graph.node, *graph.initializer):
        del item.metadata_props[:]
