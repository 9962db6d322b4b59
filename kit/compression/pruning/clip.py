"""`clip`: pull in the few weights that lie far out, which would make every quantization step coarse."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from kit.compression.distillation.distill import answers, taught
from kit.compression.pruning import masks
from kit.data import as_dataset
from kit.errors import ArgumentError
from kit.measurement.evaluate import evaluate
from kit.notebook import Readable
from kit.training.loop import fit
from kit.training.settings import Settings
from kit.variant import as_variant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from kit.statistics import Measurement
    from kit.training.control import Control
    from kit.training.history import History
    from kit.variant import Variant


@dataclass(frozen=True)
class ClippedLayer:
    """What clipping did to one layer.

    Attributes:
        name: the layer.
        largest: the largest absolute weight before.
        limit: the largest absolute weight allowed since.
        share: the fraction of weights that lay beyond it.
    """

    name: str
    largest: float
    limit: float
    share: float


@dataclass(frozen=True)
class ClipReport(Readable):
    """What clipping did.

    Attributes:
        layers: layer by layer.
        dense: accuracy (regression: RMSE) of the parent on the validation split.
        clipped: likewise of the result.
        history: the fine-tuning, if there was any.
    """

    layers: tuple[ClippedLayer, ...]
    dense: Measurement
    clipped: Measurement
    history: History | None

    def __str__(self) -> str:
        width = max(len("layer"), *(len(layer.name) for layer in self.layers))
        lines = [f"{'layer':{width}}  largest   limit  clipped"]
        lines += [f"{r.name:{width}}  {r.largest:7.3f} {r.limit:7.3f} {r.share:8.2%}" for r in self.layers]
        return "\n".join([*lines, f"on the validation split: {self.dense:.4g} → {self.clipped:.4g}"])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dictionary fit for JSON."""
        return {
            "layers": [asdict(layer) for layer in self.layers],
            "dense": self.dense.to_dict(),
            "clipped": self.clipped.to_dict(),
            "history": self.history.to_dict() if self.history else None,
        }


def clip(
    model: nn.Module | Variant,
    data: Any,
    *,
    deviations: float | None = None,
    percentile: float | None = None,
    finetune: int = 1,
    distill: bool = True,
    temperature: float = 4.0,
    weight: float = 0.7,
    protect: Sequence[str] = (),
    control: Control | None = None,
    name: str | None = None,
    **training: Any,
) -> Variant:
    """Clip the weights of each layer to ±limit, and hold them there through fine-tuning.

    Args:
        model: a trained module or variant of a module; not changed.
        data: a `Dataset` or whatever `kit.data.as_dataset` takes.
        deviations: the limit of each layer in standard deviations of its weights; 3 by default.
        percentile: or the limit below which this percentage of its absolute weights lies, such as 99.9.
        finetune: epochs afterwards; 0 for none.
        distill, temperature, weight: learn from the parent's answers as well, as in `kit.prune`.
        protect: layers, or modules that contain them, to leave as they are.
        control: a `kit.training.Control`, to pause or stop from another thread.
        name: the name of the result.
        training: anything else that `kit.train` takes, such as `lr` or `seed`.

    Returns:
        A new variant; its `report` is a `ClipReport`.

    Raises:
        ArgumentError: when a number is out of range, both limits are given, or a layer does not exist.

    Source: R. Banner et al., "Post training 4-bit quantization of convolutional networks",
    arXiv:1810.05723, on why outliers cost more than clipping does.
    """
    data = as_dataset(data)
    parent = as_variant(model, data.signature)
    how = {**training, "epochs": max(finetune, 1)}
    Settings.of(how)
    module = copy.deepcopy(parent.module)
    bounds = limits(masks.weights(module, protect=protect), deviations=deviations, percentile=percentile)
    layers = tuple(_clipped(module, layer, bound) for layer, bound in bounds.items())
    clamp(module, bounds)
    history = None
    if finetune:
        ask = answers(parent, data, how)
        objective = (
            taught(ask, data, temperature=temperature, weight=weight, training=how) if distill else None
        )
        hold = partial(clamp, limits=bounds)
        history = fit(module, data, objective, after_step=hold, control=control, label="clip", **how)
    dense, clipped = (evaluate(each, data, split="valid").score for each in (parent.module, module))
    settings = {"percentile": percentile} if percentile is not None else {"deviations": deviations or 3.0}
    settings |= {"finetune": finetune, "distill": distill and finetune > 0}
    report = ClipReport(layers, dense, clipped, history)
    return parent.derive(module, "clip", settings, name=name or f"{parent.name} clipped", report=report)


def limits(
    weights: Mapping[str, torch.Tensor], *, deviations: float | None = None, percentile: float | None = None
) -> dict[str, float]:
    """Return the largest absolute weight that each layer may have.

    Args:
        weights: the weight of each layer.
        deviations, percentile: as in `clip`; one of them.

    >>> limits({"layer": torch.tensor([-1.0, 1.0, 2.0, 9.0])}, percentile=50)
    {'layer': 1.5}
    """
    if deviations is not None and percentile is not None:
        raise ArgumentError("give deviations= or percentile=, not both")
    if percentile is not None:
        if not 0 < percentile < 100:
            raise ArgumentError(f"percentile must lie between 0 and 100, got {percentile}; 99.9 is usual")
        return {n: float(w.abs().flatten().float().quantile(percentile / 100)) for n, w in weights.items()}
    bound = 3.0 if deviations is None else deviations
    if not 0 < bound < float("inf"):
        raise ArgumentError(f"deviations must be above 0, got {bound}; 3 is usual")
    return {name: bound * float(weight.std()) for name, weight in weights.items()}


@torch.no_grad()
def clamp(module: nn.Module, limits: Mapping[str, float]) -> None:
    """Clip the weights of the named layers in place."""
    for name, limit in limits.items():
        layer: Any = module.get_submodule(name)
        layer.weight.clamp_(-limit, limit)


def _clipped(module: nn.Module, name: str, limit: float) -> ClippedLayer:
    layer: Any = module.get_submodule(name)
    sizes = layer.weight.detach().abs()
    return ClippedLayer(name, float(sizes.max()), limit, float((sizes > limit).float().mean()))
