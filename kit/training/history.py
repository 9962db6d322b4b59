"""What a training run says about itself: one row an epoch, and how it was run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from math import inf, isnan
from typing import TYPE_CHECKING, Any, Literal, Self

from kit import plots
from kit.notebook import Readable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

Ending = Literal["finished", "interrupted", "stopped"]


@dataclass(frozen=True)
class Epoch:
    """One pass over the training split.

    Attributes:
        number: 1 for the first.
        train_loss: mean over the samples of this epoch, as the weights moved.
        valid_loss: mean over the validation split, after the epoch.
        valid_metric: accuracy (fraction) or root-mean-square error on the validation split.
        lr: the learning rate of its last step.
        samples_per_second: training samples over the seconds spent on them, validation left out.
        seconds: wall time with validation.
        share: how much of the pass was done: 1.0 unless the run was stopped in the middle.
    """

    number: int
    train_loss: float
    valid_loss: float
    valid_metric: float
    lr: float
    samples_per_second: float
    seconds: float
    share: float = 1.0


@dataclass
class History(Readable):
    """The epochs of a run and the choices that were made for it.

    Attributes:
        metric: "accuracy" (more is better) or "rmse" (less is better).
        epochs: the rows, oldest first.
        stopped: "finished", "interrupted" (Ctrl-C) or "stopped" (by a callback or a control).
        precision: "fp32", "bf16" or "fp16".
        layout: "contiguous" or "channels_last".
        reason: why these two were chosen, with what was measured.
        threads: processor threads used.
        device: such as "cpu".
        notes: what the run had to say, such as that a corrupt checkpoint was passed over.
    """

    metric: str
    epochs: list[Epoch] = field(default_factory=list)
    stopped: Ending = "finished"
    precision: str = "fp32"
    layout: str = "contiguous"
    reason: str = ""
    threads: int = 1
    device: str = "cpu"
    notes: list[str] = field(default_factory=list)

    def rank(self, epoch: Epoch) -> tuple[float, float]:
        """Return a key that is larger for a better epoch: the metric first, then the validation loss."""
        sign = 1 if self.metric == "accuracy" else -1
        key = sign * epoch.valid_metric, -epoch.valid_loss
        return (-inf, -inf) if isnan(sum(key)) else key

    @property
    def best(self) -> Epoch | None:
        """The best epoch by validation (the earliest of equals), or None before the first."""
        return max(self.epochs, key=self.rank, default=None)

    @property
    def samples_per_second(self) -> float:
        """Training samples a second: the median over the epochs."""
        rates = sorted(epoch.samples_per_second for epoch in self.epochs)
        return rates[len(rates) // 2] if rates else 0.0

    def plot(self) -> Figure:
        """Draw loss and metric over the epochs, with the learning rate beneath."""
        return plots.training_curves([asdict(epoch) for epoch in self.epochs], metric=self.metric)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dictionary fit for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Self:
        """Rebuild a history from what `to_dict` gave."""
        return cls(**{**saved, "epochs": [Epoch(**row) for row in saved["epochs"]]})

    def _rows(self) -> list[tuple[str, ...]]:
        head = ("epoch", "train loss", "valid loss", f"valid {self.metric}", "lr", "samples/s", "")
        return [head, *(self._row(epoch) for epoch in self._shown())]

    def _row(self, epoch: Epoch) -> tuple[str, ...]:
        return (
            str(epoch.number) if epoch.share == 1 else f"{epoch.number} ({epoch.share:.0%})",
            f"{epoch.train_loss:.4f}",
            f"{epoch.valid_loss:.4f}",
            f"{epoch.valid_metric:.4f}",
            f"{epoch.lr:.2g}",
            f"{epoch.samples_per_second:,.0f}",
            "best" if epoch is self.best else "",
        )

    def _shown(self) -> list[Epoch]:
        """Return at most about twenty epochs: the first, the last, the best, and some between."""
        stride = max(1, len(self.epochs) // 18)
        last = len(self.epochs) - 1
        return [e for i, e in enumerate(self.epochs) if i % stride == 0 or i == last or e is self.best]

    def _summary(self) -> str:
        threads = f"{self.threads} thread{'s' * (self.threads != 1)}"
        how = f"{self.stopped}; {self.precision}, {self.layout}, {threads} on {self.device}"
        return "\n".join([f"{how} ({self.reason})" if self.reason else how, *self.notes])

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
        return "\n".join([*(line.rstrip() for line in lines), self._summary()])

    def _repr_html_(self) -> str:
        head, *rows = self._rows()
        cells = "".join(f"<th>{text}</th>" for text in head)
        body = "".join(f"<tr>{''.join(f'<td>{text}</td>' for text in row)}</tr>" for row in rows)
        note = self._summary().replace("\n", "<br>")
        return f"<table><tr>{cells}</tr>{body}</table><p>{note}</p>"
