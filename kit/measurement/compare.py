"""`compare`: variants measured side by side, on one machine, in one interleaved run."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from kit.conversion.export import export
from kit.data import as_dataset
from kit.errors import ArgumentError, unknown
from kit.measurement import graph, size
from kit.measurement.benchmark import benchmark
from kit.measurement.comparison import Comparison, Row
from kit.measurement.evaluate import agree, score
from kit.measurement.glance import glance
from kit.measurement.predict import logits
from kit.measurement.products import subnormal
from kit.measurement.traits import traits
from kit.measurement.why import Facts, reasons
from kit.runtime.session import open as open_session
from kit.runtime.torch_model import TorchModel
from kit.variant import as_variant

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kit.data import Dataset
    from kit.measurement.clock import ClockName
    from kit.measurement.results import Benchmark
    from kit.runtime.session import Runtime
    from kit.variant import Variant

__all__ = ["Comparison", "Row", "compare"]

_RUNTIMES = ("onnxruntime", "openvino", "native")
_FEW = 4  # samples in which subnormal numbers are looked for
_GLANCE = 0.03  # s for each model on one thread, to see what threads bring


def compare(
    variants: Sequence[Variant | torch.nn.Module] | Mapping[str, Variant | torch.nn.Module],
    data: Any,
    *,
    split: str = "test",
    runtime: Literal["onnxruntime", "openvino", "native"] = "onnxruntime",
    batch_sizes: Sequence[int] = (1,),
    seconds: float = 1.0,
    threads: int | None = None,
    device: str | None = None,
    clock: ClockName = "auto",
    memory: bool = True,
    seed: int = 0,
) -> Comparison:
    """Measure variants against the first of them: how good, how large, how fast, and why.

    Accuracy, size and speed are all taken from the same file, opened on the same runtime: modules are
    exported to ONNX first (proven equal, and cached until their weights change). That folds batch-norm
    into its convolution, so a few parameters fewer are counted than the module has.

    Args:
        variants: at least one; a mapping names them. Equal names get a number.
        data: a `Dataset` or whatever `kit.data.as_dataset` takes.
        split: where accuracy is measured. A choice among variants belongs on "valid"; "test" is for
            reporting the one that was chosen.
        runtime: "onnxruntime" (files made for another runtime keep it), "openvino" for all, or "native":
            modules run in torch.
        batch_sizes: of the benchmark; the table shows the first.
        seconds, threads, device, clock, memory, seed: as for `kit.benchmark`.

    Returns:
        Rows, a table, Pareto fronts, `best()` and the reasons.

    Raises:
        ArgumentError: when there is nothing to compare, or a setting is unknown.
        ExportError: when a module cannot be exported, or the file is not equal to it.
        ModelError: when a model does not fit the data.

    Example:
        >>> print(kit.compare([dense, slim, int8], data))  # doctest: +SKIP
    """
    if runtime not in _RUNTIMES:
        raise unknown("runtime", runtime, _RUNTIMES)
    data = as_dataset(data)
    measured = [_measurable(variant, data, runtime) for variant in _named(variants, data)]
    on: Runtime = "openvino" if runtime == "openvino" else "auto"
    outputs, ran = [], []
    for variant in measured:
        with open_session(variant, runtime=on, device=device, threads=threads) as session:
            outputs.append(logits(session, data[split]))
            ran.append((session.runtime, session.threads))
    timed = benchmark(
        measured,
        data,
        batch_sizes=batch_sizes,
        seconds=seconds,
        runtime=on,
        threads=threads,
        device=device,
        clock=clock,
        memory=memory,
        seed=seed,
    )
    inputs = data[split].inputs[:_FEW].numpy()
    gains = _gains(measured, timed, inputs, runtime=on, device=device)
    facts = [
        _facts(variant, timed, *how, gains.get(variant.name), inputs)
        for variant, how in zip(measured, ran, strict=True)
    ]
    rows = [
        _row(variant, outputs, index, facts, timed, data, split) for index, variant in enumerate(measured)
    ]
    figures = [
        variant.with_figures(**{row.metric: row.score, "latency": row.latency, "speedup": row.speedup})
        for variant, row in zip(measured, rows, strict=True)
    ]
    return Comparison(tuple(rows), tuple(figures), timed, data.name, split, runtime)


def _named(variants: Any, data: Dataset) -> list[Variant]:
    """Wrap what was given; a name that comes twice gets a number."""
    if isinstance(variants, Mapping):
        wrapped = [as_variant(v, data.signature).renamed(str(name)) for name, v in variants.items()]
    else:
        single = isinstance(variants, torch.nn.Module) or not isinstance(variants, Sequence)
        wrapped = [as_variant(v, data.signature) for v in ([variants] if single else variants)]
    if not wrapped:
        raise ArgumentError("there is nothing to compare: give at least one variant")
    names = [variant.name for variant in wrapped]
    return [
        variant if names.index(variant.name) == i else variant.renamed(f"{variant.name} ({i + 1})")
        for i, variant in enumerate(wrapped)
    ]


def _measurable(variant: Variant, data: Dataset, runtime: str) -> Variant:
    """Return the variant as it will run: exported, unless modules run natively."""
    moved = (torch.nn.Module, TorchModel) if runtime == "openvino" else torch.nn.Module
    if runtime == "native" or not isinstance(variant.model, moved):
        return variant
    return export(variant, data=data).renamed(variant.name)


def _gains(
    measured: list[Variant], timed: Benchmark, inputs: NDArray[np.float32], **how: Any
) -> dict[str, float]:
    """Return how many times faster each is on all threads than on one; nothing where there is but one."""
    if timed.clock != "wall" or (timed.threads or 1) < 2:
        return {}
    batch = np.resize(inputs, (timed.batch_sizes[0], *inputs.shape[1:]))
    alone = glance({v.name: v for v in measured}, batch, seconds=_GLANCE, threads=1, **how)
    return {name: ms / timed[name].latency.value for name, ms in alone.items()}


def _facts(
    variant: Variant,
    timed: Benchmark,
    runtime: str,
    threads: int,
    gain: float | None,
    inputs: NDArray[np.float32],
) -> Facts:
    timing, file = timed[variant.name], variant.file
    count, filled = size.parameters(variant), size.nonzero(variant)
    sparse = file is not None and filled < 0.8 * count
    return Facts(
        bytes=size.bytes_on_disk(variant),
        parameters=count,
        nonzero=filled,
        macs=size.macs(variant),
        latency=timing.latency.value,
        overhead=timed.overhead_on(runtime).value,
        speedup=timing.speedup,
        verdict=timing.verdict,
        zipped=len(zlib.compress(file.read_bytes(), 9)) if sparse and file else None,
        batches={batch: timed.at(variant.name, batch).speedup.value for batch in timed.batch_sizes},
        threads=1 if timed.clock == "cpu" and threads else threads,
        gain=gain,
        runtime=runtime,
        subnormal=subnormal(file, inputs) if file else 0.0,
        storage=graph.weights(file).type if file else "float32",
        traits=traits(file, variant.signature.shape) if file and runtime == "onnxruntime" else None,
    )


def _row(
    variant: Variant,
    outputs: list[NDArray[np.float32]],
    index: int,
    facts: list[Facts],
    timed: Benchmark,
    data: Dataset,
    split: str,
) -> Row:
    evaluation = score(variant.name, outputs[index], data, split)
    against = agree((timed.timings[0].name, variant.name), (outputs[0], outputs[index]), data, split)
    timing, fact = timed[variant.name], facts[index]
    return Row(
        name=variant.name,
        metric="accuracy" if data.signature.classes else "rmse",
        score=evaluation.score,
        parameters=fact.parameters,
        nonzero=fact.nonzero,
        macs=fact.macs,
        bytes=fact.bytes,
        latency=timing.latency,
        speedup=timing.speedup,
        verdict=timing.verdict,
        agreement=against.same,
        change=against.change,
        p=against.p,
        memory=timing.memory,
        why=reasons(fact, facts[0]),
        evaluation=evaluation,
    )
