"""A first look at speed: one block of the interleaved run, to tell the hopeful from the hopeless."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kit.measurement.benchmark import Run
from kit.measurement.candidates import Candidate
from kit.measurement.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kit.runtime.session import Runtime


def glance(
    models: Mapping[str, Any],
    batch: NDArray[np.float32],
    *,
    seconds: float = 0.1,
    runtime: Runtime = "auto",
    device: str | None = None,
    threads: int | None = None,
    clock: Clock | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Return the median time of a call in ms, by name: each model opened once, no interval, no claim.

    `kit.benchmark` takes six blocks or more before it claims anything; this takes one.

    Args:
        models: variants, modules, ONNX files, sessions or functions of one batch, by name.
        batch: what they are called with (n, *shape).
        seconds: time to spend on each.
        runtime, device: as for `kit.open`.
        threads: of each session; by default as many as its card says, else all cores.
        clock: the wall's by default.
        seed: of the order.
    """
    entries = [Candidate(name, model) for name, model in models.items()]
    settings = {"runtime": runtime, "device": device, "threads": threads}
    run = Run(entries, {len(batch): batch}, clock or Clock("wall", "a glance"), seed, settings)
    times = run.measure(1, None, seconds)[0][len(batch)]
    middle = 1e3 * np.median(times.reshape(len(entries), -1), axis=1)
    return {entry.name: float(value) for entry, value in zip(entries, middle, strict=True)}
