"""`benchmark`: how fast, all candidates interleaved in one run, with a control that shows the noise."""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kit import device as hardware
from kit.errors import ArgumentError
from kit.measurement import memory as fresh
from kit.measurement.candidates import Candidate, candidates, samples, sessions, with_controls
from kit.measurement.clock import Clock, ClockName, Watch
from kit.measurement.results import Benchmark
from kit.measurement.timing import summarise
from kit.statistics import bootstrap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from kit.measurement.candidates import Call
    from kit.runtime.session import Runtime
    from kit.statistics import Measurement

    Found = tuple[dict[int, NDArray[np.float64]], dict[int, "Plan"], dict[str, Measurement]]

_CALLS = 10
"""So many are timed one after another in a round, after at least one that refills the caches."""

_WARM = 0.01
"""For so many seconds, and at least three calls, a freshly opened model is called untimed."""

_SETTLE = 0.005
"""For so long a model of several threads is called untimed first: the idle threads of the one before it
still spin. On two cores the p99 of a 0.1 ms net was 4 ms without, 0.2 ms with it."""


@dataclass(frozen=True)
class Plan:
    """How often a batch size is timed: `blocks` × `rounds` × `calls` a candidate.

    Attributes:
        blocks, rounds, calls: how many.
        settle: seconds of untimed calls before the timed ones of a round; at least one call.
    """

    blocks: int
    rounds: int
    calls: int
    settle: float


def benchmark(
    models: Sequence[Any] | Mapping[str, Any] | Any,
    data: Any = None,
    *,
    inputs: NDArray[np.float32] | None = None,
    batch_sizes: Sequence[int] = (1,),
    seconds: float = 1.0,
    blocks: int = 12,
    rounds: int | None = None,
    runtime: Runtime = "auto",
    device: str | None = None,
    threads: int | None = None,
    clock: ClockName = "auto",
    control: bool = True,
    memory: bool = True,
    seed: int = 0,
) -> Benchmark:
    """Time models side by side: interleaved in random order, against the first of them.

    A block opens every model anew, in random order; a round calls every model once untimed and a few times
    timed, again in random order. Whatever drifts meets all of them, and the place in memory that an
    opening happened to get (worth 1–3 % on small nets) is drawn again in each block. The first model
    takes part twice: a difference is claimed only when it is larger than the one between these two.

    Args:
        models: variants, modules, ONNX files, sessions or functions of one batch; a mapping names them.
            Sessions and functions are called as they are, so that a claim is about these objects.
        data: a `Dataset`, whose test inputs are used.
        inputs: an array (N, *shape) to draw batches from, instead of `data`.
        batch_sizes: samples in a call; each size gets its own rows.
        seconds: time to spend on each candidate and batch size.
        blocks: independent repetitions, at least 6.
        rounds: in each block; by default as many as the time allows, up to 20.
        runtime: as for `kit.open`: "auto", "torch", "onnxruntime" or "openvino".
        device: as for `kit.open`.
        threads: of each session; by default as many as its card says, else all cores; on the cpu clock one.
        clock: "wall", "cpu" (processor time of all threads), or "auto": cpu when others keep the
            machine busy, else wall.
        control: whether the first candidate takes part twice.
        memory: whether peak memory is measured, for ONNX files on ONNX Runtime, in a fresh process each.
        seed: of the orders and the batches.

    Raises:
        ArgumentError: when there is nothing to measure, or a setting is outside its range.
        DataError: when a model cannot take the inputs.

    Example:
        >>> print(kit.benchmark([dense, int8], data, batch_sizes=(1, 32)))  # doctest: +SKIP
    """
    if blocks < 6 or (rounds is not None and rounds < 1) or seconds <= 0:
        raise ArgumentError(f"need blocks ≥ 6, rounds ≥ 1, seconds > 0; got {blocks}, {rounds}, {seconds}")
    given = candidates(models)
    batches = samples(given, data, inputs, batch_sizes, seed)
    shape = next(iter(batches.values())).shape[1:]
    entries = with_controls(given, shape, control=control)
    chosen = Clock.choose(clock)
    cores = threads or (1 if chosen.name == "cpu" else None)
    run = Run(entries, batches, chosen, seed, {"runtime": runtime, "device": device, "threads": cores})
    watch, before = Watch(), hardware.load()
    times, plans, opening = run.measure(blocks, rounds, seconds)
    others, after = watch.others(), hardware.load()
    peaks = _peaks(given, shape, batch_sizes, cores or hardware.threads(), runtime) if memory else {}
    roles = [(entry.name, entry.role) for entry in entries]
    timings = []
    for size in batches:
        known = {name: sizes[size] for name, sizes in peaks.items()}
        timings += summarise(roles, times[size], size, opening=opening, memory=known)
    return Benchmark(
        timings=tuple(timings),
        clock=run.clock.name,
        reason=run.clock.reason,
        threads=run.threads,
        plans={size: (plan.blocks, plan.rounds, plan.calls) for size, plan in plans.items()},
        load=(before, after),
        others=others,
        machine=hardware.describe(),
    )


class Run:
    """One interleaved run over all candidates and batch sizes."""

    def __init__(
        self,
        entries: list[Candidate],
        batches: dict[int, NDArray[Any]],
        clock: Clock,
        seed: int,
        settings: dict[str, Any],
    ) -> None:
        self.entries, self.clock, self.settings = entries, clock, settings
        self.batches, self.generator = batches, np.random.default_rng(seed)
        self.threads: int | None = None
        self.synchronize = _no_device

    def measure(self, blocks: int, rounds: int | None, seconds: float) -> Found:
        """Return times by batch size (candidates, blocks, rounds, calls), the plans, and opening times."""
        plans: dict[int, Plan] = {}
        times: dict[int, NDArray[np.float64]] = {}
        openings: dict[str, list[float]] = {}
        warmup: dict[int, list[int]] = {}
        for block in range(blocks):
            with self._opened(openings) as calls:
                for size, batch in self.batches.items():
                    quick = self._warm(calls, batch, warmup.setdefault(size, []))
                    if block == 0:
                        settle = _SETTLE if (self.threads or 1) > 1 else 0.0
                        plans[size] = _plan(quick, blocks, rounds, seconds, settle)
                        shape = (len(calls), blocks, plans[size].rounds, plans[size].calls)
                        times[size] = np.empty(shape)
                    self._rounds(calls, batch, times[size][:, block], plans[size].settle)
        opening = {name: bootstrap(values, unit="ms") for name, values in openings.items()}
        return times, plans, opening

    @contextlib.contextmanager
    def _opened(self, openings: dict[str, list[float]]) -> Iterator[list[Call]]:
        """Open all candidates in random order, between blocks of memory of random size; close them after.

        Source: C. Curtsinger & E. Berger, "Stabilizer: statistically sound performance evaluation",
        ASPLOS 2013: a layout that is drawn anew turns its effect from a bias into noise.
        """
        calls: list[Any] = [None] * len(self.entries)
        padding = []
        first = next(iter(self.batches.values()))
        try:
            for i in self.generator.permutation(len(self.entries)):
                padding.append(bytearray(int(self.generator.integers(1, 1 << 18))))
                begin = time.perf_counter()
                calls[i] = self.entries[i].open(**self.settings)
                calls[i](first)
                if self.entries[i].reopens:
                    openings.setdefault(self.entries[i].name, []).append(1e3 * (time.perf_counter() - begin))
            self._look_at(calls)
            yield calls
        finally:
            for entry, call in zip(self.entries, calls, strict=True):
                if entry.reopens and call is not None:
                    call.close()

    def _look_at(self, calls: list[Call]) -> None:
        """Take the threads from the sessions themselves; the cpu clock would not see a GPU's work."""
        self.synchronize = _synchronizer()
        known = {session.threads for session in sessions(calls)}
        self.threads = max(known) if known else None
        if 0 in known and self.clock.name == "cpu":
            self.clock = Clock("wall", "a GPU computes, whose time the cpu clock does not see")

    def _warm(self, calls: list[Call], batch: NDArray[Any], warmup: list[int]) -> list[float]:
        """Call each untimed, as often as `warmup` says or, when it is empty, for some ms, and note how often.

        Returns:
            The seconds of the quickest call of each.
        """
        often = list(warmup)
        warmup.clear()
        quickest = []
        for i, call in enumerate(calls):
            durations: list[float] = []
            while len(durations) < often[i] if often else len(durations) < 3 or sum(durations) < _WARM:
                begin = time.perf_counter()
                call(batch)
                self.synchronize()
                durations.append(time.perf_counter() - begin)
            quickest.append(min(durations))
            warmup.append(len(durations))
        return quickest

    def _rounds(
        self, calls: list[Call], batch: NDArray[Any], times: NDArray[np.float64], settle: float
    ) -> None:
        """Fill `times` (candidates, rounds, calls) with seconds."""
        read, synchronize, collecting = self.clock.read, self.synchronize, gc.isenabled()
        batches = [batch.copy() for _ in calls]
        gc.disable()  # a collection belongs to nobody and would be charged to somebody
        try:
            for turn in range(times.shape[1]):
                for i in self.generator.permutation(len(calls)):
                    call, inputs, row = calls[i], batches[i], times[i, turn]
                    self._settle(call, inputs, settle)
                    for k in range(len(row)):
                        begin = read()
                        call(inputs)
                        synchronize()
                        row[k] = read() - begin
        finally:
            if collecting:
                gc.enable()

    def _settle(self, call: Call, inputs: NDArray[Any], seconds: float) -> None:
        """Call untimed, once and then for some seconds."""
        end = time.perf_counter() + seconds
        call(inputs)
        while time.perf_counter() < end:
            call(inputs)
        self.synchronize()


def _no_device() -> None:
    """Nothing to wait for."""


def _synchronizer() -> Callable[[], None]:
    """Return what waits for the GPU, if this process has used one."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.synchronize  # type: ignore[no-any-return]
    return _no_device


def _plan(quickest: list[float], blocks: int, rounds: int | None, seconds: float, settle: float) -> Plan:
    """Share the time of a block out: first over the calls of at least two rounds, then over rounds."""
    share, each = seconds / blocks, sum(quickest) / len(quickest)
    calls = max(1, min(_CALLS, int(share / (2 * each)) - 1))
    fitting = max(2, min(20, int(share / (settle + each * (calls + 1)))))
    return Plan(blocks, rounds or fitting, calls, settle)


def _peaks(
    given: list[Candidate], shape: tuple[int, ...], sizes: Sequence[int], threads: int, runtime: str
) -> dict[str, dict[int, int]]:
    """Measure peak memory of the candidates that are ONNX files and run on ONNX Runtime."""
    if runtime not in {"auto", "onnxruntime"}:
        return {}
    files = {c.name: c.file for c in given if c.file is not None and c.runtime in {None, "onnxruntime"}}
    return {name: fresh.peak(file, shape, sizes, threads=threads) for name, file in files.items()}
