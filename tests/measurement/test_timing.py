import numpy as np
import pytest

from kit.measurement.timing import paired_ratio, summarise, verdict
from kit.statistics import Measurement


def noisy(random, blocks=12, rounds=10, calls=5, factor=1.0):
    """Times as a busy machine makes them: slow drift, a level for each block and opening, spikes."""
    drift = np.exp(np.cumsum(random.normal(0, 0.01, blocks * rounds))).reshape(blocks, rounds, 1)
    level = np.exp(random.normal(0, 0.3, (blocks, 1, 1)))
    spikes = 1 + (random.random((2, blocks, rounds, calls)) < 0.05) * random.exponential(
        5, (2, blocks, rounds, calls)
    )
    placement = np.exp(random.normal(0, 0.015, (2, blocks, 1, 1)))  # of each opening on its own
    jitter = np.exp(random.normal(0, 0.03, (2, blocks, rounds, calls)))
    first, second = drift * level * placement * jitter * spikes
    return first, factor * second


def test_equal_models_are_told_apart_in_at_most_one_of_twenty_comparisons():
    random = np.random.default_rng(0)
    missed = sum(not paired_ratio(*noisy(random)).contains(1) for _ in range(1000))
    assert missed / 1000 < 0.065  # 5 % by construction


def test_claims_between_equal_models_are_rarer_still():
    random = np.random.default_rng(1)
    claims = 0
    for _ in range(400):
        first, second = noisy(random)
        again = first * noisy(random)[0] / noisy(random)[0]
        claims += verdict(paired_ratio(second, first), paired_ratio(again, first)) != "no difference shown"
    assert claims / 400 <= 0.05


@pytest.mark.parametrize(("factor", "claim"), [(0.9, "faster"), (1.1, "slower")])
def test_a_tenth_is_found_through_noise_three_times_as_large(factor, claim):
    random = np.random.default_rng(2)
    found = [paired_ratio(*reversed(noisy(random, factor=factor))) for _ in range(50)]
    assert sum(verdict(ratio, None) == claim for ratio in found) >= 48
    assert np.median([ratio.value for ratio in found]) == pytest.approx(factor, rel=0.02)


def test_a_claim_must_exceed_what_the_control_shows():
    ratio = Measurement(0.95, 0.93, 0.97, 12)
    assert verdict(ratio, None) == "faster"
    assert verdict(ratio, Measurement(1.01, 0.99, 1.03, 12)) == "faster"
    assert verdict(ratio, Measurement(1.06, 1.02, 1.10, 12)) == "no difference shown"
    assert verdict(ratio, Measurement(0.94, 0.90, 0.98, 12)) == "no difference shown"
    assert verdict(Measurement(0.993, 0.991, 0.995, 12), None) == "no difference shown"  # below 1 %


def test_summary_holds_percentiles_of_single_calls_and_ratios_to_the_first():
    random = np.random.default_rng(3)
    times = (
        np.stack([random.uniform(1, 2, (6, 4, 5)), random.uniform(2, 4, (6, 4, 5)), np.full((6, 4, 5), 0.1)])
        / 1e3
    )
    first, second, empty = summarise([("a", "model"), ("b", "model"), ("nothing", "overhead")], times, 8)
    assert (first.verdict, second.verdict, empty.verdict) == ("baseline", "slower", "overhead")
    for timing, rows in ((first, times[0]), (second, times[1])):
        for found, q in ((timing.latency, 50), (timing.p90, 90), (timing.p99, 99)):
            assert found.value == pytest.approx(1e3 * np.percentile(rows, q))
            assert found.low <= found.value <= found.high
    assert first.ratio.value == first.ratio.low == first.ratio.high == 1
    assert second.speedup.value == pytest.approx(1 / second.ratio.value)
    assert second.speedup.low == pytest.approx(1 / second.ratio.high)
    assert first.throughput.value == pytest.approx(8 / (first.latency.value / 1e3))
