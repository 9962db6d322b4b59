"""Numbers with intervals: what was measured, how often, and how far it can be trusted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import exp, lgamma, log, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Measurement:
    """A measured value with its interval.

    Attributes:
        value: the point estimate, in `unit`.
        low, high: the bounds of the interval, in `unit`.
        n: how many observations stand behind it.
        unit: such as "ms"; empty for a fraction.
        method: how the interval was made, such as "Wilson 95 %".
    """

    value: float
    low: float
    high: float
    n: int
    unit: str = ""
    method: str = ""

    def __float__(self) -> float:
        return self.value

    def __format__(self, spec: str) -> str:
        """Format value and bounds alike: `f"{accuracy:.1%}"` gives `92.1% [91.6%, 92.6%]`."""
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]{unit}"

    def __str__(self) -> str:
        return f"{self:.4g}"

    def contains(self, value: float) -> bool:
        """Tell whether the interval contains `value`."""
        return self.low <= value <= self.high

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary fit for JSON."""
        return asdict(self)


def wilson(successes: int, n: int, confidence: float = 0.95) -> Measurement:
    """Return a proportion with its Wilson score interval.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.

    >>> f"{wilson(90, 100):.3f}"
    '0.900 [0.826, 0.945]'
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"expected 0 <= successes <= n and n > 0, got {successes} of {n}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Measurement(p, min(low, p), max(high, p), n, "", f"Wilson {confidence:.0%}")


def bootstrap(
    values: ArrayLike,
    statistic: Callable[..., Any] = np.median,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    unit: str = "",
) -> Measurement:
    """Return a statistic of `values` with its percentile bootstrap interval.

    Args:
        values: observations (n,); or (blocks, n), whose rows are drawn whole, so that observations that
            hang together, such as timings of one minute, are not taken for independent ones.
        statistic: maps an array to one number along `axis`.
        confidence: of the interval.
        resamples: how often the values are drawn anew.
        seed: of the draws.
        unit: of the result.

    Source: B. Efron, "Bootstrap methods: another look at the jackknife", 1979; for blocks H. Künsch,
    "The jackknife and the bootstrap for general stationary observations", 1989.

    >>> f"{bootstrap([3, 1, 2, 5, 4]):.0f}"
    '3 [1, 5]'
    """
    sample = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(seed)
    estimates = []
    for size in _chunks(resamples, sample.size):
        draws = generator.integers(0, len(sample), (size, len(sample)))
        estimates.append(statistic(sample[draws].reshape(size, -1), axis=1))
    tail = (1 - confidence) / 2
    low, high = (float(bound) for bound in np.quantile(np.concatenate(estimates), [tail, 1 - tail]))
    value = float(statistic(sample.reshape(-1), axis=0))
    return Measurement(value, low, high, sample.size, unit, f"bootstrap {confidence:.0%}")


def _chunks(resamples: int, size: int, limit: int = 2**22) -> list[int]:
    """Split the resamples so that no more than `limit` numbers are drawn at a time."""
    each = max(1, limit // max(size, 1))
    return [each] * (resamples // each) + ([resamples % each] if resamples % each else [])


def student(values: ArrayLike, confidence: float = 0.95, *, unit: str = "") -> Measurement:
    """Return the mean of a few independent runs with Student's interval: for accuracies of several seeds.

    Args:
        values: (n,) at least two, from a distribution that is about normal.
        confidence: of the interval.
        unit: of the values.

    Raises:
        ValueError: when there are fewer than two values.

    Source: "Student" (W. S. Gosset), "The probable error of a mean", 1908.

    >>> f"{student([0.90, 0.91, 0.92]):.3f}"
    '0.910 [0.885, 0.935]'
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or len(sample) < 2:
        raise ValueError(f"expected at least two values in a row, got {sample.size} of shape {sample.shape}")
    mean, error = float(sample.mean()), float(sample.std(ddof=1)) / sqrt(len(sample))
    half = _student_quantile((1 + confidence) / 2, len(sample) - 1) * error
    return Measurement(mean, mean - half, mean + half, len(sample), unit, f"Student {confidence:.0%}")


def _student_quantile(p: float, freedom: int) -> float:
    """Return the quantile of Student's distribution, p from 1/2 on; by integration over angles."""
    angles = np.linspace(0, np.pi / 2, 100_001)
    density = np.cos(angles) ** (freedom - 1)
    below = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return sqrt(freedom) * float(np.tan(np.interp(2 * p - 1, below / below[-1], angles)))


def hodges_lehmann(values: ArrayLike, confidence: float = 0.95) -> Measurement:
    """Return the centre of a symmetric distribution with an exact interval, whatever its shape.

    The estimate is the median of all pairwise means; the interval holds every centre that Wilcoxon's
    signed-rank test does not reject. One wild value moves neither far.

    Raises:
        ValueError: when there are too few values for the confidence; 95 % needs six.

    Source: J. Hodges & E. Lehmann, "Estimates of location based on rank tests", 1963.

    >>> hodges_lehmann([1, 2, 3, 4, 5, 6, 7, 8, 9, 1000]).value
    5.5
    """
    sample = np.asarray(values, dtype=np.float64)
    n = len(sample)
    ways = np.zeros(n * (n + 1) // 2 + 1)  # of getting each rank sum, when signs are those of a coin
    ways[0] = 1
    for rank in range(1, n + 1):
        ways[rank:] = ways[rank:] + ways[:-rank]
    below = np.cumsum(ways) / 2.0**n
    reject = int(np.searchsorted(below, (1 - confidence) / 2, side="right"))
    if reject == 0:
        raise ValueError(f"{n} values are too few for an interval of {confidence:.0%}")
    first, second = np.triu_indices(n)
    means = np.sort((sample[first] + sample[second]) / 2)
    value, low, high = float(np.median(means)), float(means[reject - 1]), float(means[-reject])
    return Measurement(value, low, high, n, "", f"signed-rank {confidence:.0%}")


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided exact p-value of McNemar's test.

    Args:
        only_first: samples that only the first model got right.
        only_second: samples that only the second model got right.

    Source: Q. McNemar, "Note on the sampling error of the difference between correlated proportions", 1947.

    >>> round(mcnemar(10, 2), 4)
    0.0386
    """
    n, k = only_first + only_second, min(only_first, only_second)
    if n == 0:
        return 1.0
    # In logarithms: the binomial coefficients of a large n have hundreds of digits.
    tail = sum(exp(lgamma(n + 1) - lgamma(i + 1) - lgamma(n - i + 1) - n * log(2)) for i in range(k + 1))
    return min(1.0, 2 * tail)


def paired_proportions(only_first: int, only_second: int, n: int, confidence: float = 0.95) -> Measurement:
    """Return the share of successes of the second minus that of the first, over the same `n` samples.

    Args:
        only_first: samples in which only the first succeeded.
        only_second: samples in which only the second did.
        n: all samples.
        confidence: of the interval.

    Source: A. Agresti & Y. Min, "Simple improved confidence intervals for comparing matched
    proportions", 2005: half a sample is added to each cell, so that no change is not taken for certain.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    first, second, total = only_first + 0.5, only_second + 0.5, n + 2
    centre = (second - first) / total
    half = z * sqrt(first + second - (second - first) ** 2 / total) / total
    value = (only_second - only_first) / n
    return Measurement(value, centre - half, centre + half, n, "", f"paired {confidence:.0%}")


def paired_difference(first: ArrayLike, second: ArrayLike, confidence: float = 0.95) -> Measurement:
    """Return the mean of `second - first` over paired samples (n,), with its normal interval."""
    change = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    half = NormalDist().inv_cdf((1 + confidence) / 2) * change.std(ddof=1) / sqrt(len(change))
    mean = float(change.mean())
    return Measurement(
        mean, mean - float(half), mean + float(half), len(change), "", f"paired {confidence:.0%}"
    )
