"""Whether a model's outputs, the targets and a loss belong together: found out before the first step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from kit.errors import ModelError
from kit.training.choices import LOSSES, Loss, loss_function, name_of

if TYPE_CHECKING:
    from kit.data import Dataset
    from kit.variant import Signature, Task

# These take class indices; the other named losses compare outputs and targets of one shape.
_BY_INDEX = (F.cross_entropy, F.nll_loss)
_BY_INDEX_MODULES = (nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss)
_BY_SHAPE = tuple(set(LOSSES.values()) - set(_BY_INDEX))
_BY_SHAPE_MODULES = (nn.MSELoss, nn.L1Loss, nn.HuberLoss, nn.SmoothL1Loss, nn.BCEWithLogitsLoss, nn.BCELoss)


@dataclass(frozen=True)
class Criterion:
    """A loss and a metric, for outputs of a known width.

    Attributes:
        task: "classification", "regression" or "generation".
        loss: (outputs, targets) → scalar.
        name: the loss's name, for recipes.
        outputs: values the model gives for one sample.
        flat: whether the model leaves out the last axis, (N,) instead of (N, 1).
    """

    task: Task
    loss: Loss
    name: str
    outputs: int
    flat: bool = False

    @property
    def metric(self) -> str:
        """Return the name of the validation metric."""
        return "rmse" if self.task == "regression" else "accuracy"

    def targets(self, targets: torch.Tensor) -> torch.Tensor:
        """Bring a split's targets into the form the loss compares outputs with."""
        if targets.is_floating_point():
            return targets[:, 0] if self.flat else targets
        if not _compares_shapes(self.loss):
            return targets
        if self.outputs == 1:
            values = targets.float()
            return values if self.flat else values[:, None]
        return F.one_hot(targets, self.outputs).float()

    def errors(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Sum over a batch what the metric is made of: right answers, or squared errors over outputs.

        Args:
            outputs: (N, outputs), (N,) or, for generation, (N, tokens, T).
            targets: as the split has them: class indices (N,), values (N, outputs) or tokens (N, T).
        """
        if self.task == "generation":
            return (outputs.argmax(1) == targets).float().mean(1).sum()
        if self.task == "classification":
            answers = (outputs.flatten() > 0).long() if self.outputs == 1 else outputs.argmax(1)
            return (answers == targets).sum()
        return (outputs.reshape(targets.shape) - targets).square().mean(1).sum()

    def finish(self, total: float, n: int) -> float:
        """Turn the sum over `n` samples into the metric."""
        return float((total / n) ** 0.5) if self.task == "regression" else total / n


def _compares_shapes(loss: Any) -> bool:
    return loss in _BY_SHAPE or isinstance(loss, _BY_SHAPE_MODULES)


def make_criterion(module: nn.Module, data: Dataset, loss: Any = "auto") -> Criterion:
    """Run the model on two samples and fit a loss to what comes out.

    Raises:
        ModelError: when the model cannot take the inputs, its outputs do not fit the targets, or the loss
            cannot compare the two; one line each.
        ArgumentError: for an unknown loss.
    """
    signature = data.signature
    function = loss_function(loss, signature.task)
    where = next((p.device for p in module.parameters()), torch.device("cpu"))
    inputs, targets = data.train[:2]
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            outputs = module(inputs.to(where))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        shape = ", ".join(map(str, signature.shape))
        raise ModelError(f"the model cannot take inputs of shape (N, {shape}): {_line(error)}") from error
    finally:
        module.train(was_training)
    width = _width(outputs, len(inputs), signature, function)
    criterion = Criterion(signature.task, function, name_of(loss), width, flat=outputs.ndim == 1)
    _try_loss(criterion, outputs.float(), criterion.targets(targets).to(where))
    return criterion


def _width(outputs: Any, n: int, signature: Signature, loss: Loss) -> int:
    """Return how many values a model gives for one sample, if that fits the targets."""
    if not isinstance(outputs, torch.Tensor):
        raise ModelError(f"the model must return one tensor, got {type(outputs).__name__}")
    shape = tuple(outputs.shape)
    if signature.task == "generation":
        if shape != (n, signature.outputs, *signature.shape):
            wanted = f"({n}, {signature.outputs}, {', '.join(map(str, signature.shape))})"
            raise ModelError(
                f"the model's outputs have shape {shape}; expected (N, tokens, T), here {wanted}: "
                "logits of what follows each token, the tokens on axis 1"
            )
        return signature.outputs
    width = 1 if outputs.ndim == 1 else shape[-1]
    if outputs.ndim > 2 or shape[0] != n:
        raise ModelError(f"the model's outputs have shape {shape} for {n} inputs; expected ({n}, outputs)")
    if signature.task == "regression":
        if width != signature.outputs:
            raise ModelError(
                f"the model gives {width} values a sample, the targets have {signature.outputs}; "
                f"its last layer needs {signature.outputs} outputs"
            )
        return width
    classes = len(signature.classes)
    binary = classes == 2 and width == 1 and loss not in _BY_INDEX and not isinstance(loss, _BY_INDEX_MODULES)
    if width != classes and not binary:
        hint = " (or 1, with loss='bce')" if classes == 2 else ""
        raise ModelError(
            f"the model gives {width} outputs a sample, the data has {classes} classes; "
            f"its last layer needs {classes} outputs{hint}"
        )
    return width


def _try_loss(criterion: Criterion, outputs: torch.Tensor, targets: torch.Tensor) -> None:
    try:
        value = criterion.loss(outputs, targets)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ModelError(
            f"loss {criterion.name!r} cannot compare outputs {tuple(outputs.shape)} with targets "
            f"{tuple(targets.shape)} of {targets.dtype}: {_line(error)}"
        ) from error
    if not isinstance(value, torch.Tensor) or value.ndim:
        raise ModelError(
            f"loss {criterion.name!r} must return one number, got {getattr(value, 'shape', value)}"
        )
    is_nll = criterion.loss is F.nll_loss or isinstance(criterion.loss, nn.NLLLoss)
    if is_nll and bool((outputs.exp().sum(1) - 1).abs().max() > 0.01):
        raise ModelError(
            "loss 'nll' needs log-probabilities: end the model with nn.LogSoftmax(dim=1), "
            "or take 'cross_entropy'"
        )


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
