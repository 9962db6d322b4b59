"""One run of the loop: its steps, its epochs, its best weights, and the search for what made a loss NaN."""

from __future__ import annotations

import copy
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from kit.errors import DivergedError
from kit.training.batches import Batches, cut, steps_of
from kit.training.history import Epoch, History
from kit.training.progress import Progress
from kit.training.randomness import capture, restore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import nn

    from kit.training.choices import Schedule
    from kit.training.criterion import Criterion

# To wait for the device once in so many steps costs nothing, and a run that diverged ends soon after.
_CHECK_EVERY = 256


@dataclass
class Run:
    """A module being fitted, and where it stands. An epoch's losses stay on the device and are read once."""

    module: nn.Module
    train: Batches
    valid: Batches
    objective: Callable[..., torch.Tensor]
    criterion: Criterion
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    epochs: int
    batch_size: int
    where: torch.device
    history: History
    augment: Callable[[torch.Tensor], torch.Tensor] | None = None
    after_step: Callable[[nn.Module], object] | None = None
    epoch: int = 0
    position: int = 0
    best: dict[str, torch.Tensor] | None = None

    def __post_init__(self) -> None:
        """Derive what stays the same through the run."""
        self.steps = steps_of(len(self.train), self.batch_size)
        self.losses = torch.zeros(self.steps, device=self.where)
        self.order = torch.zeros(0, dtype=torch.int64)
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        fp16 = self.history.precision == "fp16"
        self.scaler = torch.amp.GradScaler(self.where.type) if fp16 else None
        self.anchor: dict[str, Any] = {}
        self.began, self.first = 0.0, 0
        best = self.history.best
        self.top = self.history.rank(best) if best else (-math.inf, -math.inf)

    @property
    def done(self) -> bool:
        """Whether every epoch is complete."""
        return self.epoch >= self.epochs

    def through_epoch(self) -> Iterator[None]:
        """Train to the end of this epoch, yielding after every step."""
        if self.position == 0:
            self.order = torch.randperm(len(self.train))
            self.losses.zero_()
            self.anchor = self.capture()
        self.began, self.first = time.perf_counter(), self.position
        self.module.train()
        batches = self._batches()
        while self.position < self.steps:
            self._step(batches[self.position])
            if self.position % _CHECK_EVERY == 0:
                self.check()
            yield

    def _batches(self) -> list[torch.Tensor]:
        return cut(self.order.to(self.train.home), self.batch_size)

    def _step(self, index: torch.Tensor) -> None:
        self._set_rates()
        try:
            self.losses[self.position] = self._backward(index)
        except (RuntimeError, ValueError) as error:
            self.check()
            if self._gives_nan(index):  # some losses refuse that with an error of their own
                raise self._diverged(self.position, math.nan) from error
            raise
        self._update()
        self.position += 1

    def _set_rates(self) -> None:
        factor = self.schedule(self.epoch * self.steps + self.position, self.epochs * self.steps)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor

    def _backward(self, index: torch.Tensor) -> torch.Tensor:
        x, y = self.train.pick(index)
        if self.augment is not None:
            x = self.train.arrange(self.augment(x))
        loss = self.objective(self.module, x, y, index)
        torch.autograd.backward(loss if self.scaler is None else self.scaler.scale(loss))
        return loss.detach()

    def _update(self) -> None:
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        for parameter in self.parameters:
            parameter.grad = None
        if self.after_step is not None:
            self.after_step(self.module)

    def progress(self) -> Progress:
        """Return where the run stands after a step."""
        rate = self.optimizer.param_groups[0]["lr"]
        return Progress(
            self.epoch + 1, self.position, self.steps, rate, self.losses[self.position - 1].clone()
        )

    def close_epoch(self) -> Epoch:
        """Validate, record the epoch or what was done of it, and keep the weights if they are the best."""
        self.check()
        seconds = time.perf_counter() - self.began
        sizes = torch.tensor([len(batch) for batch in cut(self.order, self.batch_size)][: self.position])
        total = float((self.losses[: self.position].double().cpu() * sizes).sum())
        valid_loss, valid_metric = self.validate()
        epoch = Epoch(
            number=self.epoch + 1,
            train_loss=total / int(sizes.sum()),
            valid_loss=valid_loss,
            valid_metric=valid_metric,
            lr=self.optimizer.param_groups[0]["lr"],
            samples_per_second=int(sizes[self.first :].sum()) / max(seconds, 1e-9),
            seconds=time.perf_counter() - self.began,
            share=self.position / self.steps,
        )
        self.history.epochs.append(epoch)
        if self.best is None or self.history.rank(epoch) > self.top:
            self.best, self.top = self._weights(), self.history.rank(epoch)
        if self.position == self.steps:
            self.epoch, self.position = self.epoch + 1, 0
        return epoch

    def validate(self) -> tuple[float, float]:
        """Return loss and metric on the validation split."""
        self.module.eval()
        loss, score = (torch.zeros((), device=self.where) for _ in range(2))
        with torch.no_grad():
            for x, y in self.valid.in_order(512):
                outputs = self.module(x)
                loss += self.criterion.loss(outputs, self.criterion.targets(y)) * len(y)
                score += self.criterion.errors(outputs, y)
        n = len(self.valid)
        return float(loss) / n, self.criterion.finish(float(score), n)

    def _weights(self) -> dict[str, torch.Tensor]:
        return {key: value.detach().clone() for key, value in self.module.state_dict().items()}

    def capture(self) -> dict[str, Any]:
        """Return everything that the rest of the run depends on, copied."""
        return {
            "weights": self._weights(),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "random": capture(self.where),
            "epoch": self.epoch,
            "position": self.position,
            "order": self.order,
            "losses": self.losses.clone(),
            "best": self.best,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to what `capture` returned."""
        self.module.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scaler is not None and state["scaler"] is not None:
            self.scaler.load_state_dict(state["scaler"])
        restore(state["random"], self.where)
        self.epoch, self.position = state["epoch"], state["position"]
        self.order, self.best = state["order"], state["best"]
        self.losses.copy_(state["losses"])
        self.anchor = dict(state)

    def check(self) -> None:
        """Raise DivergedError if a loss of this epoch is NaN or infinite."""
        bad = torch.isfinite(self.losses[: self.position]).logical_not().nonzero()
        if len(bad):
            raise self._diverged(int(bad[0]), float(self.losses[int(bad[0])]))

    @torch.no_grad()
    def _gives_nan(self, index: torch.Tensor) -> bool:
        return not bool(torch.isfinite(self.module(self.train.pick(index)[0])).all())

    def _diverged(self, bad: int, value: float) -> DivergedError:
        """Repeat the epoch up to the step that failed, this time looking at the gradients."""
        self.restore(self.anchor)
        self.module.train()
        batches, largest = self._batches(), ""
        while self.position < bad:
            self._set_rates()
            self._backward(batches[self.position])
            largest = self._largest_gradient() if self.position == bad - 1 else ""
            self._update()
            self.position += 1
        if not largest:
            with suppress(RuntimeError, ValueError):  # the error that led here, in the first step
                self._backward(batches[bad])
            largest = self._largest_gradient()
        if self.best is not None:
            self.module.load_state_dict(self.best)
        return DivergedError(
            f"the loss became {value} at step {bad + 1} of epoch {self.epoch + 1}; the largest gradient was "
            f"{largest}. Lower the learning rate (its peak is {self.rates[0]:g}), or look for unscaled inputs"
        )

    def _largest_gradient(self) -> str:
        """Return the layer with the largest gradient and its size; one that is not finite is largest."""
        sizes = {
            name: float(p.grad.abs().max())
            for name, p in self.module.named_parameters()
            if p.grad is not None
        }
        if not sizes:
            return "not computed yet"
        name = max(sizes, key=lambda key: math.inf if math.isnan(sizes[key]) else sizes[key])
        return f"{sizes[name]:.3g} in layer {name!r}"
