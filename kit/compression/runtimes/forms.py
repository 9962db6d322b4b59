"""The forms of one model that runtimes are tried with: its module and files of it, each made once."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import onnx
from torch import nn

from kit import files
from kit.compression.quantization.float_file import float_variant
from kit.compression.quantization.onnx_layers import silenced
from kit.compression.quantization.quantize import quantize
from kit.errors import KitError, ModelError, require
from kit.runtime.engines import one_line, openvino_core
from kit.runtime.onnx_model import OnnxModel
from kit.runtime.torch_model import TorchModel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from kit.compression.runtimes.ways import Way
    from kit.data import Dataset
    from kit.variant import Variant

_SCHEMES: dict[str, dict[str, Any]] = {
    "int8": {"scheme": "static"},
    "int8 dynamic": {"scheme": "dynamic"},
    "int8 tensorrt": {"scheme": "static", "target": "tensorrt"},
    "fp16": {"scheme": "fp16"},
}


class Forms:
    """Makes each form of a model when it is asked for, once.

    Args:
        variant: the model, a module or a float32 file.
        data: proves exports equal and calibrates, on its valid split.
        calibration: how many samples measure the ranges of activations.
        seed: draws them.
    """

    def __init__(self, variant: Variant, data: Dataset, *, calibration: int, seed: int) -> None:
        self._variant, self._data = variant, data
        self._calibration, self._seed = calibration, seed
        self._made: dict[str, Path | nn.Module | KitError] = {}

    def model(self, way: Way) -> TorchModel | OnnxModel:
        """Return the model that a way runs.

        Raises:
            KitError: when this form cannot be made of it; the message says why.
        """
        if way.form not in self._made:
            try:
                self._made[way.form] = self._make(way.form)
            except KitError as error:  # raised below, now and whenever the form is asked for again
                self._made[way.form] = error
        made, how = self._made[way.form], way.execution
        if isinstance(made, KitError):
            raise made
        if isinstance(made, nn.Module):
            return TorchModel(made, how)
        return OnnxModel(
            made, runtime=how.runtime, precision=how.precision, threads=how.threads, device=how.device
        )

    def _make(self, form: str) -> Path | nn.Module:
        if form == "module":
            return self._variant.module
        source = float_variant(self._variant, self._data)
        if form == "fp32":
            return _file(source)
        if form == "int8 nncf":
            target = files.scratch("nncf.onnx")
            inputs = self._data.valid.take(self._calibration, self._seed).inputs.numpy()
            nncf_int8(_file(source), target, inputs)
            return target
        settings = _SCHEMES[form] | {"calibration": self._calibration, "seed": self._seed}
        return _file(quantize(source, self._data, **settings))


def nncf_int8(source: Path, target: Path, inputs: NDArray[np.float32]) -> None:
    """Quantize a float32 ONNX file with NNCF, as an ONNX file.

    NNCF can also give OpenVINO's own format. It runs on the same kernels: on a processor with AMX it was 1.03
    times as fast for a ResNet-18 and 0.8 times for a MobileNetV2, so that one format is enough. The fast
    correction of biases, NNCF's default, changed 7 answers of 100 of a small residual net, the exact one 1.

    Args:
        source, target: the files.
        inputs: real samples (N, *shape), at most 300 of which are used.

    Raises:
        MissingExtraError: when NNCF is not installed.
        ModelError: when it cannot quantize the model.

    Source: https://docs.openvino.ai, "Post-training Quantization with NNCF".
    """
    openvino_core()  # NNCF makes another one for a moment; this one has to be the first
    model = onnx.load(source)
    name, operators = model.graph.input[0].name, {node.op_type for node in model.graph.node}
    nncf = require("nncf", "openvino")
    with silenced(), _no_progress():
        samples = nncf.Dataset([{name: inputs[i : i + 1]} for i in range(min(300, len(inputs)))])
        kind = nncf.ModelType.TRANSFORMER if "LayerNormalization" in operators else None
        try:
            result = nncf.quantize(model, samples, model_type=kind, fast_bias_correction=False)
        except Exception as error:  # NNCF's exceptions share no class of their own
            raise ModelError(f"NNCF cannot quantize {source.name}: {one_line(error)}") from error
    onnx.save(result, target)


@contextmanager
def _no_progress() -> Iterator[None]:
    """Keep NNCF's progress bars from the terminal, and from notebooks, where they would stay as widgets."""
    console = require("rich", "openvino").get_console()
    before = console.is_jupyter, console.quiet
    console.is_jupyter, console.quiet = False, True
    try:
        yield
    finally:
        console.is_jupyter, console.quiet = before


def _file(variant: Variant) -> Path:
    assert variant.file is not None
    return variant.file
