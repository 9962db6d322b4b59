"""Work with Keras and TensorFlow in a process of its own, so that neither enters the caller's.

`python -m kit.conversion.worker REQUEST` is that process; a request is JSON: the job, paths and settings.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kit
from kit import errors
from kit.errors import ExportError, KitError, require

if TYPE_CHECKING:
    from collections.abc import Callable

_BACKEND = {"keras from onnx": "torch", "onnx from keras": "torch"}  # the others need TensorFlow


def work(job: str, source: Path, target: Path, **settings: Any) -> None:
    """Have a job done in a fresh process: `target` is written from `source`.

    Args:
        job: "keras from onnx" (shape=), "onnx from keras" (opset=), "saved_model from keras",
            "tflite from keras" or "onnx from saved_model" (opset=).
        source, target: files, or the folder of a SavedModel.
        settings: of the job.

    Raises:
        ExportError: when it cannot be converted.
        MissingExtraError: when a library is not installed; the extra is named.
    """
    request = {"job": job, "source": str(source.resolve()), "target": str(target.resolve()), **settings}
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(
            [str(Path(kit.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
        ),
        "KERAS_BACKEND": _BACKEND.get(job, "tensorflow"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, "-m", "kit.conversion.worker", json.dumps(request)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ExportError(f"{job}: the process for it died with code {done.returncode}: {last:.300}")
    answer = json.loads(done.stdout.splitlines()[-1])
    if answer:
        raise getattr(errors, answer["class"])(answer["message"])


# ---- the process of its own ----------------------------------------------------------------------------


def _keras_from_onnx(source: Path, target: Path, shape: list[int]) -> None:
    import onnx

    from kit.conversion.keras_layers import Builder

    keras = require("keras", "formats")
    Builder(keras, onnx.load(source), tuple(shape)).build().save(target)


def _onnx_from_keras(source: Path, target: Path, opset: int) -> None:
    """Keras on PyTorch is made of modules, so its model is traced like any other."""
    import torch

    from kit.conversion.adapt import fold_weights
    from kit.conversion.graph import to_onnx

    keras = require("keras", "formats")
    model = keras.models.load_model(source, compile=False, safe_mode=True)

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.inner(inputs, training=False)
            return answer

    sides = tuple(model.inputs[0].shape[1:])
    if len(model.inputs) != 1 or len(model.outputs) != 1 or None in sides:
        raise ExportError(
            f"{source.name} takes {[tuple(i.shape) for i in model.inputs]}; expected one of known shape"
        )
    proto = to_onnx(Wrapped().eval(), torch.zeros(3, *sides), opset=opset)
    fold_weights(proto)
    target.write_bytes(proto.SerializeToString())


def _tensorflow_from_keras(source: Path, target: Path, form: str) -> None:
    require("tensorflow", "tensorflow")
    keras = require("keras", "tensorflow")
    model = keras.models.load_model(source, compile=False, safe_mode=True)
    if form == "saved_model":
        model.export(str(target), format="tf_saved_model", verbose=False)
        return
    model.export(str(target), format="litert", verbose=False)


def _onnx_from_saved_model(source: Path, target: Path, opset: int) -> None:
    tensorflow = require("tensorflow", "tensorflow")
    require("keras.src.export.tf2onnx_lib", "tensorflow").patch_tf2onnx()  # else tf2onnx fails on numpy 2
    convert = require("tf2onnx.convert", "tensorflow")
    model = tensorflow.saved_model.load(str(source))  # its variables live as long as it does
    call = model.signatures["serving_default"]
    given = list(call.structured_input_signature[1].values())
    if len(given) != 1 or len(call.structured_outputs) != 1:
        raise ExportError(f"{source.name} has {len(given)} inputs; expected one input and one output")
    name, output = given[0].name, next(iter(call.structured_outputs))

    @tensorflow.function(
        input_signature=[tensorflow.TensorSpec(given[0].shape, given[0].dtype, name="input")]
    )  # type: ignore[untyped-decorator]
    def forward(inputs: Any) -> Any:
        return call(**{name: inputs})[output]

    convert.from_function(forward, forward.input_signature, opset=min(opset, 18), output_path=str(target))


_JOBS: dict[str, Callable[..., None]] = {
    "keras from onnx": _keras_from_onnx,
    "onnx from keras": _onnx_from_keras,
    "saved_model from keras": lambda source, target: _tensorflow_from_keras(source, target, "saved_model"),
    "tflite from keras": lambda source, target: _tensorflow_from_keras(source, target, "tflite"),
    "onnx from saved_model": _onnx_from_saved_model,
}


def _main(request: dict[str, Any]) -> dict[str, str]:
    """Do the job; return nothing, or the error."""
    job, source, target = request.pop("job"), Path(request.pop("source")), Path(request.pop("target"))
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            _JOBS[job](source, target, **request)
    except KitError as error:
        return {"class": type(error).__name__, "message": str(error)}
    except Exception as error:  # noqa: BLE001 -- whatever the library raises is the answer
        lines = [line for line in str(error).splitlines() if line.strip()]
        return {
            "class": "ExportError",
            "message": f"{job}: {type(error).__name__}: {(lines or [''])[0]:.300}",
        }
    return {}


if __name__ == "__main__":
    print(json.dumps(_main(json.loads(sys.argv[1]))))  # noqa: T201 -- the answer goes to the parent
