"""Is the benchmark itself right? Known delays must come back, and equal models must look equal.

python tests/benchmarks/harness.py [comparisons]
"""

from __future__ import annotations

import sys
import time
from collections import Counter

import numpy as np

import kit

DELAYS = {  # n delays in ms, by a random generator
    "constant 1 ms": lambda _, n: np.full(n, 1.0),
    "lognormal, median 1 ms, p99 6.4 ms": lambda random, n: random.lognormal(0, 0.8, n),
    "Pareto, from 0.5 ms, exponent 1.5": lambda random, n: 0.5 * (1 + random.pareto(1.5, n)).clip(max=100),
    "1 call of 20 ten times as long": lambda random, n: np.where(random.random(n) < 0.05, 10.0, 1.0),
}


class Fake:
    """A model that computes nothing but takes a known time, on the clock that the benchmark reads."""

    def __init__(self, draw, clock, seed=0):
        self.delays = iter((draw(np.random.default_rng(seed), 100_000) / 1e3).tolist())
        self.clock = {"wall": time.perf_counter, "cpu": time.process_time}[clock]
        self.taken = []

    def __call__(self, inputs):
        delay = next(self.delays)
        begin = self.clock()
        while self.clock() - begin < delay:
            pass
        self.taken.append(self.clock() - begin)
        return inputs


def recovery(draw, *, clock, seconds, blocks=12, seed=0):
    """Return by how much p50, p90 and p99 of the benchmark miss what the fake model took, as fractions."""
    fake = Fake(draw, clock, seed)
    nothing = np.zeros((1, 1), np.float32)
    timed = kit.benchmark(
        {"fake": fake},
        inputs=nothing,
        clock=clock,
        seconds=seconds,
        blocks=blocks,
        control=False,
        memory=False,
    )
    _, rounds, calls = timed.plans[1]
    taken = np.array(fake.taken).reshape(blocks, -1)  # the opening call and the warm-up come first
    taken = taken[:, -rounds * (calls + 1) :].reshape(blocks, rounds, calls + 1)[:, :, 1:]
    known = 1e3 * np.percentile(taken, (50, 90, 99))
    found = timed["fake"]
    return np.array([found.latency.value, found.p90.value, found.p99.value]) / known - 1


def false_alarms(variant, comparisons, *, clock, seconds, threads=1):
    """Compare a model with itself many times; return what was claimed and how often the interval missed 1."""
    claims, missed = Counter(), 0
    for seed in range(comparisons):
        timed = kit.benchmark(
            {"one": variant, "other": variant},
            clock=clock,
            seconds=seconds,
            threads=threads,
            memory=False,
            seed=seed,
        )
        claims[timed["other"].verdict] += 1
        missed += not timed["other"].ratio.contains(1)
    return claims, missed


def found_in(slowdown, tries, *, seconds):
    """Return in how many of `tries` a model that takes longer by this fraction is called slower."""
    nothing, found = np.zeros((1, 1), np.float32), 0
    for seed in range(tries):
        fakes = {
            name: Fake(lambda random, n, f=factor: f * random.lognormal(0, 0.1, n), "cpu", seed=2 * seed + i)
            for i, (name, factor) in enumerate({"first": 1.0, "second": 1 + slowdown}.items())
        }
        timed = kit.benchmark(fakes, inputs=nothing, clock="cpu", seconds=seconds, memory=False, seed=seed)
        found += timed["second"].verdict == "slower"
    return found


def main(comparisons=120):
    print(kit.device.describe(), f"load {kit.device.load():.1f} a core")
    print("\nfake delays: error of p50, p90, p99")
    for clock in ("wall", "cpu"):
        for name, draw in DELAYS.items():
            errors = recovery(draw, clock=clock, seconds=4)
            print(f"  {clock:4}  {name:36}", "  ".join(f"{error:+.2%}" for error in errors), flush=True)
    print("\na difference that is there, among calls that vary by 10 %")
    for slowdown in (0.1, 0.05, 0.03):
        found = found_in(slowdown, 10, seconds=1)
        print(f"  {slowdown:.0%} slower: found in {found} of 10", flush=True)
    print(f"\nA/A: {comparisons} comparisons of a model with itself")
    data = kit.data.fashion_mnist().subset(1000, 1000, 1000)
    alarms = 0
    for clock, threads, factory in (
        ("cpu", 1, kit.models.lenet_300_100),
        ("cpu", 1, kit.models.convnet),
        ("wall", 1, kit.models.lenet_300_100),
        ("wall", None, kit.models.convnet),
    ):
        variant = kit.export(factory(), data=data)
        count = comparisons // 4
        claims, missed = false_alarms(variant, count, clock=clock, seconds=0.3, threads=threads)
        wrong = count - claims["no difference shown"]
        alarms += wrong
        setting = f"{clock} clock, {threads or 'all'} thread(s)"
        found = f"false alarms {wrong} of {count}; interval misses 1 in {missed}"
        print(f"  {factory.__name__:14} {setting:22} {found}", flush=True)
    print(f"  together: {alarms} of {comparisons} ({alarms / comparisons:.1%})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
