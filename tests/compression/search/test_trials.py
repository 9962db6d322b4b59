from __future__ import annotations

import json
import random
from math import log2

import pytest

from kit.compression.search.budget import Budget
from kit.compression.search.recipes import Recipe
from kit.compression.search.trials import Trial, chosen, front, hypervolume


def trial(number, drop, size, ms=None):
    return Trial(number, Recipe(), score=0.9 - drop / 100, drop=drop, bytes=size, ms=ms)


DENSE, HALF, QUARTER, BAD = trial(0, 0.0, 800), trial(1, 0.4, 400), trial(2, 2.0, 200), trial(3, 2.5, 300)
STOPPED = Trial(4, Recipe(), "stopped early", drop=-3.0, tuned=9.0)


def test_the_best_within_the_budget():
    every = [DENSE, HALF, QUARTER, BAD, STOPPED]
    assert chosen(every, Budget(max_drop=0.5, best="bytes")) is HALF
    assert chosen(every, Budget(max_drop=0.1, best="bytes")) is DENSE
    assert chosen(every, Budget(max_bytes=300, best="accuracy")) is QUARTER
    assert chosen(every, Budget(max_bytes=100, best="accuracy")) is None


def test_the_front_holds_what_nothing_beats():
    assert front([DENSE, HALF, QUARTER, BAD, STOPPED], "bytes") == [QUARTER, HALF, DENSE]
    assert front([HALF, trial(9, 0.4, 400)], "bytes") == [HALF]
    timed = [trial(0, 0.0, 1, 2.0), trial(1, 1.0, 9, 1.0), trial(2, 1.0, 5, 3.0)]
    assert [t.number for t in front(timed, "latency")] == [1, 0]


def test_the_hypervolume_of_a_staircase():
    # one halving at 5 - 0.4 points, a second one at 5 - 2
    assert hypervolume([DENSE, HALF, QUARTER, BAD], "bytes", worst=5) == pytest.approx(4.6 + 3.0)
    assert hypervolume([DENSE, HALF, QUARTER], "bytes", worst=1) == pytest.approx(0.6)
    assert hypervolume([DENSE, trial(1, -5, 900)], "bytes", worst=5) == 0
    assert hypervolume([], "bytes", worst=5) == 0
    better = trial(1, -1.0, 400)  # smaller, and better than the model as it came
    assert hypervolume([DENSE, better], "bytes", worst=5) == pytest.approx(6)


def test_the_hypervolume_agrees_with_dropping_points_at_random():
    generator = random.Random(0)
    trials = [DENSE] + [trial(i, generator.uniform(0, 6), generator.randint(100, 900)) for i in range(1, 12)]
    worst, widest, hits, throws = 5.0, 3.0, 0, 40_000  # 800 / 100 is three halvings
    for _ in range(throws):
        halvings, drop = generator.uniform(0, widest), generator.uniform(0, worst)
        hits += any(log2(800 / t.bytes) >= halvings and t.drop <= drop for t in trials)
    assert hypervolume(trials, "bytes", worst=worst) == pytest.approx(
        hits / throws * worst * widest, rel=0.02
    )


def test_a_trial_comes_back_from_json():
    stored = json.loads(json.dumps(STOPPED.to_dict()))
    assert Trial.of(stored) == STOPPED
