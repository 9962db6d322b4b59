"""What an evaluation says: scores with intervals, per class and over all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.notebook import Readable
from kit.statistics import Measurement, bootstrap, wilson

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassScore:
    """How well one class is found.

    Attributes:
        name: the class.
        precision: the share of samples called by this name that deserve it; 0 when none was.
        recall: the share of this class that was called by its name; 0 when the split has none.
        f1: their harmonic mean.
        support: how many samples of the class the split holds.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, eq=False)
class Evaluation(Readable):
    """How good a model is on one split.

    Attributes:
        name: the model.
        data: the data set and the split, such as "Fashion-MNIST test".
        n: how many samples.
        score: the headline figure: accuracy as a fraction, or the root-mean-square error.
    """

    name: str
    data: str
    n: int
    score: Measurement

    def to_dict(self) -> dict[str, Any]:
        """Return the headline figure as a dictionary fit for JSON."""
        return {"name": self.name, "data": self.data, "n": self.n, "score": self.score.to_dict()}


@dataclass(frozen=True, eq=False)
class Classification(Evaluation):
    """How good a classifier is; `score` is its accuracy.

    Attributes:
        macro_f1: the mean F1 over classes, with a bootstrap interval over samples.
        classes: precision, recall and F1 of each class.
        confusion: counts (true class, predicted class).
    """

    macro_f1: Measurement
    classes: tuple[ClassScore, ...]
    confusion: NDArray[np.int64]

    @property
    def accuracy(self) -> Measurement:
        """The share of samples that are right, with its Wilson interval."""
        return self.score

    def plot(self, against: Classification | None = None) -> Figure:
        """Draw the confusion matrix, normalised by row; with `against`, also what changed since that one."""
        from kit import plots

        names = [score.name for score in self.classes]
        base = None if against is None else (against.name, against.confusion)
        return plots.confusion(self.confusion, names, title=self.name, data=self.data, against=base)

    def __str__(self) -> str:
        width = max(len("class"), *(len(score.name) for score in self.classes))
        lines = [
            f"{self.name} on {self.data}, n = {self.n:,}",
            f"accuracy {self.accuracy:.2%}, macro F1 {self.macro_f1:.3f}",
            f"{'class':{width}}  precision  recall     F1      n",
        ]
        lines += [
            f"{s.name:{width}}  {s.precision:9.3f}  {s.recall:6.3f}  {s.f1:5.3f}  {s.support:5,}"
            for s in self.classes
        ]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dictionary fit for JSON."""
        return {
            **super().to_dict(),
            "macro_f1": self.macro_f1.to_dict(),
            "classes": [vars(score) for score in self.classes],
            "confusion": self.confusion.tolist(),
        }


@dataclass(frozen=True, eq=False)
class Regression(Evaluation):
    """How far a regression is off, in the units of the targets; `score` is the RMSE.

    Attributes:
        mse: mean squared error, with its bootstrap interval over samples.
        mae: mean absolute error, likewise.
    """

    mse: Measurement
    mae: Measurement

    @property
    def rmse(self) -> Measurement:
        """Root of the mean squared error, in the units of the targets."""
        return self.score

    def __str__(self) -> str:
        return (
            f"{self.name} on {self.data}: RMSE {self.rmse:.4g}, MSE {self.mse:.4g}, MAE {self.mae:.4g}, "
            f"n = {self.n:,}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dictionary fit for JSON."""
        return {**super().to_dict(), "mse": self.mse.to_dict(), "mae": self.mae.to_dict()}


def classification(
    name: str, data: str, predicted: NDArray[np.int64], targets: NDArray[np.int64], classes: tuple[str, ...]
) -> Classification:
    """Score predicted class indices (N,) against true ones (N,)."""
    count, n = len(classes), len(targets)
    confusion = np.bincount(targets * count + predicted, minlength=count * count).reshape(count, count)
    precision, recall, f1 = (part.tolist() for part in _class_scores(confusion))
    support = confusion.sum(axis=1).tolist()
    scores = tuple(map(ClassScore, classes, precision, recall, f1, support))
    return Classification(
        name, data, n, wilson(int(confusion.trace()), n), _macro_f1(confusion), scores, confusion
    )


def regression(
    name: str, data: str, outputs: NDArray[np.float32], targets: NDArray[np.float32]
) -> Regression:
    """Score outputs (N, outputs) against target values of the same shape."""
    error = outputs.astype(np.float64) - targets
    mse = bootstrap((error**2).mean(axis=1), np.mean)
    mae = bootstrap(np.abs(error).mean(axis=1), np.mean)
    value, low, high = (float(np.sqrt(bound)) for bound in (mse.value, mse.low, mse.high))
    root = Measurement(value, low, high, mse.n, "", mse.method)
    return Regression(name, data, len(targets), root, mse, mae)


def _class_scores(confusion: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return precision, recall and F1 of each class for confusion counts (…, true, predicted)."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    called, there = confusion.sum(axis=-2), confusion.sum(axis=-1)
    f1 = 2 * right / np.maximum(called + there, 1)
    return right / np.maximum(called, 1), right / np.maximum(there, 1), f1


def _macro_f1(confusion: NDArray[np.int64], resamples: int = 1000) -> Measurement:
    """Mean F1 over the classes that occur; drawing the matrix anew is a bootstrap over samples."""
    n = int(confusion.sum())
    draws = np.random.default_rng(0).multinomial(n, confusion.ravel() / n, resamples)
    occurs = confusion.sum(axis=1) > 0
    estimates = _class_scores(draws.reshape(-1, *confusion.shape))[2][:, occurs].mean(axis=1)
    low, high = np.quantile(estimates, [0.025, 0.975])
    value = float(_class_scores(confusion)[2][occurs].mean())
    return Measurement(value, float(low), float(high), n, "", "bootstrap 95 %")
