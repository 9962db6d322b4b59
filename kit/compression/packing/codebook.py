"""`cluster`: the weights of a layer share a few values, found by k-means and then trained."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from kit.compression.distillation.distill import answers, taught
from kit.compression.layers import check_names, weighted, within
from kit.data import as_dataset
from kit.errors import ArgumentError, unknown
from kit.measurement.evaluate import evaluate
from kit.notebook import Readable
from kit.runtime import packed
from kit.training.loop import fit
from kit.variant import as_variant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kit.statistics import Measurement
    from kit.training.history import History
    from kit.variant import Variant


@dataclass(frozen=True)
class ClusterReport(Readable):
    """What `cluster` did.

    Attributes:
        codebooks: the values of each layer, zero left out where weights were pruned.
        bytes: of the packed file without history.
        before, clustered, after: accuracy (or root-mean-square error) on the validation split before, with
            k-means alone, and with trained codebooks.
        history: of that training; None without.
    """

    codebooks: Mapping[str, tuple[float, ...]]
    bytes: int
    before: Measurement
    clustered: Measurement
    after: Measurement
    history: History | None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a dictionary fit for JSON."""
        scores = {key: getattr(self, key).to_dict() for key in ("before", "clustered", "after")}
        books = {name: list(book) for name, book in self.codebooks.items()}
        return {"codebooks": books, "bytes": self.bytes, **scores}

    def __str__(self) -> str:
        books = ", ".join(f"{name}: {len(book)}" for name, book in self.codebooks.items())
        return (
            f"{self.bytes:,} bytes packed; values a layer: {books}\n"
            f"validation: {self.before:.4f} before, {self.clustered:.4f} clustered, {self.after:.4f} trained"
        )


class Codebook(nn.Module):
    """Looks a weight up: which of a few trained values it is.

    Args:
        values: (k,) the values.
        places: which value each weight has, counted from 1; 0 is a weight that stays zero.
    """

    places: torch.Tensor

    def __init__(self, values: torch.Tensor, places: torch.Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values.clone())
        self.register_buffer("places", places)

    def forward(self, _weight: torch.Tensor) -> torch.Tensor:
        """Return the weight; its values are rounded to float16, two bytes each in a packed file."""
        halves = self.values + (self.values.half().float() - self.values).detach()
        return torch.cat([halves.new_zeros(1), halves])[self.places]


def cluster(
    model: nn.Module | Variant,
    data: Any,
    *,
    values: int | Mapping[str, int] = 16,
    finetune: int = 1,
    distill: bool = True,
    temperature: float = 4.0,
    weight: float = 0.7,
    protect: Sequence[str] = (),
    name: str | None = None,
    **training: Any,
) -> Variant:
    """Let the weights of each layer share a few values; zeros stay zero, so that pruning is kept.

    Args:
        model: a trained module or variant of a module; not changed.
        data: a `Dataset` or whatever `kit.data.as_dataset` takes.
        values: how many values a layer has beside zero, from 1 to 255; or by layer name.
        finetune: epochs that train the values (and biases, and batch normalisation); 0 for none.
        distill: learn from the model's own answers, as it came, as well as from the labels.
        temperature, weight: of that distillation, as in `kit.distill`.
        protect: layers, or modules that contain them, that keep their weights.
        name: the name of the result.
        training: anything else that `kit.train` takes, such as `lr`.

    Returns:
        A new variant of a plain module; its `report` is a `ClusterReport`. `kit.pack` stores the values once
        and for each weight which it is.

    Raises:
        ArgumentError: when a number or a layer's name is out of range.

    Source: S. Han, H. Mao, W. J. Dally, "Deep Compression", arXiv:1510.00149, section 3.

    Example:
        >>> shared = kit.cluster(slim, data, values=16)  # doctest: +SKIP
    """
    data = as_dataset(data)
    parent = as_variant(model, data.signature)
    module = copy.deepcopy(parent.module)
    counts = _counts(module, values, protect)
    with torch.no_grad():
        for layer, count in counts.items():
            found: Any = module.get_submodule(layer)
            centres, places = kmeans(found.weight, count)
            parametrize.register_parametrization(found, "weight", Codebook(centres, places), unsafe=True)
            found.parametrizations["weight"].original.requires_grad_(False)
    clustered, history = evaluate(module, data, split="valid").score, None
    if finetune:
        how = {**training, "epochs": finetune}
        ask = answers(parent, data, how)
        objective = taught(
            ask, data, temperature=temperature, weight=weight if distill else 0.0, training=how
        )
        history = fit(module, data, objective, label="cluster", **how)
    books = {layer: _remove(module, layer) for layer in counts}
    settings = {"values": values if isinstance(values, int) else dict(values), "finetune": finetune}
    label = name or f"{parent.name} {values if isinstance(values, int) else 'few'} values"
    result = parent.derive(module, "cluster", settings, name=label)
    report = ClusterReport(
        codebooks=books,
        bytes=packed.size(result),
        before=evaluate(parent, data, split="valid").score,
        clustered=clustered,
        after=evaluate(module, data, split="valid").score,
        history=history,
    )
    return parent.derive(module, "cluster", settings, name=label, report=report)


def kmeans(weight: torch.Tensor, count: int, *, rounds: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    """Cluster the weights that are not zero.

    Args:
        weight: of any shape.
        count: how many values; fewer come back when there are fewer.
        rounds: at most so many, until nothing changes.

    Returns:
        The values in order (k,), and for each weight which it is, counted from 1; 0 for zeros.

    The first values are spread evenly over the range, which keeps the few large weights (Han et al., 3.2).

    >>> kmeans(torch.tensor([0.0, 1.0, 1.2, 5.0]), 2)
    (tensor([1.1000, 5.0000]), tensor([0, 1, 1, 2]))
    """
    flat = weight.detach().flatten()
    some = flat[flat != 0]
    places = torch.zeros_like(flat, dtype=torch.int64)
    if not len(some):
        return flat.new_zeros(1), places.view(weight.shape)
    distinct: torch.Tensor = torch.unique(some)
    values = distinct
    if len(distinct) > count:
        values = torch.linspace(float(some.min()), float(some.max()), count, device=flat.device)
        for _ in range(rounds):
            near = torch.bucketize(some, (values[1:] + values[:-1]) / 2)
            sums = torch.zeros_like(values).index_add_(0, near, some)
            held = torch.bincount(near, minlength=len(values))
            moved = torch.where(held > 0, sums / held.clamp_min(1), values).sort().values
            if torch.equal(moved, values):
                break
            values = moved
        used = (
            torch.bincount(torch.bucketize(some, (values[1:] + values[:-1]) / 2), minlength=len(values)) > 0
        )
        values = values[used]
    places[flat != 0] = 1 + torch.bucketize(some, (values[1:] + values[:-1]) / 2)
    return values, places.view(weight.shape)


def _counts(module: nn.Module, values: int | Mapping[str, int], protect: Sequence[str]) -> dict[str, int]:
    """Return how many values each layer gets."""
    check_names(module, protect)
    layers = [layer for layer in weighted(module) if not within(layer, protect)]
    wanted = values if isinstance(values, Mapping) else dict.fromkeys(layers, values)
    for layer, count in wanted.items():
        if layer not in layers:
            raise unknown("layer", layer, layers)
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= 255:
            raise ArgumentError(f"values must be whole numbers from 1 to 255, got {count!r} for {layer!r}")
    return dict(wanted)


def _remove(module: nn.Module, layer: str) -> tuple[float, ...]:
    """Make the weights of a layer plain again, and return its codebook."""
    found: Any = module.get_submodule(layer)
    book = found.parametrizations["weight"][0].values.detach().half().float()
    parametrize.remove_parametrizations(found, "weight", leave_parametrized=True)
    found.weight.requires_grad_(True)
    return tuple(book.tolist())
