"""`quantize`: fewer bits, for bytes or for speed, and what each layer paid for it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnx

from kit import device as hardware
from kit import files
from kit.compression.quantization import integer, weight_only
from kit.compression.quantization.bits import Workbench
from kit.compression.quantization.float_file import checked_file, float_variant
from kit.compression.quantization.onnx_layers import layers, prepare
from kit.compression.quantization.plan import WEIGHTS, Plan, check_mixed, decide
from kit.compression.quantization.report import QuantizeReport, noise
from kit.compression.quantization.training import Training, learn
from kit.conversion.export import slug
from kit.conversion.parity import check
from kit.data import as_dataset
from kit.errors import ArgumentError, DeviceError, unknown
from kit.measurement.evaluate import agreement
from kit.runtime.engines import openvino_core
from kit.runtime.onnx_model import OnnxModel, open_file, optimized_operators
from kit.variant import Variant, as_variant

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray
    from torch import nn

    from kit.data import Dataset

    Floats = NDArray[np.float32]

SCHEMES = {
    "static": "int8",
    "dynamic": "int8 dynamic",
    "weights8": "8-bit weights",
    "weights4": "4-bit weights",
    "mixed": "mixed bits",
    "fp16": "fp16",
    "bf16": "bf16",
}
METHODS = ("minmax", "entropy", "percentile")


def quantize(
    model: nn.Module | Variant,
    data: Any = None,
    *,
    scheme: Literal["static", "dynamic", "weights8", "weights4", "mixed", "fp16", "bf16"] = "static",
    target: Literal["auto", "x86", "arm", "tensorrt"] = "auto",
    calibration: int = 512,
    method: Literal["minmax", "entropy", "percentile"] = "minmax",
    per_channel: bool = True,
    reduce_range: bool | Literal["auto"] = "auto",
    exclude: Collection[str] | Literal["auto"] = "auto",
    bits: Mapping[str, int] | None = None,
    budget: int | None = None,
    block: int | None = weight_only.BLOCK,
    finetune: int = 0,
    distill: bool = True,
    temperature: float = 4.0,
    weight: float = 0.7,
    seed: int = 0,
    path: str | Path | None = None,
    name: str | None = None,
    **training: Any,
) -> Variant:
    """Store weights, and with some schemes compute, in fewer bits.

    | scheme | what has fewer bits | what it brings |
    |---|---|---|
    | static | weights and activations, int8; ranges measured beforehand | about 4x smaller, and faster |
    | dynamic | matrix products, int8; ranges measured at each call | faster transformers, no calibration |
    | weights8, weights4 | weights alone | about 4x or 7x smaller; no faster |
    | mixed | weights alone, each layer with bits of its own | as small as a budget says |
    | fp16 | weights, and arithmetic where the runtime has it | 2x smaller |
    | bf16 | weights, and arithmetic on OpenVINO | 2x smaller, faster with AMX or AVX512-BF16 |

    A module is exported first, with parity proven; the quantized file is opened in a fresh process and
    must give there what it gives here. With `finetune` the net learns while it is rounded exactly as the file
    will be (quantization-aware training); the scales are learned too, and the file has those.

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
        bits: for "mixed": 4, 8 or 32 by layer name; layers not named keep 32.
        budget: for "mixed" instead of `bits`: most bytes that the file may have. The bits are chosen by what
            each layer alone does to the answers on the validation split, see `kit.bit_sensitivity`.
        block: how many weights share a scale at 4 bits: 16, 32, 64 and so on; None for all of an output,
            which is smaller and rounds worse, until it is trained.
        finetune: epochs of training; 0 for none. With "static", "weights8", "weights4" and "mixed".
        distill: learn from the float32 model's answers as well as from the labels.
        temperature, weight: of that distillation, as in `kit.distill`.
        seed: the seed that draws the calibration samples, and of the training.
        path: the file to write; by default one in this process's temporary folder.
        name: the variant's name.
        training: with `finetune`: anything else that `kit.train` takes, such as `lr` or `augment`.

    Returns:
        A variant whose model is an `OnnxModel`; its report is a `QuantizeReport`.

    Raises:
        ArgumentError: when a name is unknown, calibration is empty, data missing, or a budget out of reach.
        DeviceError: when no runtime here computes in bf16.
        ModelError: when the model is quantized already, has nothing to quantize, or cannot be trained.
        ParityError: when the file answers otherwise than the net that was trained.

    Example: `int8 = kit.quantize(dense, data)`
    """
    _check_arguments(scheme, target, calibration, method, data, learns=bool(finetune) or budget is not None)
    check_mixed(scheme, bits, budget, block)
    how = Training.of(
        scheme,
        finetune,
        distill=distill,
        temperature=temperature,
        weight=weight,
        seed=seed,
        given=training,
    )
    dataset = None if data is None else as_dataset(data)
    if dataset is None and not isinstance(model, Variant):
        raise ArgumentError(
            "a module is exported before it is quantized: give data, whose inputs prove the export equal"
        )
    variant = as_variant(model, dataset.signature if dataset else None)
    source = float_variant(variant, dataset)
    original = checked_file(source)
    goal = Path(path) if path else files.scratch(f"{slug(name or variant.name)}-{scheme}.onnx")
    with tempfile.TemporaryDirectory(prefix="maaskit-quantize-") as folder:
        prepared = Path(folder) / "prepared.onnx"
        prepare(original, prepared)
        found = layers(onnx.load(prepared))
        if budget is not None and dataset is not None:
            bits = Workbench(variant, prepared, dataset, block=block, seed=seed).spend(budget)
        plan = decide(
            found,
            scheme=scheme,
            target=target,
            method=method,
            per_channel=per_channel,
            reduce_range=reduce_range,
            exclude=exclude,
            bits=bits,
            block=block,
        )
        inputs = _samples(variant, dataset, calibration, seed)
        with files.atomic(goal) as temporary:
            _write(plan, prepared, temporary, inputs)
            learned = None
            if how is not None and dataset is not None:
                learned = learn(how, plan, prepared, temporary, variant, dataset)
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
            layers=noise(onnx.load(prepared), onnx.load(goal), inputs[:64], plan.bits(found)),
            change=change,
            bytes_before=original.stat().st_size,
            bytes_after=goal.stat().st_size,
            accelerated_by=hardware.accelerates("bf16" if scheme == "bf16" else "int8"),
            operators=optimized_operators(goal),
            calibration=f"{method} on {len(inputs):,} validation samples" if scheme == "static" else "",
            notes=plan.notes,
            learned=learned,
        )
    settings: dict[str, Any] = {"scheme": scheme, "format": report.format}
    if scheme == "static":
        settings |= {"calibration": len(inputs), "method": method, "seed": seed}
    if plan.excluded:
        settings["exclude"] = sorted(plan.excluded)
    if scheme == "mixed":
        settings["bits"] = plan.bits(found)
    if how is not None:
        settings |= how.recipe()
    return variant.derive(
        result, "quantize", settings, name=name or f"{variant.name} {SCHEMES[scheme]}", report=report
    )


def _check_arguments(
    scheme: str, target: str, calibration: int, method: str, data: Any, *, learns: bool
) -> None:
    for kind, given, known in (
        ("scheme", scheme, tuple(SCHEMES)),
        ("target", target, ("auto", *integer.LAYOUTS)),
        ("calibration method", method, METHODS),
    ):
        if given not in known:
            raise unknown(kind, given, known)
    if scheme == "static" and data is None:
        raise ArgumentError("static quantization measures ranges on real samples: give data")
    if data is None and learns:
        raise ArgumentError(
            "to train, or to choose bits by what they do to the answers, takes samples: give data"
        )
    if calibration < 1:
        raise ArgumentError(f"calibration needs at least 1 sample, got {calibration}; 200 to 1,000 are usual")
    if scheme == "bf16":
        _require_bf16()


def _require_bf16() -> None:
    if "BF16" not in (capable := openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")):
        raise DeviceError(
            f"no runtime here computes in bf16: this processor has {', '.join(capable)}; use scheme='fp16'"
        )


def _samples(variant: Variant, dataset: Dataset | None, count: int, seed: int) -> Floats:
    """Return validation samples, or random ones (for the self-check alone) when there are no data."""
    if dataset is None:
        shape = (min(count, 64), *variant.signature.shape)
        return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return np.asarray(dataset.valid.take(count, seed).inputs.numpy(), dtype=np.float32)


def _write(plan: Plan, prepared: Path, target: Path, inputs: Floats) -> None:
    """Write the quantized file."""
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
    elif plan.scheme == "dynamic":
        integer.dynamic(prepared, target, excluded=plan.excluded)
    elif plan.scheme in WEIGHTS:
        weight_only.quantize_weights(prepared, target, plan.forms)
    else:
        (weight_only.to_float16 if plan.scheme == "fp16" else weight_only.to_bfloat16)(prepared, target)


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
