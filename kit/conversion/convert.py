"""`convert`: from any format to any that can be reached, each arrow proven in a fresh process.

ONNX stands in the middle: what comes in becomes ONNX, and what goes out is made from it, but for PyTorch's
own formats, which are made from the module. To TensorFlow the way leads through a Keras model.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch

from kit import files
from kit.conversion import adapt, sources, tables, worker
from kit.conversion.export import ROUNDING, at_least_two, export, real_inputs, rounding_error, slug
from kit.conversion.graph import trace
from kit.conversion.parity import ParityReport, check, softmax
from kit.conversion.trainable import Graph
from kit.data import as_dataset
from kit.errors import ArgumentError, ExportError, ModelError, require
from kit.models import architecture_of
from kit.runtime import folder as folders
from kit.runtime import gate
from kit.runtime.engines import one_line
from kit.runtime.formats import FORMATS, find
from kit.runtime.model_file import ModelFile
from kit.runtime.onnx_model import OnnxModel
from kit.runtime.state import plain_copy, read_state, write_state
from kit.runtime.torch_model import TorchModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kit.data import Dataset
    from kit.variant import Variant

    Floats = NDArray[np.float32]

_SHARE = 3e-5  # of the largest output: what float32 sums in another order may differ by
_OPSET = 20


def convert(
    model: Any,
    to: str,
    *,
    data: Any,
    path: str | Path | None = None,
    module: torch.nn.Module | None = None,
    samples: int = 1000,
    tolerance: float | None = None,
    name: str | None = None,
) -> Variant:
    """Convert a model to another format, and prove in a fresh process that it still answers the same.

    A model that comes in from Keras, TensorFlow or scikit-learn is made to speak as all models here do:
    images with their channels first, logits instead of probabilities. One that goes out to these takes its
    images with the channels last, as is the custom there; the variant that is returned turns them by itself.

    Args:
        model: a variant, a module, a path to a model in any format, a Keras model (as it is in this
            notebook), or a fitted scikit-learn estimator.
        to: "onnx", "torch" (a module that can be trained, from ONNX), "pt2", "state_dict", "safetensors" (a
            model folder), "openvino", "keras", "tflite" or "saved_model".
        data: where real inputs come from (the valid split, then train; never test).
        path: the file or folder to write; by default one in this process's temporary folder.
        module: for a model file with weights alone: a module of the same class.
        samples: how many inputs to prove it on; all of them when there are fewer.
        tolerance: the largest absolute difference. By default what rounding explains.
        name: the variant's name.

    Returns:
        A variant whose report is the `ParityReport`.

    Raises:
        ExportError: when there is no such route, or an operator has no counterpart; the operator is named.
        MissingExtraError: when a library is missing; the extra that brings it is named.
        ParityError: when the new file answers differently.
        UnsafeModelError: when the file given must not be opened.

    Example: `kit.convert("net.keras", "onnx", data=data)`; `kit.convert(dense, "tflite", data=data)`
    """
    wanted = None if to == "torch" else find(to)
    if samples < 1:
        raise ArgumentError(f"samples must be at least 1, got {samples}")
    dataset = as_dataset(data)
    given = sources.bring(model, dataset.signature, module)
    target = (
        Path(path) if path else files.scratch(f"{slug(name or given.name)}{wanted.suffix if wanted else ''}")
    )
    job = _Job(given, dataset, target, samples, tolerance)
    made, report = job.run(to)
    settings = {"to": to, **({"note": job.note} if job.note else {})}
    return given.derive(made, "convert", settings, name=name or f"{given.name} {to}", report=report)


class _Job:
    """One conversion: the model, the real inputs, what it answers, and the file to write."""

    def __init__(
        self, given: Variant, data: Dataset, target: Path, samples: int, tolerance: float | None
    ) -> None:
        self.given, self.data, self.target, self.tolerance = given, data, target, tolerance
        self.samples, self.note = samples, ""
        self.inputs = real_inputs(data, samples)
        self.classify = data.signature.task == "classification"
        self.probable = False  # whether what is given says probabilities

    def run(self, to: str) -> tuple[Any, ParityReport]:
        """Write the target, prove it, and return the model in it."""
        body = self.given.model
        if isinstance(body, (torch.nn.Module, TorchModel)) and to in _FROM_MODULE:
            return _FROM_MODULE[to](self)
        if to == "torch" and isinstance(body, (torch.nn.Module, TorchModel)):
            raise ArgumentError(f"{self.given.name!r} is a PyTorch module already")
        if isinstance(body, OnnxModel) and to == "onnx":
            raise ModelError(f"{self.given.name!r} already is an ONNX file: {self.given.file}")
        if to == "onnx":
            return self.write_onnx(self.target)
        if to in {"pt2", "state_dict", "safetensors"}:
            self.given = self.given.derive(
                *self.trainable()[:1], "convert", {"to": "torch"}, name=self.given.name
            )
            return _FROM_MODULE[to](self)
        if to == "torch":
            return self.trainable()
        return _FROM_ONNX[to](self)

    # ---- to ONNX ---------------------------------------------------------------------------------------

    def as_onnx(self) -> Path:
        """Return the model as an ONNX file, proven equal on the way."""
        body = self.given.model
        if isinstance(body, OnnxModel):
            return gate.check(body.path)
        return self.write_onnx(files.scratch(f"{slug(self.given.name)}.onnx"))[0].path

    def write_onnx(self, target: Path) -> tuple[OnnxModel, ParityReport]:
        """Write the ONNX form of whatever is given."""
        body = self.given.model
        if isinstance(body, (torch.nn.Module, TorchModel)):
            made = export(
                self.given, data=self.data, path=target, samples=self.samples, tolerance=self.tolerance
            )
            assert isinstance(made.model, OnnxModel)
            assert isinstance(made.report, ParityReport)
            return made.model, made.report
        with files.atomic(target) as temporary:
            if isinstance(body, sources.Table):
                self.probable = tables.answers(body.estimator, self.inputs[:1])[1]
                proto = tables.to_onnx(body.estimator, self.inputs.shape[1])
            else:
                proto = self.from_file(body, temporary)
            temporary.write_bytes(proto.SerializeToString())
            report = self.prove(temporary, target)
        return OnnxModel(target), report

    def from_file(self, body: Any, temporary: Path) -> onnx.ModelProto:
        """Return the graph of a Keras model, a SavedModel or a PyTorch program."""
        kind, shape = getattr(body, "format", None), self.data.signature.shape
        if kind == "pt2":
            proto = _program_to_onnx(body.path)
        elif kind in {"keras", "saved_model"}:
            worker.work(f"onnx from {kind}", body.path, temporary, opset=_OPSET)
            proto = gate.read(temporary)
        else:
            raise ExportError(
                f"there is no way from {kind or type(body).__name__} to ONNX; keep the file it was made from"
            )
        if body.execution.layout == "channels_last":
            adapt.take_channels_first(proto, shape)
            self.note = "a transpose in front: the file takes its channels last"
        if self.classify and kind in {"keras", "saved_model"}:
            done = adapt.give_logits(proto, len(self.data.signature.classes))
            self.probable = bool(done)
            self.note = "; ".join(filter(None, (self.note, done)))
        return proto

    # ---- proof -----------------------------------------------------------------------------------------

    def prove(self, path: Path, target: Path, **how: Any) -> ParityReport:
        """Compare a file in a fresh process with what was given; raise unless they agree."""
        expected = sources.require_answers(self.given, self.inputs)
        if self.probable and expected.shape[1] == 1:
            expected = np.concatenate([1 - expected, expected], axis=1)
        report = check(
            path, self.inputs, expected, tolerance=self.bound(expected), logits=self.probable, **how
        )
        report = replace(report, path=str(target))
        report.require()
        return report

    def bound(self, expected: Floats) -> float:
        """Return what rounding explains: of a module measured in float64, else a share of its outputs."""
        if self.tolerance is not None:
            return self.tolerance
        if isinstance(self.given.model, (torch.nn.Module, TorchModel)):
            module = plain_copy(self.given.module)
            return ROUNDING * rounding_error(module, self.inputs[:128], expected[:128])
        return _SHARE * max(1.0, float(np.abs(expected).max()))

    # ---- from a module, and from ONNX ------------------------------------------------------------------

    def trainable(self) -> tuple[torch.nn.Module, ParityReport]:
        """Return the ONNX form as a module, compared here: its code is the kit's own."""
        graph = Graph(onnx.load(self.as_onnx())).eval()
        with torch.inference_mode():
            got = graph(torch.from_numpy(self.inputs)).numpy()
        expected = sources.require_answers(self.given, self.inputs)
        return graph, self.compared(softmax(got) if self.probable else got, expected, self.target)

    def compared(self, got: Floats, expected: Floats, path: Path) -> ParityReport:
        """Compare outputs in this process: for modules whose code no other process has."""
        apart, limit = float(np.abs(got - expected).max()), self.bound(expected)
        problem = (
            "" if apart <= limit else f"not equal: largest difference {apart:.2g}, tolerance {limit:.1e}"
        )
        report = ParityReport(str(path), len(got), (len(got),), limit, apart, problem=problem, fresh=False)
        report.require()
        return report


def _pt2(job: _Job) -> tuple[ModelFile, ParityReport]:
    """Write a program of torch.export with a free batch."""
    program = trace(plain_copy(job.given.module), torch.from_numpy(at_least_two(job.inputs)))
    with files.atomic(job.target.with_suffix(".pt2")) as temporary:
        torch.export.save(program, temporary)
        report = job.prove(temporary, job.target)
    return ModelFile(job.target.with_suffix(".pt2")), report


def _state_dict(job: _Job) -> tuple[torch.nn.Module, ParityReport]:
    """Write the weights alone; a fresh process can prove them for nets of `kit.models`."""
    module, made = job.given.module, architecture_of(job.given.module)
    with files.atomic(job.target) as temporary:
        write_state(module, temporary)
        again = read_state(temporary, module)
        if made is not None:
            return again, job.prove(temporary, job.target, architecture=vars(made))
        with torch.inference_mode():
            got = again(torch.from_numpy(job.inputs)).numpy()
        return again, job.compared(got, sources.require_answers(job.given, job.inputs), job.target)


def _safetensors(job: _Job) -> tuple[torch.nn.Module, ParityReport]:
    """Write a model folder, which proves itself by loading; for nets of `kit.models` once more afresh."""
    folders.save(job.given, job.target)
    if architecture_of(job.given.module) is None:
        expected = sources.require_answers(job.given, job.inputs)
        loaded = folders.load(job.target, module=job.given.module)
        return loaded.module, job.compared(loaded(job.inputs), expected, job.target)
    return folders.load(job.target).module, job.prove(job.target, job.target)


def _openvino(job: _Job) -> tuple[ModelFile, ParityReport]:
    openvino = require("openvino", "openvino")
    target, source = job.target.with_suffix(".xml"), job.as_onnx()
    try:
        model = openvino.convert_model(source)
    except Exception as error:  # its errors share no class of their own
        raise ExportError(f"OpenVINO cannot convert {job.given.name!r}: {one_line(error)}") from error
    with files.atomic(target) as temporary:
        openvino.save_model(model, temporary, compress_to_fp16=False)
        weights = temporary.with_suffix(".bin")
        try:
            report = job.prove(temporary, target)
            weights.replace(target.with_suffix(".bin"))
        finally:
            weights.unlink(missing_ok=True)
    return ModelFile(target), report


def _keras(job: _Job) -> tuple[ModelFile, ParityReport]:
    target = job.target.with_suffix(".keras")
    with files.atomic(target) as temporary:
        worker.work("keras from onnx", job.as_onnx(), temporary, shape=list(job.data.signature.shape))
        report = job.prove(temporary, target, layout=_layout(job))
    return ModelFile(target, layout=_layout(job)), report


def _tensorflow(job: _Job, form: str) -> tuple[ModelFile, ParityReport]:
    """Go through Keras; a Keras file is taken as it is, with the layout and the probabilities that it has."""
    body, keras, layout = job.given.model, files.scratch("model.keras"), _layout(job)
    if isinstance(body, ModelFile) and body.format == "keras":
        keras, layout = body.path, body.execution.layout
    else:
        worker.work("keras from onnx", job.as_onnx(), keras, shape=list(job.data.signature.shape))
    target = job.target.with_suffix(FORMATS[form].suffix)
    beside = files.scratch(target.name)
    worker.work(f"{form} from keras", keras, beside)
    report = job.prove(beside, target, layout=layout)
    if beside.is_dir():
        folders.replace_folder(beside, target)
    else:
        with files.atomic(target) as temporary:
            shutil.copyfile(beside, temporary)
    return ModelFile(target, layout=layout), report


def _layout(job: _Job) -> str | None:
    return "channels_last" if len(job.data.signature.shape) > 1 else None


def _program_to_onnx(path: Path) -> onnx.ModelProto:
    """Translate a program that the gate has let through."""
    from kit.conversion.graph import translate

    gate.inspect(path)
    return translate(torch.export.load(path), opset=_OPSET)


_Maker = Callable[[_Job], "tuple[Any, ParityReport]"]
_FROM_MODULE: dict[str, _Maker] = {"pt2": _pt2, "state_dict": _state_dict, "safetensors": _safetensors}
_FROM_ONNX: dict[str, _Maker] = {
    "openvino": _openvino,
    "keras": _keras,
    "saved_model": partial(_tensorflow, form="saved_model"),
    "tflite": partial(_tensorflow, form="tflite"),
}
