"""Losses, optimizers and schedules: by name, by class or by callable."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from kit.errors import ArgumentError, unknown

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Schedule = Callable[[int, int], float]

LOSSES: Mapping[str, Loss] = {
    "cross_entropy": F.cross_entropy,
    "nll": F.nll_loss,
    "bce": F.binary_cross_entropy_with_logits,
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "mae": F.l1_loss,
    "huber": F.huber_loss,
    "smooth_l1": F.smooth_l1_loss,
}

# The class, and the peak learning rate that a small net usually bears with it.
OPTIMIZERS: Mapping[str, tuple[type[torch.optim.Optimizer], float, dict[str, Any]]] = {
    "adam": (torch.optim.Adam, 1e-3, {}),
    "adamw": (torch.optim.AdamW, 1e-3, {}),
    "nadam": (torch.optim.NAdam, 1e-3, {}),
    "radam": (torch.optim.RAdam, 1e-3, {}),
    "rmsprop": (torch.optim.RMSprop, 1e-3, {}),
    "adagrad": (torch.optim.Adagrad, 1e-2, {}),
    "sgd": (torch.optim.SGD, 0.1, {"momentum": 0.9, "nesterov": True}),
}


def loss_function(loss: Any, task: str) -> Loss:
    """Return a function (outputs, targets) → scalar.

    Args:
        loss: a name in `LOSSES`, "auto" (cross-entropy for classes, MSE for values), a loss class such as
            `nn.HuberLoss`, or any callable.
        task: "classification", "generation" or "regression".

    Raises:
        ArgumentError: for an unknown name; names the nearest.
    """
    if isinstance(loss, str):
        usual = "mse" if task == "regression" else "cross_entropy"
        name = usual if loss == "auto" else loss
        if name.lower() not in LOSSES:
            raise unknown("loss", loss, ["auto", *LOSSES])
        return LOSSES[name.lower()]
    if isinstance(loss, type) and issubclass(loss, nn.Module):
        made: Loss = loss()
        return made
    if callable(loss):
        return loss  # type: ignore[no-any-return]
    raise ArgumentError(f"loss must be a name, a class or a callable, got {type(loss).__name__}")


def make_optimizer(
    optimizer: Any, parameters: Iterable[nn.Parameter], *, lr: float | None, weight_decay: float
) -> torch.optim.Optimizer:
    """Make an optimizer over `parameters`, fused where it can be.

    Args:
        optimizer: a name in `OPTIMIZERS`, an optimizer class, or a callable that takes the parameters.
        parameters: what to optimize.
        lr: peak learning rate; None takes the optimizer's usual one.
        weight_decay: as the optimizer understands it.

    Raises:
        ArgumentError: for an unknown name (names the nearest), or an optimizer that needs closures.
    """
    if isinstance(optimizer, torch.optim.Optimizer):
        raise ArgumentError(
            "an optimizer object holds another model's parameters; give its name, its class, or a callable "
            "such as functools.partial(torch.optim.SGD, momentum=0.9)"
        )
    extra: dict[str, Any] = {}
    make = optimizer
    if isinstance(optimizer, str):
        if optimizer.lower() not in OPTIMIZERS:
            raise unknown("optimizer", optimizer, OPTIMIZERS)
        make, usual, extra = OPTIMIZERS[optimizer.lower()]
        lr = usual if lr is None else lr
    if not callable(make):
        raise ArgumentError(f"optimizer must be a name, a class or a callable, got {type(make).__name__}")
    given = {"lr": lr, "weight_decay": weight_decay or None, **extra}
    given["fused"] = _can_fuse(parameters := list(parameters)) or None
    accepted = _parameters_of(make)
    settings = {key: value for key, value in given.items() if value is not None and key in accepted}
    made = make(parameters, **settings)
    if not isinstance(made, torch.optim.Optimizer) or isinstance(made, torch.optim.LBFGS):
        known = ", ".join(OPTIMIZERS)
        raise ArgumentError(f"{type(made).__name__} is no optimizer that steps once a batch; known: {known}")
    for group in made.param_groups:
        if lr is not None and "lr" not in accepted:
            group["lr"] = lr
    return made


def _parameters_of(make: Callable[..., Any]) -> set[str]:
    """Return the keywords a callable takes and has not been given yet."""
    bound = set(getattr(make, "keywords", {}))
    return set(inspect.signature(make).parameters) - bound


def _can_fuse(parameters: Iterable[nn.Parameter]) -> bool:
    return all(p.is_floating_point() and p.device.type in {"cpu", "cuda", "mps"} for p in parameters)


def onecycle(step: int, steps: int) -> float:
    """Rise from 1/25 to 1 over the first 30 %, then fall to nearly 0, both along a cosine.

    Source: L. Smith, N. Topin, "Super-convergence", arXiv:1708.07120; the form of torch's `OneCycleLR`,
    without its cycled momentum.
    """
    peak = 0.3 * steps - 1
    if steps == 1:
        return 1.0
    if peak > 0 and step <= peak:
        return _cosine(1 / 25, 1.0, step / peak)
    return _cosine(1.0, 1 / 250_000, (step - peak) / (steps - 1 - peak))


def cosine(step: int, steps: int) -> float:
    """Fall from 1 to nearly 0 along half a cosine.

    Source: I. Loshchilov, F. Hutter, "SGDR", arXiv:1608.03983, without restarts.
    """
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def constant(_step: int, _steps: int) -> float:
    """Stay at 1."""
    return 1.0


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))


SCHEDULES: Mapping[str, Schedule] = {"onecycle": onecycle, "cosine": cosine, "constant": constant}


def schedule_function(schedule: Any) -> Schedule:
    """Return a function (step, steps) → factor on the learning rate, with 0 ≤ step < steps.

    Raises:
        ArgumentError: for an unknown name; names the nearest.
    """
    if isinstance(schedule, str):
        if schedule.lower() not in SCHEDULES:
            raise unknown("schedule", schedule, SCHEDULES)
        return SCHEDULES[schedule.lower()]
    if callable(schedule):
        return schedule  # type: ignore[no-any-return]
    raise ArgumentError(f"schedule must be a name or a callable, got {type(schedule).__name__}")


def name_of(choice: Any) -> str:
    """Return a short name of a choice for recipes and checkpoints."""
    if isinstance(choice, str):
        return choice
    inner = getattr(choice, "func", choice)
    name = getattr(inner, "__name__", None) or type(inner).__name__
    keywords = getattr(choice, "keywords", {})
    return f"{name}({', '.join(f'{k}={v!r}' for k, v in keywords.items())})" if keywords else name
