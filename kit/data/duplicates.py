"""Samples that stand in two splits: what a model may have seen before the test."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import torch

from kit import plots
from kit.notebook import Readable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure


class Pair(NamedTuple):
    """One sample of `first` and one of `second` that are (nearly) the same."""

    first: str
    i: int
    second: str
    j: int
    distance: float


@dataclass(frozen=True, eq=False)
class Duplicates(Readable):
    """The pairs found, nearest first; `exact` and `near` select among them."""

    pairs: tuple[Pair, ...]
    raw: Mapping[str, torch.Tensor]
    threshold: float

    @property
    def exact(self) -> tuple[Pair, ...]:
        """Pairs equal in every value."""
        return tuple(pair for pair in self.pairs if pair.distance == 0)

    @property
    def near(self) -> tuple[Pair, ...]:
        """Pairs that differ, by at most the threshold."""
        return tuple(pair for pair in self.pairs if pair.distance > 0)

    def counts(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Return for each two splits how many samples of the second have an exact, a near twin."""
        names = list(self.raw)
        found = {}
        for a, b in combinations(names, 2):
            exact = {p.j for p in self.exact if (p.first, p.second) == (a, b)}
            near = {p.j for p in self.near if (p.first, p.second) == (a, b)} - exact
            found[a, b] = (len(exact), len(near))
        return found

    def plot(self, count: int = 8) -> Figure:
        """Draw the nearest pairs of images, one above the other."""
        pairs = self.pairs[:count]
        rows = [
            ("first", torch.stack([self.raw[p.first][p.i] for p in pairs]).numpy()),
            ("second", torch.stack([self.raw[p.second][p.j] for p in pairs]).numpy()),
        ]
        names = [f"{p.first} {p.i}\n{p.second} {p.j}" for p in pairs]
        return plots.image_rows(rows, title="the nearest pairs across splits", columns=names)

    def __str__(self) -> str:
        lines = [
            f"{b} in {a}: {exact} exact, {near} near (rms difference ≤ {self.threshold:.0%} of the range)"
            for (a, b), (exact, near) in self.counts().items()
        ]
        return "\n".join(lines)


def find_duplicates(raw: Mapping[str, torch.Tensor], near: float, projections: int = 48) -> Duplicates:
    """Find pairs of samples across splits whose root-mean-square difference is at most `near`.

    Every pair is looked at through a random projection (Johnson–Lindenstrauss), which costs
    16 times less than the samples themselves; what may be near is then measured exactly.

    Args:
        raw: samples (N, …) by split name.
        near: threshold as a fraction of the value range over all splits.
        projections: how many random directions.
    """
    span = max(float(x.max()) for x in raw.values()) - min(float(x.min()) for x in raw.values()) or 1.0
    flat = {name: x.reshape(len(x), -1).to(torch.float32) / span for name, x in raw.items()}
    size = next(iter(flat.values())).shape[1]
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(size, projections, generator=generator) / projections**0.5
    sketch = {name: x @ directions for name, x in flat.items()}
    limit = near * size**0.5
    pairs = []
    for a, b in combinations(raw, 2):
        # A chi-square of 48 degrees exceeds 1.5² of its mean once in 10⁶ draws: none is missed.
        for j in range(0, len(sketch[b]), 500):
            candidates = (torch.cdist(sketch[b][j : j + 500], sketch[a]) <= 1.5 * limit).nonzero()
            if len(candidates) == 0:
                continue
            second, first = candidates[:, 0] + j, candidates[:, 1]
            distance = (flat[a][first] - flat[b][second]).square().mean(1).sqrt()
            keep = distance <= near
            rows = zip(first[keep].tolist(), second[keep].tolist(), distance[keep].tolist(), strict=True)
            pairs += [Pair(a, i, b, j2, d) for i, j2, d in rows]
    return Duplicates(tuple(sorted(pairs, key=lambda pair: pair.distance)), raw, near)
