from itertools import product
from math import comb

import numpy as np
import pytest

from kit.statistics import (
    Measurement,
    bootstrap,
    hodges_lehmann,
    mcnemar,
    paired_difference,
    paired_proportions,
    student,
    wilson,
)


def test_wilson_agrees_with_published_intervals():
    # R. Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
    for successes, n, low, high in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)]:
        found = wilson(successes, n)
        assert found.low == pytest.approx(low, abs=5e-5)
        assert found.high == pytest.approx(high, abs=5e-5)
    assert wilson(29, 29).high == 1.0


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_impossible_counts(successes, n):
    with pytest.raises(ValueError, match="successes"):
        wilson(successes, n)


def test_bootstrap_interval_holds_the_mean_as_often_as_it_says():
    random = np.random.default_rng(1)
    held = sum(bootstrap(random.exponential(1, 60), np.mean, resamples=400).contains(1) for _ in range(300))
    assert 0.88 < held / 300 < 0.99


def test_bootstrap_of_blocks_is_wider_when_a_block_hangs_together():
    random = np.random.default_rng(2)
    drifting = random.normal(size=(12, 1)) + 0.1 * random.normal(size=(12, 50))
    blocks, single = bootstrap(drifting), bootstrap(drifting.ravel())
    assert blocks.value == single.value
    assert blocks.high - blocks.low > 3 * (single.high - single.low)


def test_bootstrap_draws_in_portions_without_changing_its_kind():
    many = bootstrap(np.arange(50_000), np.mean, resamples=300)
    assert many.n == 50_000
    assert many.low < many.value < many.high
    assert many.high - many.low == pytest.approx(2 * 1.96 * 50_000 / 12**0.5 / 50_000**0.5, rel=0.2)


def test_signed_rank_interval_is_what_enumerating_all_signs_rejects():
    values = np.array([0.3, -1.2, 2.5, 0.9, 4.1, -0.4, 1.7, 3.3])
    found = hodges_lehmann(values)
    ranks = np.arange(1, 9)
    sums = np.array(
        [sum(r for r, s in zip(ranks, signs, strict=True) if s) for signs in product([0, 1], repeat=8)]
    )

    def p(centre):
        shifted = values - centre
        order = np.abs(shifted).argsort().argsort() + 1
        statistic = order[shifted > 0].sum()
        return 2 * min((sums <= statistic).mean(), (sums >= statistic).mean())

    inside, outside = 1e-9, -1e-9
    for bound, inwards in ((found.low, 1), (found.high, -1)):
        assert p(bound + inwards * inside) > 0.05
        assert p(bound + inwards * outside) <= 0.05


def test_signed_rank_interval_is_exact_for_heavy_tails():
    random = np.random.default_rng(3)
    missed = sum(not hodges_lehmann(random.standard_cauchy(12)).contains(0) for _ in range(2000))
    assert missed / 2000 < 0.06


def test_signed_rank_interval_needs_six_values():
    assert hodges_lehmann(range(6)).low == 0
    with pytest.raises(ValueError, match="5 values are too few"):
        hodges_lehmann(range(5))


@pytest.mark.parametrize(("first", "second"), [(0, 0), (3, 3), (10, 2), (40, 71), (900, 1001)])
def test_mcnemar_is_the_exact_binomial_test(first, second):
    n, k = first + second, min(first, second)
    exact = min(1, 2 * sum(comb(n, i) for i in range(k + 1)) / 2**n) if n else 1
    assert mcnemar(first, second) == pytest.approx(exact, rel=1e-8)
    assert mcnemar(first, second) == mcnemar(second, first)


def test_change_of_proportions_is_never_certain_and_covers():
    still = paired_proportions(0, 0, 1000)
    assert still.low < 0 == still.value < still.high
    random = np.random.default_rng(4)
    held = 0
    for _ in range(500):
        first = random.random(300) < 0.9
        second = np.where(random.random(300) < 0.08, ~first, first)
        change = paired_proportions(int((first & ~second).sum()), int((second & ~first).sum()), 300)
        held += change.contains(0.08 * (0.1 - 0.9))
    assert held / 500 > 0.92


@pytest.mark.parametrize(
    ("n", "confidence", "quantile"),
    [(2, 0.95, 12.7062), (3, 0.95, 4.30265), (5, 0.95, 2.77645), (10, 0.95, 2.26216), (10, 0.99, 3.24984)],
)
def test_student_agrees_with_the_printed_tables(n, confidence, quantile):
    values = np.linspace(1, 2, n)
    found = student(values, confidence)
    half = quantile * values.std(ddof=1) / n**0.5
    assert (found.low, found.value, found.high) == pytest.approx((1.5 - half, 1.5, 1.5 + half), rel=1e-5)
    assert (found.n, found.method) == (n, f"Student {confidence:.0%}")


def test_student_interval_holds_the_mean_as_often_as_it_says():
    generator = np.random.default_rng(0)
    held = sum(student(generator.normal(size=4)).contains(0.0) for _ in range(1000))
    assert 930 <= held <= 970


@pytest.mark.parametrize("values", [[], [1.0], [[1.0, 2.0]]])
def test_student_needs_two_values(values):
    with pytest.raises(ValueError, match="at least two values"):
        student(values)


def test_paired_difference_uses_the_pairs():
    random = np.random.default_rng(5)
    first = random.normal(0, 10, 200)
    change = paired_difference(first, first + random.normal(0.5, 0.1, 200))
    assert 0.4 < change.low < change.value < change.high < 0.6


def test_measurement_formats_value_and_bounds_alike():
    measured = Measurement(0.9213, 0.9159, 0.9264, 10_000)
    assert f"{measured:.1%}" == "92.1% [91.6%, 92.6%]"
    assert str(Measurement(1.5, 1.25, 1.75, 9, "ms")) == "1.5 [1.25, 1.75] ms"
    assert measured.contains(0.92)
    assert float(measured) == measured.to_dict()["value"]
