"""Numbers with intervals: what was measured, how often, and how far it can be trusted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import comb, exp, lgamma, log, sqrt
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
    """Return a statistic of `values` (one axis) with its percentile bootstrap interval.

    Source: B. Efron, "Bootstrap methods: another look at the jackknife", 1979.
    """
    sample = np.asarray(values, dtype=np.float64)
    draws = np.random.default_rng(seed).integers(0, len(sample), (resamples, len(sample)))
    estimates = statistic(sample[draws], axis=1)
    low, high = np.quantile(estimates, [(1 - confidence) / 2, (1 + confidence) / 2])
    value = float(statistic(sample, axis=0))
    return Measurement(value, float(low), float(high), len(sample), unit, f"bootstrap {confidence:.0%}")


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
    if n < 1000:
        tail = sum(comb(n, i) for i in range(k + 1)) / 2**n
    else:  # the integers above would have hundreds of digits
        tail = sum(exp(lgamma(n + 1) - lgamma(i + 1) - lgamma(n - i + 1) - n * log(2)) for i in range(k + 1))
    return min(1.0, 2 * tail)


def paired_difference(first: ArrayLike, second: ArrayLike, confidence: float = 0.95) -> Measurement:
    """Return the mean of `second - first` over paired samples, with its normal interval.

    With 0/1 correctness it is the change of accuracy, in fractions.
    """
    change = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    half = NormalDist().inv_cdf((1 + confidence) / 2) * change.std(ddof=1) / sqrt(len(change))
    mean = float(change.mean())
    return Measurement(
        mean, mean - float(half), mean + float(half), len(change), "", f"paired {confidence:.0%}"
    )
