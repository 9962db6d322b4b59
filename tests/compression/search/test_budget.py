from __future__ import annotations

import pytest

import kit
from kit.compression.search.budget import Budget
from kit.errors import ArgumentError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lose at most 0.5 points; smallest", Budget(max_drop=0.5, best="bytes")),
        ("Lose at most 1 point; FASTEST", Budget(max_drop=1, best="latency")),
        ("at most 50 kB; most accurate", Budget(max_bytes=50_000, best="accuracy")),
        ("≤ 50 KB; most accurate", Budget(max_bytes=50_000, best="accuracy")),
        ("at most 2 ms; most accurate", Budget(max_ms=2, best="accuracy")),
        ("most accurate; up to 100 µs", Budget(max_ms=0.1, best="accuracy")),
        ("at most 1 MiB, at most 2ms; most accurate", Budget(max_bytes=2**20, max_ms=2, best="accuracy")),
        ("lose at most 2 % and at most 3 ms; smallest", Budget(max_drop=2, max_ms=3, best="bytes")),
    ],
)
def test_a_budget_is_read(text, expected):
    found = Budget.parse(text)
    assert found == expected
    assert Budget.parse(str(found)) == found
    assert Budget.parse(found) is found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("as small as possible", "cannot read 'as small as possible'"),
        ("lose at most 0.5 points; smalest", "did you mean 'smallest'"),
        ("lose at most 0.5 points", "has no goal; add one of: smallest"),
        ("smallest", "say what may be lost"),
        ("at most 2 ms; smallest", "say what may be lost"),
        ("most accurate", "how large or slow it may be"),
        ("at most 50 kilo; most accurate", "unknown unit 'kilo'"),
        ("at most 0.5 points; smallest", "lose at most 0.5 points"),
        ("lose at most 50 kB; smallest", "at most 50 kB"),
        ("lose at most 1 point; lose at most 2 points; smallest", "says max_drop twice"),
        ("lose at most 0,5 points; smallest", "cannot read 'lose at most 0,5 points'"),
        ("at most 50; smallest", "cannot read 'at most 50'"),
        ("", "cannot read ''"),
        (0.5, "a budget is a kit.Budget or text"),
    ],
)
def test_what_is_no_budget_is_refused_with_an_example(text, message):
    with pytest.raises(ArgumentError, match=message):
        Budget.parse(text)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "5", True])
def test_limits_are_numbers(value):
    with pytest.raises(ArgumentError, match="max_drop must be a number, 0 or more"):
        kit.Budget(max_drop=value)


def test_the_excess_says_how_far_beyond():
    budget = Budget(max_drop=1, max_bytes=1000, max_ms=2, best="bytes")
    assert budget.excess(1, 1000, 2) == 0
    assert budget.excess(-5, 10, 0.1) == 0
    assert budget.excess(3, 1000, 2) == pytest.approx(2)
    assert budget.excess(3, 4000, 4) == pytest.approx(2 + 2 + 1)


def test_the_goal_sorts_and_says_what_must_be_measured():
    small, fast = Budget(max_drop=1, best="bytes"), Budget(max_drop=1, best="latency")
    accurate = Budget(max_bytes=1000, best="accuracy")
    assert small.rank(0.5, 10, None) < small.rank(0.1, 11, None)
    assert fast.rank(0.5, 99, 1.0) < fast.rank(0.1, 11, 2.0)
    assert accurate.rank(0.1, 99, None) < accurate.rank(0.5, 11, None)
    assert [small.timed, fast.timed, accurate.timed] == [False, True, False]
    assert Budget(max_drop=1, max_ms=1, best="bytes").timed
    assert [small.cost, fast.cost, accurate.cost] == ["bytes", "latency", "bytes"]
    assert Budget(max_ms=1, best="accuracy").cost == "latency"
