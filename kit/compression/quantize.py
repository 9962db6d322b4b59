"""`quantize`: fewer bits, for bytes or for speed, and what each layer paid for it."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnx

from kit import device as hardware
from kit import files
from kit.compression import integer, weight_only
from kit.compression.onnx_layers import check_float, layers, prepare
from kit.compression.quantization_plan import Plan, decide
from kit.compression.quantization_report import QuantizeReport, noise
from kit.conversion.export import export
from kit.conversion.parity import check
from kit.data import as_dataset
from kit.errors import ArgumentError, DeviceError, ModelError, unknown
from kit.measurement.evaluate import agreement
from kit.runtime.engines import openvino_core
from kit.runtime.onnx_model import OnnxModel, open_file, optimized_operators
from kit.variant import Variant, as_variant

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray
    from torch import nn

    from kit.data import Dataset

    Floats = NDArray[np.float32]

SCHEMES = {
    "static": "int8",
    "dynamic": "int8 dynamic",
    "weights8": "8-bit weights",
    "weights4": "4-bit weights",
    "fp16": "fp16",
    "bf16": "bf16",
}
_NEEDS_DATA = "a module is exported before it is quantized: give data, whose inputs prove the export equal"
METHODS = ("minmax", "entropy", "percentile")


def quantize(
    model: nn.Module | Variant,
    data: Any = None,
    *,
    scheme: Literal["static", "dynamic", "weights8", "weights4", "fp16", "bf16"] = "static",
    target: Literal["auto", "x86", "arm", "tensorrt"] = "auto",
    calibration: int = 512,
    method: Literal["minmax", "entropy", "percentile"] = "minmax",
    per_channel: bool = True,
    reduce_range: bool | Literal["auto"] = "auto",
    exclude: Collection[str] | Literal["auto"] = "auto",
    seed: int = 0,
    path: str | Path | None = None,
    name: str | None = None,
) -> Variant:
    """Store weights, and with some schemes compute, in fewer bits.

    | scheme | what has fewer bits | what it brings |
    |---|---|---|
    | static | weights and activations, int8; ranges measured beforehand | about 4x smaller, and faster |
    | dynamic | matrix products, int8; ranges measured at each call | faster transformers, no calibration |
    | weights8, weights4 | weights alone | about 4x or 7x smaller; no faster |
    | fp16 | weights, and arithmetic where the runtime has it | 2x smaller |
    | bf16 | weights, and arithmetic on OpenVINO | 2x smaller, faster with AMX or AVX512-BF16 |

    A module is exported first, with parity proven; the quantized file is opened in a fresh process and
    must give there what it gives here.

    Args:
        model: a variant (module or ONNX file), or a module together with `data`.
        data: calibrates on its valid split, never on test, and measures what happened to the accuracy.
            Only a variant that is an ONNX file already, and no static scheme, can do without.
        scheme: see the table.
        target: the processor that will run it: x86 wants unsigned activations (U8S8), ARM and TensorRT
            signed ones; "auto" is this one.
        calibration: how many validation samples measure the ranges of activations.
        method: how ranges are taken from them: their extremes, or cut to keep most of the information.
        per_channel: a scale for each output channel rather than one for each weight.
        reduce_range: 7 bits for weights; "auto" where sums would overflow 16 bits (x86 without VNNI).
        exclude: layers, or modules that contain them, to leave in float32; "auto" leaves those narrow
            first convolutions that float32 computes faster on x86; `()` leaves none.
        seed: the seed that draws the calibration samples.
        path: the file to write; by default one in this process's temporary folder.
        name: the variant's name.

    Returns:
        A variant whose model is an `OnnxModel`; its report is a `QuantizeReport`.

    Raises:
        ArgumentError: when a name is unknown, calibration is empty or data is missing.
        DeviceError: when no runtime here computes in bf16.
        ModelError: when the model is quantized already or has nothing to quantize.

    Example: `int8 = kit.quantize(dense, data)`
    """
    _check_arguments(scheme, target, calibration, method, data)
    dataset = None if data is None else as_dataset(data)
    if dataset is None and not isinstance(model, Variant):
        raise ArgumentError(_NEEDS_DATA)
    variant = as_variant(model, dataset.signature if dataset else None)
    source = _float_variant(variant, dataset)
    original = _checked_file(source)
    goal = Path(path) if path else files.scratch(f"{_slug(name or variant.name)}-{scheme}.onnx")
    with tempfile.TemporaryDirectory(prefix="maaskit-quantize-") as folder:
        prepared = Path(folder) / "prepared.onnx"
        prepare(original, prepared)
        plan = decide(
            layers(onnx.load(prepared)),
            scheme=scheme,
            target=target,
            method=method,
            per_channel=per_channel,
            reduce_range=reduce_range,
            exclude=exclude,
        )
        inputs = _samples(variant, dataset, calibration, seed)
        with files.atomic(goal) as temporary:
            bits = _write(plan, prepared, temporary, inputs)
            result = OnnxModel(temporary, **_runtime(scheme))
            _check_fresh(result, inputs)
        result = OnnxModel(goal, **_runtime(scheme))
        change = None
        if dataset is not None:
            small = Variant(result, f"{variant.name} {SCHEMES[scheme]}", variant.signature)
            change = agreement(source.renamed(variant.name), small, dataset, split="valid")
        report = QuantizeReport(
            scheme=scheme,
            format=plan.format,
            layers=noise(onnx.load(prepared), onnx.load(goal), inputs[:64], bits),
            change=change,
            bytes_before=original.stat().st_size,
            bytes_after=goal.stat().st_size,
            accelerated_by=hardware.accelerates("bf16" if scheme == "bf16" else "int8"),
            operators=optimized_operators(goal),
            calibration=f"{method} on {len(inputs):,} validation samples" if scheme == "static" else "",
            notes=plan.notes,
        )
    settings: dict[str, Any] = {"scheme": scheme, "format": report.format}
    if scheme == "static":
        settings |= {"calibration": len(inputs), "method": method, "seed": seed}
    if plan.excluded:
        settings["exclude"] = sorted(plan.excluded)
    return variant.derive(
        result, "quantize", settings, name=name or f"{variant.name} {SCHEMES[scheme]}", report=report
    )


def _check_arguments(scheme: str, target: str, calibration: int, method: str, data: Any) -> None:
    for kind, given, known in (
        ("scheme", scheme, tuple(SCHEMES)),
        ("target", target, ("auto", *integer.LAYOUTS)),
        ("calibration method", method, METHODS),
    ):
        if given not in known:
            raise unknown(kind, given, known)
    if scheme == "static" and data is None:
        raise ArgumentError("static quantization measures ranges on real samples: give data")
    if calibration < 1:
        raise ArgumentError(f"calibration needs at least 1 sample, got {calibration}; 200 to 1,000 are usual")
    if scheme == "bf16":
        _require_bf16()


def _require_bf16() -> None:
    if "BF16" not in (capable := openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")):
        raise DeviceError(
            f"no runtime here computes in bf16: this processor has {', '.join(capable)}; use scheme='fp16'"
        )


def _float_variant(variant: Variant, dataset: Dataset | None) -> Variant:
    """Return the ONNX variant to start from: the one given, or the module's export."""
    if isinstance(variant.model, OnnxModel):
        return variant
    if dataset is None:
        raise ArgumentError(
            f"{variant.name!r} is a module and is exported first: give data to prove it equal"
        )
    return export(variant, data=dataset)


def _checked_file(source: Variant) -> Path:
    """Return the file of a float32 variant that has something to quantize."""
    assert source.file is not None  # an OnnxModel always has one
    model = onnx.load(source.file)
    check_float(model, source.name)
    if not layers(model):
        kinds = sorted({node.op_type for node in model.graph.node})
        raise ModelError(f"{source.name!r} has no Conv, Gemm or MatMul to quantize, only {', '.join(kinds)}")
    return source.file


def _samples(variant: Variant, dataset: Dataset | None, count: int, seed: int) -> Floats:
    """Return validation samples, or random ones (for the self-check alone) when there are no data."""
    if dataset is None:
        shape = (min(count, 64), *variant.signature.shape)
        return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return np.asarray(dataset.valid.take(count, seed).inputs.numpy(), dtype=np.float32)


def _write(plan: Plan, prepared: Path, target: Path, inputs: Floats) -> dict[str, int]:
    """Write the quantized file and return the bits of each layer's weights."""
    found = layers(onnx.load(prepared))
    names = [layer.name for layer in found if layer.name not in plan.excluded]
    if plan.scheme == "static":
        integer.static(
            prepared,
            target,
            inputs,
            layout=plan.layout,
            method=plan.method,
            per_channel=plan.per_channel,
            reduce_range=plan.reduce_range,
            excluded=plan.excluded,
        )
        return dict.fromkeys(names, 7 if plan.reduce_range else 8)
    if plan.scheme == "dynamic":
        integer.dynamic(prepared, target, excluded=plan.excluded)
        return {layer.name: 8 for layer in found if layer.operator != "Conv" and layer.name in names}
    if plan.scheme in {"weights8", "weights4"}:
        return weight_only.quantize_weights(prepared, target, int(plan.scheme[-1]), plan.excluded)
    if plan.excluded:
        raise ArgumentError(f"{plan.scheme} converts the whole file; exclude= belongs to the integer schemes")
    write = weight_only.to_float16 if plan.scheme == "fp16" else weight_only.to_bfloat16
    write(prepared, target)
    return dict.fromkeys(names, 16)


def _runtime(scheme: str) -> dict[str, Any]:
    return {"runtime": "openvino", "precision": "bf16"} if scheme == "bf16" else {}


def _check_fresh(model: OnnxModel, inputs: Floats) -> None:
    """Open the file in a fresh process: it must give there what it gives here, at each batch size."""
    few = inputs[:128]
    engine = open_file(model.path, runtime=model.runtime, precision=model.precision)
    here = {
        batch: np.concatenate([engine.run(few[start : start + batch]) for start in range(0, len(few), batch)])
        for batch in (1, 2, 17)
    }
    tolerance = 1e-6 * max(1.0, float(np.abs(here[1]).max()))
    check(
        model.path, few, here, tolerance=tolerance, runtime=model.runtime, precision=model.precision
    ).require()


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "model"
