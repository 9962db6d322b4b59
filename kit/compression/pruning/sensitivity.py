"""`sensitivity`: how much of each layer, alone, can be removed before the net suffers."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from kit import plots
from kit.compression.pruning import masks, structured
from kit.compression.pruning.prune import check_ratio
from kit.data import as_dataset
from kit.errors import ArgumentError, ModelError, unknown
from kit.measurement.evaluate import evaluate
from kit.notebook import Readable
from kit.variant import as_variant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matplotlib.figure import Figure
    from torch import nn

    from kit.data import Dataset
    from kit.statistics import Measurement
    from kit.variant import Variant

METHODS = ("structured", "layer_magnitude")


@dataclass(frozen=True)
class Sensitivity(Readable):
    """What a scan found; layers with coupled channels stand under the name of the first.

    Attributes:
        name: the model.
        method: "structured" (channels) or "layer_magnitude" (single weights).
        metric: "accuracy" (more is better) or "RMSE" (less is better).
        dense: the metric of the whole net.
        grid: the ratios that were tried, ascending.
        scores: the metric at each of them, by layer, in the order of the net.
        coupled: the layers that lose their channels together, by the first of them.
    """

    name: str
    method: str
    metric: str
    dense: Measurement
    grid: tuple[float, ...]
    scores: dict[str, tuple[Measurement, ...]]
    coupled: dict[str, tuple[str, ...]]

    def drops(self, layer: str) -> list[float]:
        """Return what each ratio costs: points of accuracy, or for regression percent that RMSE grows."""
        dense = self.dense.value
        if self.metric == "accuracy":
            return [100 * (dense - score.value) for score in self.scores[layer]]
        return [100 * (score.value / dense - 1) for score in self.scores[layer]]

    def ratios(self, max_drop: float = 1.0) -> dict[str, float]:
        """Return the largest ratio that each layer bears: fit for `kit.prune(ratio=…)`.

        Layers are scanned one at a time, and together they cost more; fine-tuning wins most of it back.

        Args:
            max_drop: what one layer may cost, in points of accuracy or percent of the RMSE; smaller ratios
                must not cost more either.

        Raises:
            ArgumentError: when no layer bears even the smallest ratio, or `max_drop` is negative.
        """
        if max_drop < 0:
            raise ArgumentError(f"max_drop is a loss in points and cannot be negative, got {max_drop}")
        chosen = {}
        for layer in self.scores:
            borne = 0.0
            for ratio, drop in zip(self.grid, self.drops(layer), strict=True):
                if drop > max_drop + 1e-9:
                    break
                borne = ratio
            chosen[layer] = borne
        if not any(chosen.values()):
            raise ArgumentError(
                f"no layer bears a drop of at most {max_drop:g}, even at ratio {self.grid[0]:g}; "
                "raise max_drop, or scan smaller ratios"
            )
        return chosen

    def expected(self, ratios: Mapping[str, float]) -> float:
        """Estimate the metric with these ratios removed at once, before any fine-tuning.

        As if each layer did its damage independently of the others: the factors of the single layers are
        multiplied. Between two ratios of the scan it goes straight, beyond the last one it stays.

        Args:
            ratios: the fraction removed, by the layer names of `scores`; others count as 0.
        """
        value = self.dense.value
        for layer, row in self.scores.items():
            scores = [self.dense.value, *(score.value for score in row)]
            value *= float(np.interp(ratios.get(layer, 0.0), (0.0, *self.grid), scores)) / self.dense.value
        return value

    def plot(self) -> Figure:
        """Draw one panel a layer, with the dense net as a line and the intervals shaded."""
        points = {k: [(s.value, s.low, s.high) for s in row] for k, row in self.scores.items()}
        dense = self.dense
        return plots.sensitivity(
            points,
            self.grid,
            dense=(dense.value, dense.low, dense.high),
            metric=self.metric,
            text=f"{self.name}, {self.method}, n = {dense.n:,} validation samples, {dense.method}",
        )

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table, header first: a row a layer, a column a ratio."""
        head = ("layer", *(f"{ratio:.0%}" for ratio in self.grid))
        digits = ".1%" if self.metric == "accuracy" else ".3g"
        return [head] + [(k, *(format(s.value, digits) for s in row)) for k, row in self.scores.items()]

    def _title(self) -> str:
        dense = f"{self.dense:.1%}" if self.metric == "accuracy" else f"{self.dense:.3g}"
        return f"{self.metric} with a part of one layer removed; dense {dense}, n = {self.dense.n:,}"

    def __str__(self) -> str:
        rows = self.rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
            )
            for row in rows
        ]
        return "\n".join([self._title(), *lines])

    def _repr_html_(self) -> str:
        head, *body = self.rows()
        lines = "".join(f"<tr>{''.join(f'<td>{escape(c)}</td>' for c in row)}</tr>" for row in body)
        top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
        return f"<table><caption>{escape(self._title())}</caption><tr>{top}</tr>{lines}</table>"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dictionary fit for JSON."""
        scores = {layer: [score.to_dict() for score in row] for layer, row in self.scores.items()}
        return {**vars(self), "dense": self.dense.to_dict(), "scores": scores}


def sensitivity(
    model: nn.Module | Variant,
    data: Any,
    *,
    ratios: Sequence[float] = (0.25, 0.5, 0.75, 0.9),
    method: str = "structured",
    samples: int = 2000,
    protect: Sequence[str] = (),
    seed: int = 0,
) -> Sensitivity:
    """Remove parts of one layer at a time, without training, and measure on the validation split.

    Args:
        model: a trained module or variant of a module; not changed: each part is removed from a copy.
        data: a `Dataset` or whatever `kit.data.as_dataset` takes.
        ratios: the fractions to try, above 0 and below 1.
        method: "structured" removes channels, "layer_magnitude" single weights.
        samples: how many validation samples to measure on; the interval is about ±1 point with 2,000.
        protect: layers, or modules that contain them, to leave out.
        seed: which samples are drawn.

    Raises:
        ArgumentError: when a ratio, the method or a layer's name is wrong.
        ModelError: when there is nothing to prune.

    Source: H. Li et al., "Pruning filters for efficient ConvNets", arXiv:1608.08710, section 3.2.

    Example:
        >>> scan = kit.sensitivity(dense, data)  # doctest: +SKIP
        >>> slim = kit.prune(dense, data, ratio=scan.ratios(max_drop=2))  # doctest: +SKIP
    """
    data = as_dataset(data)
    variant = as_variant(model, data.signature)
    grid = tuple(sorted({check_ratio(ratio) for ratio in ratios}))
    if not grid or grid[0] == 0:
        raise ArgumentError(f"ratios= needs fractions above 0 and below 1, got {tuple(ratios)}")
    few = replace(data, valid=data.valid.take(samples, seed))
    coupled, candidates = _candidates(variant.module, few, grid, method, protect)
    dense = evaluate(variant, few, split="valid").score
    scores = {
        layer: tuple(evaluate(slim, few, split="valid").score for slim in parts)
        for layer, parts in candidates
    }
    metric = "RMSE" if data.signature.task == "regression" else "accuracy"
    return Sensitivity(variant.name, method, metric, dense, grid, scores, coupled)


def _candidates(
    module: nn.Module, data: Dataset, grid: Sequence[float], method: str, protect: Sequence[str]
) -> tuple[dict[str, tuple[str, ...]], Iterator[tuple[str, Iterator[nn.Module]]]]:
    """Return which layers are coupled, and for each of them the nets with less and less of it."""
    if method == "structured":
        return _with_fewer_channels(module, data, grid, protect)
    if method == "layer_magnitude":
        return _with_fewer_weights(module, grid, protect)
    raise unknown("method", method, METHODS)


def _with_fewer_channels(
    module: nn.Module, data: Dataset, grid: Sequence[float], protect: Sequence[str]
) -> tuple[dict[str, tuple[str, ...]], Iterator[tuple[str, Iterator[nn.Module]]]]:
    example = data.train.inputs[:2].to(next(module.parameters()).device)
    groups = [g for g in structured.coupled(module, example, protect=protect) if not g.fixed]
    if not groups:
        raise ModelError(f"{type(module).__name__} has no layer that may lose channels")

    def nets(group: structured.Coupled) -> Iterator[nn.Module]:
        for ratio in grid:
            keep = structured.widths([group], ratio, round_to=1)
            yield structured.shrink(module, example, keep)

    return {g.name: g.layers for g in groups}, ((g.name, nets(g)) for g in groups)


def _with_fewer_weights(
    module: nn.Module, grid: Sequence[float], protect: Sequence[str]
) -> tuple[dict[str, tuple[str, ...]], Iterator[tuple[str, Iterator[nn.Module]]]]:
    weights = masks.weights(module, protect=protect)

    def nets(layer: str) -> Iterator[nn.Module]:
        for ratio in grid:
            clone = copy.deepcopy(module)
            masks.apply(clone, masks.layer_masks(weights, {layer: ratio}))
            yield clone

    return {layer: (layer,) for layer in weights}, ((layer, nets(layer)) for layer in weights)
