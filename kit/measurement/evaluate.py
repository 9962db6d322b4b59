"""`evaluate`: how good is a model; `agreement`: do two models say the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.data import as_dataset
from kit.errors import ModelError
from kit.measurement.predict import logits
from kit.measurement.scores import Classification, Evaluation, Regression, classification, regression
from kit.measurement.sequences import Generation, followed, generation
from kit.notebook import Readable
from kit.statistics import Measurement, bootstrap, mcnemar, paired_difference, paired_proportions, wilson
from kit.variant import as_variant

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from kit.data import Dataset
    from kit.variant import Variant

__all__ = [
    "Agreement",
    "Classification",
    "Evaluation",
    "Generation",
    "Regression",
    "agree",
    "agreement",
    "evaluate",
    "score",
]


def evaluate(
    model: torch.nn.Module | Variant,
    data: Any,
    *,
    split: str = "test",
    batch_size: int = 500,
    device: str | torch.device | None = None,
) -> Classification | Regression | Generation:
    """Measure how good a model is on one split.

    Args:
        model: a module or a variant (of a module or a model file).
        data: a `Dataset` or whatever `kit.data.as_dataset` takes.
        split: "train", "valid" or "test".
        batch_size: how many samples the model gets at a time.
        device: where a module runs; by default where its weights are.

    Returns:
        Accuracy with its Wilson interval, per-class scores and the confusion matrix; for regression
        RMSE, MSE and MAE, and for generation bits per token and perplexity, with bootstrap intervals.

    Raises:
        ModelError: when the model cannot take the samples, or its outputs do not fit the labels.

    Example:
        >>> print(kit.evaluate(dense, data))  # doctest: +SKIP
    """
    data = as_dataset(data)
    variant = as_variant(model, data.signature)
    outputs = logits(variant, data[split], batch_size=batch_size, device=device)
    return score(variant.name, outputs, data, split)


def score(
    name: str, outputs: NDArray[np.float32], data: Dataset, split: str
) -> Classification | Regression | Generation:
    """Score outputs (N, outputs) that `logits` gave for a split.

    Raises:
        ModelError: when their number does not fit the labels.
    """
    where, targets = f"{data.name} {split}", data[split].targets.numpy()
    _check_fit(name, outputs, data)
    if data.signature.task == "regression":
        return regression(name, where, outputs, targets)
    if data.signature.task == "generation":
        return generation(name, where, outputs, targets)
    return classification(name, where, outputs.argmax(axis=1), targets, data.signature.classes)


def _check_fit(name: str, outputs: NDArray[np.float32], data: Dataset) -> None:
    wanted = data.signature.outputs or len(data.signature.classes)
    if data.signature.task == "generation":
        wanted *= data.signature.shape[0]
    if outputs.shape[1] != wanted:
        what = (
            f"{wanted} {'logits' if data.signature.task == 'generation' else 'classes'}"
            if data.signature.classes
            else f"{wanted} target value(s)"
        )
        raise ModelError(
            f"{name!r} gives {outputs.shape[1]} output(s) a sample, but {data.name!r} has {what}; "
            "use a model with as many outputs"
        )


@dataclass(frozen=True)
class Agreement(Readable):
    """What changed from a first model to a second one on the same samples.

    Attributes:
        first, second: the names of the models.
        data: the data set and the split.
        same: the share of samples on which both name the same class (Wilson interval); for regression
            the share of the first's variance that the second reproduces (bootstrap interval).
        change: accuracy of the second minus the first, in fractions (paired interval); for regression
            the change of the mean squared error.
        only_first, only_second: how many samples only that model got right; 0 for regression.
        p: two-sided exact McNemar p-value for "the accuracy changed"; None but for classification.
        tokens: whether the models name tokens.
    """

    first: str
    second: str
    data: str
    same: Measurement
    change: Measurement
    only_first: int = 0
    only_second: int = 0
    p: float | None = None
    tokens: bool = False

    @property
    def counts(self) -> bool:
        """Whether right answers are counted: of classes or tokens, not of values."""
        return self.tokens or self.p is not None

    def __str__(self) -> str:
        if self.p is None and self.tokens:
            return (
                f"{self.second} agrees with {self.first} on {self.same.value:.2%} of the tokens of "
                f"{self.data}; "
                f"accuracy {100 * self.change.value:+.2f} points, n = {self.same.n:,} windows"
            )
        if self.p is None:
            return (
                f"{self.second} reproduces {self.same:.2%} of the variance of {self.first} on {self.data}; "
                f"change of MSE {self.change:+.4g}, n = {self.same.n:,}"
            )
        verdict = "accuracy changed" if self.p < 0.05 else "no change of accuracy shown"
        change, low, high = (100 * part for part in (self.change.value, self.change.low, self.change.high))
        return (
            f"{self.second} agrees with {self.first} on {self.same:.2%} of {self.data} "
            f"(n = {self.same.n:,}); accuracy {change:+.2f} [{low:+.2f}, {high:+.2f}] points, "
            f"only right: {self.only_first} against {self.only_second}, McNemar p = {self.p:.3g}: {verdict}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary fit for JSON."""
        return {**vars(self), "same": self.same.to_dict(), "change": self.change.to_dict()}


def agreement(
    first: torch.nn.Module | Variant, second: torch.nn.Module | Variant, data: Any, *, split: str = "test"
) -> Agreement:
    """Measure on how many samples two models agree, and whether accuracy changed from one to the other.

    Raises:
        ModelError: when a model cannot take the samples, or its outputs do not fit the labels.

    Example:
        >>> print(kit.agreement(dense, int8, data))  # doctest: +SKIP
    """
    data = as_dataset(data)
    models = [as_variant(model, data.signature) for model in (first, second)]
    outputs = [logits(variant, data[split]) for variant in models]
    return agree((models[0].name, models[1].name), (outputs[0], outputs[1]), data, split)


def agree(
    names: tuple[str, str],
    outputs: tuple[NDArray[np.float32], NDArray[np.float32]],
    data: Dataset,
    split: str,
) -> Agreement:
    """Compare two models by their outputs (N, outputs) on a split.

    Raises:
        ModelError: when the number of outputs does not fit the labels.
    """
    where, targets = f"{data.name} {split}", data[split].targets.numpy()
    for name, rows in zip(names, outputs, strict=True):
        _check_fit(name, rows, data)
    if data.signature.task == "regression":
        first, second = (((rows - targets) ** 2).mean(axis=1) for rows in outputs)
        return Agreement(*names, where, _reproduced(*outputs), paired_difference(first, second))
    if data.signature.task == "generation":
        said = [followed(rows, targets) for rows in outputs]
        first, second = ((tokens == targets).mean(axis=1) for tokens in said)
        same = bootstrap((said[0] == said[1]).mean(axis=1), np.mean)
        return Agreement(*names, where, same, paired_difference(first, second), tokens=True)
    predicted = [rows.argmax(axis=1) for rows in outputs]
    right = [labels == targets for labels in predicted]
    only_first, only_second = (int((right[i] & ~right[1 - i]).sum()) for i in (0, 1))
    same = wilson(int((predicted[0] == predicted[1]).sum()), len(targets))
    change = paired_proportions(only_first, only_second, len(targets))
    return Agreement(*names, where, same, change, only_first, only_second, mcnemar(only_first, only_second))


def _reproduced(first: NDArray[np.float32], second: NDArray[np.float32]) -> Measurement:
    """Return 1 minus the mean squared difference over the variance of the first."""
    variance = float(first.astype(np.float64).var(axis=0).sum()) or 1.0
    off = bootstrap(((first.astype(np.float64) - second) ** 2).sum(axis=1), np.mean)
    bounds = (1 - off.value / variance, 1 - off.high / variance, 1 - off.low / variance)
    return Measurement(*bounds, off.n, "", off.method)
