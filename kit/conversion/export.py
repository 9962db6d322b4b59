"""`export`: a module as an ONNX file, proven equal in a fresh process. `convert` goes everywhere else."""

from __future__ import annotations

import hashlib
import re
import shutil
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn

from kit import files
from kit.conversion.graph import culprit, to_onnx
from kit.conversion.parity import ParityReport, check
from kit.data import as_dataset
from kit.errors import ArgumentError, ExportError, ModelError
from kit.runtime.onnx_model import OnnxModel
from kit.variant import Variant, as_variant

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kit.data import Dataset

    Floats = NDArray[np.float32]

_ILL_CONDITIONED = 1e-3  # rounding that moves the outputs by more than this share is no rounding
ROUNDING = 10.0  # runtimes differ from PyTorch by 2-3 times PyTorch's own rounding error


@dataclass(frozen=True)
class _Export:
    """A file that was proven equal, and what it was proven for."""

    weights: str
    inputs: str
    digest: str
    opset: int
    report: ParityReport
    path: Path


_proven: WeakKeyDictionary[nn.Module, _Export] = WeakKeyDictionary()


def export(
    model: nn.Module | Variant,
    *,
    data: Any = None,
    path: str | Path | None = None,
    opset: int = 20,
    samples: int = 1000,
    tolerance: float | None = None,
    name: str | None = None,
) -> Variant:
    """Convert a module to one self-contained ONNX file with a free batch size, and prove it equal.

    It is `kit.convert(model, "onnx", data=data)` for modules, with a choice of opset and a memory.

    A fresh process opens the file and must give the same outputs, and the same class, on real inputs
    in batches of 1, 2 and 17. A proven export is remembered until the module's weights or the data change.

    Args:
        model: a variant, or a module together with `data`. It is exported in eval mode.
        data: where the real inputs come from (its valid split, then train; never test).
        path: the file to write; by default one in this process's temporary folder.
        opset: the version of ONNX's operators, 18 or newer.
        samples: how many inputs to prove it on; all of them when there are fewer.
        tolerance: the largest absolute difference. By default ten times the rounding error that
            PyTorch itself makes on these inputs, measured against float64.
        name: the variant's name.

    Returns:
        A variant whose model is an `OnnxModel`; its report is the `ParityReport`.

    Raises:
        ExportError: when the module cannot be converted; the operator and the layer are named.
        ParityError: when the file answers differently; the first differing input and suspects are shown.
        StorageError: when the file cannot be written.

    Example: `kit.export(dense, data=data, path="runs/convnet.onnx")`
    """
    if data is None:
        raise ArgumentError("export proves a file equal on real inputs: give data=, the data of the model")
    if opset < 18 or samples < 1:
        raise ArgumentError(f"expected opset >= 18 and samples >= 1, got {opset} and {samples}")
    dataset = as_dataset(data)
    variant = as_variant(model, dataset.signature)
    if isinstance(variant.model, OnnxModel):
        raise ModelError(f"{variant.name!r} already is an ONNX file: {variant.file}")
    target = Path(path) if path else files.scratch(f"{slug(name or variant.name)}.onnx")
    inputs = real_inputs(dataset, samples)
    done = _remembered(variant.module, inputs, opset) if tolerance is None else None
    if done is None:
        done = _convert(variant.module, inputs, target, opset, tolerance)
        _proven[variant.module] = done
    elif path is not None:
        with files.atomic(target) as temporary:
            shutil.copyfile(done.path, temporary)
    else:
        target = done.path
    settings = {"format": "onnx", "opset": opset}
    return variant.derive(
        OnnxModel(target), "export", settings, name=name or f"{variant.name} onnx", report=done.report
    )


def _convert(module: nn.Module, inputs: Floats, target: Path, opset: int, tolerance: float | None) -> _Export:
    """Write the file beside its final place, prove it, and only then move it there."""
    frozen = deepcopy(module).cpu().eval()
    expected = _answers(frozen, inputs)
    if tolerance is None:
        tolerance = ROUNDING * rounding_error(frozen, inputs[:128], expected[:128])
    proto = to_onnx(frozen, torch.from_numpy(at_least_two(inputs)), opset=opset)
    with files.atomic(target) as temporary:
        temporary.write_bytes(proto.SerializeToString())
        report = check(temporary, inputs, expected, tolerance=tolerance)
        report.require()
    report = ParityReport(**{**vars(report), "path": str(target)})
    seen = hashlib.sha256(inputs.data).hexdigest()
    return _Export(fingerprint(module), seen, files.digest(target), opset, report, target)


def _answers(module: nn.Module, inputs: Floats) -> Floats:
    """Return the original's outputs (N, outputs), or say why they cannot be compared."""
    batch = torch.from_numpy(inputs)
    try:
        with torch.inference_mode():
            parts = [module(batch[start : start + 250]) for start in range(0, len(batch), 250)]
            again = [module(batch[:1]), module(batch[:7])]
    except Exception as error:  # the module's own code
        where, line = culprit(module, error.__traceback__)
        shape = tuple(inputs.shape[1:])
        raise ModelError(f"{where} cannot run batches of inputs {shape}: {error}{line}") from error
    kind = type(module).__name__
    if not all(isinstance(part, torch.Tensor) for part in parts):
        raise ExportError(f"{kind} gives {type(parts[0]).__name__}; export needs one tensor")
    answers = torch.cat(parts).float()
    if len(answers) != len(inputs):
        raise ExportError(f"{kind} gives {tuple(answers.shape)} for {len(inputs)} inputs; one row each")
    if not bool(torch.isfinite(answers).all()):
        raise ExportError(f"{kind} itself gives NaN or infinity on these inputs")
    apart = max(float((part.float() - answers[: len(part)]).abs().max()) for part in again)
    if apart > _ILL_CONDITIONED * float(answers.abs().max()):
        raise ExportError(
            f"{kind} answers differently (by {apart:.2g}) when asked again in a smaller batch: it is "
            "random, or the samples of a batch influence one another; such a model cannot be compared"
        )
    return answers.numpy()


def rounding_error(module: nn.Module, inputs: Floats, expected: Floats) -> float:
    """Return the module's rounding error: float32 against float64, at least one unit in the last place."""
    floor = float(np.spacing(np.abs(expected).max()))
    try:
        with torch.inference_mode():
            exact = deepcopy(module).double()(torch.from_numpy(inputs).double()).numpy()
    except RuntimeError:  # a module with its own float32 tensors has no float64 form
        return 10 * floor
    error = float(np.abs(exact - expected).max())
    if error > _ILL_CONDITIONED * float(np.abs(expected).max()):
        raise ExportError(
            f"{type(module).__name__} is off by {error:.2g} from itself in float64: it is random or too "
            "sensitive to rounding to be compared; give tolerance="
        )
    return max(floor, error)


def _remembered(module: nn.Module, inputs: Floats, opset: int) -> _Export | None:
    """Return the proven export of this very module, if neither it, its file nor the inputs are new."""
    done = _proven.get(module)
    if done is None or done.opset != opset or not done.path.is_file():
        return None
    if done.inputs != hashlib.sha256(inputs.data).hexdigest():
        return None
    if done.weights != fingerprint(module) or done.digest != files.digest(done.path):
        return None
    few = inputs[:64]  # weights may stay while the code changes: a quick look at the answers
    now = _answers(deepcopy(module).cpu().eval(), few)
    return done if np.abs(OnnxModel(done.path)(few) - now).max() <= done.report.tolerance else None


def fingerprint(module: nn.Module) -> str:
    """Return a checksum of all weights and of the module's structure."""
    total = hashlib.sha256(repr(module).encode())
    for key, tensor in module.state_dict().items():
        total.update(key.encode())
        total.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def real_inputs(dataset: Dataset, samples: int) -> Floats:
    """Return up to `samples` inputs, from valid first and then from train."""
    first = dataset.valid.take(samples).inputs
    missing = samples - len(first)
    parts = [first, dataset.train.take(missing).inputs] if missing > 0 else [first]
    return torch.cat(parts).numpy()


def at_least_two(inputs: Floats) -> Floats:
    """Return two or three inputs to trace with: a batch of one would be written into the graph."""
    return np.resize(inputs, (max(2, min(3, len(inputs))), *inputs.shape[1:]))


def slug(name: str) -> str:
    """Return a name as a file's: letters, digits, dots and dashes."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "model"
