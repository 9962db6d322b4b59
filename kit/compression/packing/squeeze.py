"""`squeeze`: train a net until its packed file fits a number of bytes."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from math import exp, log
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from kit import device
from kit.compression.distillation.distill import answers, check_weights, taught
from kit.compression.packing import entropy
from kit.data import as_dataset
from kit.errors import ArgumentError
from kit.measurement.evaluate import evaluate
from kit.measurement.size import nonzero, parameters
from kit.notebook import Readable
from kit.runtime import packed
from kit.training.batches import steps_of
from kit.training.loop import fit
from kit.training.settings import Settings
from kit.variant import as_variant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kit.compression.distillation.distill import Answers
    from kit.data import Dataset
    from kit.statistics import Measurement
    from kit.training.history import History
    from kit.variant import Variant

_LOOKS = 400  # how often the price is set, if there are as many steps; at least once in 20
_MARGIN = 0.99  # the price aims a little below the budget, so that little has to be trimmed at the end
_RAMP = 0.6  # the part of the training in which the size comes down to the budget
_GAIN, _AHEAD = 0.1, 20  # how the price answers to the size and to its trend
_WEIGH_AT = (0.6, 0.75, 0.95)  # when the estimate is set right by really packing the net


@dataclass(frozen=True)
class SqueezeReport(Readable):
    """What `squeeze` did.

    Attributes:
        budget: the bytes that were asked for.
        bytes: those of the packed file without history.
        parameters, nonzero: all weights, and those that are not zero.
        before, after: accuracy (or root-mean-square error) on the validation split, with its interval.
        price: what a bit was worth in the end, in units of the loss; 0 without a penalty.
        history: of the training.
    """

    budget: int
    bytes: int
    parameters: int
    nonzero: int
    before: Measurement
    after: Measurement
    price: float
    history: History

    @property
    def ratio(self) -> float:
        """How many times smaller the file is than the weights as float32."""
        return 4 * self.parameters / self.bytes

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a dictionary fit for JSON."""
        kept = {key: getattr(self, key) for key in ("budget", "bytes", "parameters", "nonzero", "price")}
        scores = {"before": self.before.to_dict(), "after": self.after.to_dict()}
        return kept | {"ratio": self.ratio} | scores | {"history": self.history.to_dict()}

    def __str__(self) -> str:
        return (
            f"{self.bytes:,} bytes packed (budget {self.budget:,}), {self.ratio:.0f}× smaller than float32\n"
            f"{self.nonzero:,} of {self.parameters:,} weights are not zero\n"
            f"validation {self.history.metric}: {self.before:.4f} before, {self.after:.4f} after"
        )


def squeeze(
    model: nn.Module | Variant,
    data: Any,
    *,
    budget: int,
    teacher: nn.Module | Variant | torch.Tensor | None = None,
    temperature: float = 4.0,
    weight: float = 0.7,
    penalty: bool = True,
    protect: Sequence[str] = (),
    epochs: int = 20,
    name: str | None = None,
    **training: Any,
) -> Variant:
    """Train a net whose weights are rounded, and pay for each bit they need, until it packs into a budget.

    Which weights become zero, how coarsely the others are rounded, layer by layer, and which rows and columns
    die out follows from one price of a bit, raised or lowered as the size asks for.

    Args:
        model: a trained module or variant; not changed.
        data: a `Dataset` or whatever `kit.data.as_dataset` takes.
        budget: most bytes that the packed file (without history) may have, card and all.
        teacher: whose answers to learn beside the labels: a model, or its logits for `data.train`
            (N, classes). By default the model itself as it came.
        temperature, weight: of that distillation, as in `kit.distill`; weight 0 is the labels alone.
        penalty: False asks no price: the weights nearest to zero go, step by step, until the file fits. That
            is what to compare with, to see what the price brings.
        protect: layers, or modules that contain them, whose weights stay float32.
        epochs: in the first 60 % of them the size comes down. They should be 1,000 steps or more.
        name: the name of the result.
        training: anything else that `kit.train` takes, such as `lr`, `seed` or `augment`.

    Returns:
        A new variant of a plain module; its `report` is a `SqueezeReport`. `kit.pack(…, history=False)`
        writes no more than the budget.

    Raises:
        ArgumentError: when the budget is out of reach or an argument out of range.
        ModelError: when the net has no weights to round.

    Source: D. Oktay et al., "Scalable model compression by entropy penalized reparameterization",
    arXiv:1906.06624, for the penalty; it codes with one distribution a layer, here it is that of the file.

    Example:
        >>> tiny = kit.squeeze(dense, data, budget=10_000)  # doctest: +SKIP
        >>> kit.pack(tiny, "tiny.kit", history=False)  # doctest: +SKIP
    """
    data = as_dataset(data)
    parent = as_variant(model, data.signature)
    check_weights(temperature=temperature, weight=weight)
    training = {"keep": "last", "schedule": "cosine", **training, "epochs": epochs}
    how = Settings.of(training)
    module = copy.deepcopy(parent.module)
    ask = _answers(parent if teacher is None else teacher, data, training)
    learn = taught(ask, data, temperature=temperature, weight=weight, training=training)
    entropy.apply(module, protect=protect)
    steps = epochs * steps_of(len(data.train), how.batch_size)
    market = _Market(parent, module, budget, steps, priced=penalty)

    def objective(
        net: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, index: torch.Tensor
    ) -> torch.Tensor:
        with parametrize.cached():
            loss = learn(net, inputs, targets, index)
        return loss + market.price * market.rate.penalty() if penalty else loss

    history = fit(module, data, objective, after_step=market.tick, label="squeeze", **training)
    size = market.trim()
    entropy.remove(module)
    report = SqueezeReport(
        budget=budget,
        bytes=size,
        parameters=parameters(module),
        nonzero=nonzero(module),
        before=evaluate(parent, data, split="valid").score,
        after=evaluate(module, data, split="valid").score,
        price=market.price,
        history=history,
    )
    settings: dict[str, Any] = {
        "budget": budget,
        "temperature": temperature,
        "weight": weight,
        "penalty": penalty,
        "epochs": epochs,
    }
    settings |= {key: value for key, value in training.items() if isinstance(value, int | float | str)}
    label = name or f"{parent.name} {budget:,} bytes"
    return parent.derive(module, "squeeze", settings, name=label, report=report)


class _Market:
    """Sets the price of a bit so that the size follows its plan: down along a geometric line, then level."""

    def __init__(self, parent: Variant, module: nn.Module, budget: int, steps: int, *, priced: bool) -> None:
        self._parent, self._module, self._budget, self._steps = parent, module, budget, steps
        self.rate = entropy.Rate(module)
        self._first = self.rate.bits / 8
        self._offset = float(self._fixed())  # what the file costs beyond the estimate
        if self._offset > budget:
            raise ArgumentError(
                f"{budget:,} bytes are out of reach: all but the rounded weights take {self._offset:,.0f}"
            )
        self._step, self._every = 0, max(1, min(20, steps // _LOOKS))
        self.price, self._excess = 0.1 / self.rate.bits if priced else 0.0, 0.0

    def tick(self, _module: nn.Module) -> None:
        """Look at the size once in some steps, and change the price."""
        self._step += 1
        if self._step in {round(part * self._steps) for part in _WEIGH_AT}:
            self._offset = self._weigh() - self.rate.refresh() / 8
        if self._step % self._every == 0:
            part = min(1.0, self._step / (self._steps * _RAMP))
            part *= part * (3 - 2 * part)
            goal = exp(log(self._first) * (1 - part) + log(self._budget * _MARGIN) * part)
            now = self.rate.refresh() / 8 + part * self._offset
            excess = log(max(now, 1) / goal)
            if not self.price:
                if excess > 0:
                    entropy.drop(self._module, 1 - exp(-excess))
                return
            # Weights follow the price late: without looking at the trend it would swing ever wider.
            change = excess + _AHEAD * (excess - self._excess)
            self._excess = excess
            self.price *= exp(max(-0.3, min(0.3, _GAIN * change)))

    def trim(self) -> int:
        """Zero the weights nearest to zero while the file is too large; return its bytes."""
        while (size := self._weigh()) > self._budget:
            excess = (size - self._budget) / max(1.0, self._budget - self._offset)
            if not entropy.drop(self._module, excess):
                raise ArgumentError(
                    f"{self._budget:,} bytes are out of reach: {size:,} stay with no weight at all"
                )
        return size

    def _fixed(self) -> int:
        """Return the bytes of a file in which all rounded weights are zero."""
        bare = copy.deepcopy(self._module)
        entropy.drop(bare, 1.0)
        return packed.size(self._parent.derive(bare, "squeeze", {}, name=self._parent.name))

    def _weigh(self) -> int:
        return packed.size(self._parent.derive(self._module, "squeeze", {}, name=self._parent.name))


def _answers(
    teacher: nn.Module | Variant | torch.Tensor, data: Dataset, training: Mapping[str, Any]
) -> Answers:
    """Return what a teacher says, whether it is a model or a table of its logits."""
    if not isinstance(teacher, torch.Tensor):
        return answers(as_variant(teacher, data.signature), data, training)
    if training.get("augment") is not None or len(teacher) != len(data.train):
        raise ArgumentError(
            f"{len(teacher):,} answers of a teacher do not belong to {len(data.train):,} samples that stay "
            "as they are; give the teacher itself"
        )
    table = teacher.to(device.pick(training.get("device")))
    return lambda _inputs, index: table[index]
