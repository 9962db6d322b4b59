"""Progress: what callbacks are told after a step, and the bar on a terminal."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tqdm import tqdm

if TYPE_CHECKING:
    import torch

    from kit.training.history import Epoch


@dataclass(frozen=True)
class Progress:
    """The run after a step.

    Attributes:
        epoch: 1 for the first.
        step: steps done in this epoch.
        steps: steps of an epoch.
        lr: the learning rate of this step.
        loss: the loss of this step, a tensor on the device: `float(progress.loss)` waits for it, so a
            listener should read it only as often as it draws.
    """

    epoch: int
    step: int
    steps: int
    lr: float
    loss: torch.Tensor


class Bar:
    """A tqdm bar over all steps of a run, or nothing at all."""

    def __init__(self, *, shown: bool, total: int, done: int, label: str) -> None:
        self._bar = tqdm(
            total=total,
            initial=done,
            desc=label,
            unit="step",
            leave=False,
            dynamic_ncols=True,
            disable=not shown,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def step(self) -> None:
        """Advance by one."""
        self._bar.update()

    def epoch(self, epoch: Epoch, metric: str) -> None:
        """Show the figures of an epoch."""
        self._bar.set_postfix_str(f"epoch {epoch.number}, valid {metric} {epoch.valid_metric:.4f}")


def bar(progress: bool | None, total: int, done: int, label: str) -> Bar:
    """Return a bar that shows if asked to, or when `progress` is None and stderr is a terminal."""
    shown = sys.stderr.isatty() if progress is None else progress
    return Bar(shown=shown, total=total, done=done, label=label)
