"""`fastest`: try every way to run a model on this machine, and take the fastest that answers as it does."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from kit.compression.quantization.onnx_layers import check_float
from kit.compression.runtimes.choice import Choice, Tried
from kit.compression.runtimes.forms import Forms
from kit.compression.runtimes.gate import Gate
from kit.compression.runtimes.race import Entry, gentlest, hopeful, verdicts
from kit.compression.runtimes.ways import Way, thread_counts, ways
from kit.conversion.parity import check
from kit.data import as_dataset
from kit.errors import ArgumentError, KitError, ModelError
from kit.measurement.benchmark import benchmark
from kit.measurement.clock import Clock
from kit.measurement.glance import glance
from kit.measurement.graph import load
from kit.runtime.onnx_model import OnnxModel
from kit.variant import Variant, as_variant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import nn

    from kit.measurement.clock import ClockName
    from kit.measurement.results import Benchmark

    Floats = NDArray[np.float32]

_LONG = 2.0  # s; finalists that take longer to open and compare are opened 6 times and not 12
_ROUNDING = 1e-3  # of the largest answer: kernels in bf16 may add up in another order in another process
_BUSY = "Others keep the machine busy: all were timed with one thread on the cpu clock, and no number of \
threads was chosen."


def fastest(
    model: nn.Module | Variant,
    data: Any,
    *,
    max_drop: float = 0.5,
    agreement: float = 0.95,
    candidates: Sequence[str] | str = "all",
    batch_size: int = 1,
    threads: int | None = None,
    seconds: float = 1.0,
    samples: int = 2000,
    calibration: int = 300,
    clock: ClockName = "auto",
    seed: int = 0,
    name: str | None = None,
) -> Variant:
    """Find the fastest way to run a model on this machine that answers as the model does.

    Candidates are all that runtimes, precisions and numbers of threads give here: ONNX Runtime, OpenVINO
    and torch, in float32, bf16, fp16 and int8 (static, dynamic, NNCF's). Each is opened and compared with
    the given model on the validation split; all are timed briefly; the most hopeful are measured in one
    interleaved run. Of those that are as fast as the fastest, the one with the gentlest precision is taken.

    On an NVIDIA GPU the CUDA and TensorRT providers and torch's fp16, bf16, `torch.compile`, CUDA graphs
    and 2:4 sparsity take part. That path has not been run on a GPU yet.

    Args:
        model: a variant (module or ONNX file), or a module.
        data: a `Dataset` or whatever `kit.data.as_dataset` takes. Its valid split calibrates and judges.
        max_drop: points of accuracy that may be lost; for regression percent of RMSE that may be added.
        agreement: the least share of answers (of variance, for regression) that must be the model's own.
        candidates: "all", or names, or first words such as "openvino" or "torch bf16".
        batch_size: samples in a call, for which it is to be fast.
        threads: of a call; by default all cores, half of them, and one are tried.
        seconds: time to spend on each finalist; a tenth of it on each candidate before.
        samples: validation samples to compare answers on, at most.
        calibration: validation samples that measure the ranges of activations.
        clock: as for `kit.benchmark`. On the cpu clock only one thread is tried, and no number is chosen.
        seed: of calibration, orders and batches.
        name: the variant's name.

    Returns:
        A variant that opens as chosen, also after `kit.save` and `kit.load`; its report is a `Choice`.

    Raises:
        ArgumentError: when a name stands for no candidate, or a setting is outside its range.
        ModelError: when no candidate can be built, or none answers as the model does.
        ParityError: when the chosen file answers differently in a fresh process.

    Example:
        >>> fast = kit.fastest(dense, data)  # doctest: +SKIP
        >>> print(fast.report)  # doctest: +SKIP
    """
    if max_drop < 0 or not 0 <= agreement <= 1 or seconds <= 0 or min(batch_size, samples, calibration) < 1:
        raise ArgumentError(
            "expected max_drop >= 0, agreement from 0 to 1, seconds > 0 and batch_size, samples, calibration "
            f">= 1; got {max_drop}, {agreement}, {seconds}, {batch_size}, {samples}, {calibration}"
        )
    dataset, watch = as_dataset(data), Clock.choose(clock)
    if watch.name == "cpu" and threads not in {None, 1}:
        raise ArgumentError("the cpu clock compares models of one thread: give threads=1 or clock='wall'")
    blind = watch.name == "cpu" and threads is None
    variant = as_variant(model, dataset.signature)
    asked = _called_right(ways(candidates), variant)
    forms = Forms(variant, dataset, calibration=calibration, seed=seed)
    judged = replace(dataset, valid=dataset.valid.take(samples, seed))
    gate = Gate(variant, judged, max_drop=max_drop, agreement=agreement)

    admitted = [_admitted(way, forms, gate, variant) for way in asked]
    refused = [one for one in admitted if isinstance(one, Tried)]
    counts = [None] if blind else thread_counts(threads)
    racing = [again for one in admitted if isinstance(one, Entry) for again in _spread(one, forms, counts)]
    if not racing:
        raise ModelError("no candidate can be built: " + "; ".join(f"{r.name}: {r.why}" for r in refused))
    pool = judged.valid.inputs.numpy()
    racing = _screened(racing, pool, batch_size, watch, seconds / 10, seed)
    finalists = hopeful(racing)
    timed = _measured([racing[0], *finalists], pool, batch_size, watch, seconds, seed)
    chosen = gentlest(finalists, timed)
    _check_fresh(chosen.variant, pool)

    choice = Choice(
        tried=(*verdicts(racing, timed, chosen), *refused),
        chosen=chosen.name,
        baseline=racing[0].name,
        benchmark=timed,
        data=f"{dataset.name} valid, n = {len(pool):,}",
        max_drop=max_drop,
        agreement=agreement,
        batch_size=batch_size,
        notes=(_BUSY,) if blind else (),
    )
    settings = {"chosen": chosen.name, "form": chosen.way.form, "max_drop": max_drop}
    settings |= {"batch_size": batch_size, "calibration": calibration, "seed": seed}
    label = name or f"{variant.name} on {chosen.name}"
    return variant.derive(chosen.variant.model, "fastest", settings, name=label, report=choice)


def _called_right(asked: list[Way], variant: Variant) -> list[Way]:
    """Call a file that is no float32 file what it is: "as written"."""
    if not isinstance(variant.model, OnnxModel):
        return asked
    try:
        check_float(load(variant.model.path), variant.name)
    except ModelError:
        names = {way.name: way.name.replace("fp32", "as written") for way in asked if way.form == "fp32"}
        return [replace(way, name=names.get(way.name, way.name)) for way in asked]
    return asked


def _admitted(way: Way, forms: Forms, gate: Gate, given: Variant) -> Entry | Tried:
    """Build a candidate and compare its answers with the given model's, or say why it cannot be built."""
    try:
        if way.on_gpu and not torch.cuda.is_available():
            raise ModelError("this machine has no NVIDIA GPU that torch can use")
        found = Variant(forms.model(way), way.name, given.signature)
        begin = time.perf_counter()
        change = gate.compare(found)
    except KitError as error:  # the report shows it
        reason = str(error).strip().split("\n", 1)[0].rstrip(".")
        return Tried(way.name, way.form, way.execution, "not built", reason)
    return Entry(way, found, change, gate.objection(change), time.perf_counter() - begin)


def _spread(entry: Entry, forms: Forms, counts: Sequence[int | None]) -> list[Entry]:
    """Return a candidate with each number of threads; one that is out already with the first alone."""
    found = {}
    for count in counts[:1] if entry.objection else counts:
        way = entry.way.with_threads(count)
        variant = Variant(forms.model(way), way.name, entry.variant.signature)
        found[way.name] = replace(entry, way=way, variant=variant)
    return list(found.values())


def _screened(
    racing: list[Entry], pool: Floats, batch_size: int, watch: Clock, seconds: float, seed: int
) -> list[Entry]:
    """Return the candidates with the time of a call at a first glance."""
    batch = pool[np.random.default_rng(seed).integers(0, len(pool), batch_size)]
    models = {entry.name: entry.variant for entry in racing}
    seen = glance(models, batch, seconds=seconds, clock=watch, threads=_threads(watch), seed=seed)
    return [replace(entry, glance=seen[entry.name]) for entry in racing]


def _measured(
    several: list[Entry], pool: Floats, batch_size: int, watch: Clock, seconds: float, seed: int
) -> Benchmark:
    """Measure the finalists in one interleaved run; the first is the baseline."""
    return benchmark(
        {entry.name: entry.variant for entry in several},
        inputs=pool,
        batch_sizes=(batch_size,),
        seconds=seconds,
        blocks=6 if sum(entry.opening for entry in several) > _LONG else 12,
        threads=_threads(watch),
        clock=watch.name,
        memory=False,
        seed=seed,
    )


def _threads(watch: Clock) -> int | None:
    """On the cpu clock one thread; else as many as each candidate has."""
    return 1 if watch.name == "cpu" else None


def _check_fresh(chosen: Variant, inputs: Floats) -> None:
    """Open a chosen file in a fresh process, in the same way: it must answer there as it does here."""
    if not isinstance(chosen.model, OnnxModel):
        return
    few, how = inputs[:32], chosen.model.execution
    here = {
        size: np.concatenate([chosen(few[i : i + size]) for i in range(0, len(few), size)])
        for size in (1, 16)
    }
    check(
        chosen.model.path,
        few,
        here,
        tolerance=_ROUNDING * max(1.0, float(np.abs(here[1]).max())),
        batches=tuple(here),
        runtime=how.runtime,
        precision=how.precision,
        threads=how.threads,
        device=how.device,
    ).require()
