"""What another way to run a model must hold: the answers and the accuracy of the model itself."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from kit.measurement.evaluate import agree
from kit.measurement.predict import logits
from kit.runtime.session import open as open_session

if TYPE_CHECKING:
    from kit.data import Dataset
    from kit.measurement.evaluate import Agreement
    from kit.variant import Variant


class Gate:
    """Compares candidates with the given model on the validation split.

    Args:
        variant: the given model.
        data: whose valid split is used.
        max_drop: points of accuracy that may be lost; for regression percent of RMSE that may be added.
        agreement: the least share of answers (of variance, for regression) that must be the model's own.
    """

    def __init__(self, variant: Variant, data: Dataset, *, max_drop: float, agreement: float) -> None:
        self._name, self._data = variant.name, data
        self.max_drop, self.agreement = max_drop, agreement
        self._outputs = logits(variant, data.valid)

    def compare(self, candidate: Variant) -> Agreement:
        """Open a candidate as it is meant to run and compare what it answers.

        Raises:
            KitError: when it cannot be opened or run.
        """
        with open_session(candidate) as session:
            outputs = logits(session, self._data.valid)
        return agree((self._name, candidate.name), (self._outputs, outputs), self._data, "valid")

    def objection(self, change: Agreement) -> str:
        """Say what a candidate loses that it must not; empty when it passes."""
        if change.same.value < self.agreement:
            return f"only {change.same.value:.1%} of its answers are those of the given model"
        what = "points" if change.counts else "percent of RMSE"
        drop = -100 * change.change.value if change.counts else self._added(change.change.value)
        return f"it loses {drop:.2f} {what}, more than {self.max_drop:g}" if drop > self.max_drop else ""

    def _added(self, squared: float) -> float:
        """Return by how many percent the RMSE grows when this is added to the mean squared error."""
        before = float(((self._outputs - self._data.valid.targets.numpy()) ** 2).mean())
        return 100 * (sqrt(max(0.0, 1 + squared / before)) - 1) if before else float(squared > 0) * 100
