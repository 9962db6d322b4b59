"""`distill`: a small net learns from what a large one answers, not from the labels alone."""

from __future__ import annotations

import copy
from math import inf
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from kit import device
from kit.compression.distillation.features import matched
from kit.data import as_dataset
from kit.errors import ArgumentError, ModelError
from kit.measurement.predict import logits
from kit.training.choices import loss_function
from kit.training.loop import fit
from kit.training.settings import Settings
from kit.variant import as_variant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kit.data import Dataset
    from kit.training.control import Control
    from kit.training.loop import Objective
    from kit.variant import Task, Variant

    Answers = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def distill(
    student: nn.Module | Variant,
    teacher: nn.Module | Variant,
    data: Any,
    *,
    temperature: float = 4.0,
    weight: float = 0.7,
    features: Mapping[str, str] | None = None,
    feature_weight: float = 1.0,
    epochs: int = 5,
    control: Control | None = None,
    name: str | None = None,
    **training: Any,
) -> Variant:
    """Train a student on the softened answers of a teacher and on the labels.

    The teacher answers each training sample once, before the first epoch, unless `augment=` changes
    the samples or `features=` wants its inner layers as well.

    Args:
        student: the net to train; not changed. It may be trained already.
        teacher: a module, or a variant: without `features` and `augment` also of a model file.
        data: a `Dataset` or whatever `kit.data.as_dataset` takes.
        temperature: divides both logits before the softmax; 1 leaves the teacher as it is, more shows
            what it thinks of the wrong classes.
        weight: the share of the teacher in the loss, from 0 (labels only) to 1 (teacher only).
        features: also match inner layers, `{layer of the student: layer of the teacher}`. Where their
            widths differ, a linear map (1×1 convolution) is trained between them and thrown away.
        feature_weight: the weight of that match beside the loss above.
        epochs: how often the student sees the training split.
        control: a `kit.training.Control`, to pause or stop from another thread.
        name: the name of the result.
        training: anything else that `kit.train` takes, such as `lr`, `seed` or `augment`; `loss` is the one
            against the labels.

    Returns:
        A new variant of the student; its `report` is the training history.

    Raises:
        ModelError: when student and teacher differ in their outputs, or features in their shape.
        ArgumentError: when a weight or the temperature is out of range, or a layer does not exist.

    Sources: G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network",
    arXiv:1503.02531; for features A. Romero et al., "FitNets", arXiv:1412.6550.

    Example:
        >>> small = kit.distill(kit.models.lenet_300_100(), dense, data, epochs=3)  # doctest: +SKIP
    """
    data = as_dataset(data)
    pupil, master = as_variant(student, data.signature), as_variant(teacher, data.signature)
    check_weights(temperature=temperature, weight=weight, feature_weight=feature_weight)
    _check_outputs(pupil, master, data)
    how = {**training, "epochs": epochs}
    settings = Settings.of(how).recipe()
    module = copy.deepcopy(pupil.module)
    pairs = dict(features or {})
    guide = copy.deepcopy(master.module) if pairs else None
    ask = asked(guide.to(device.pick(training.get("device")))) if guide else answers(master, data, how)
    objective = taught(ask, data, temperature=temperature, weight=weight, training=how)
    if guide:
        with matched(module, guide, pairs, data, objective, feature_weight) as (adapted, both):
            history = fit(adapted, data, both, control=control, label="distill", **how)
    else:
        history = fit(module, data, objective, control=control, label="distill", **how)
    recipe = {"teacher": master.name, "temperature": temperature, "weight": weight, "epochs": epochs}
    recipe |= {"features": pairs, "feature_weight": feature_weight} if pairs else {}
    recipe |= {key: value for key, value in settings.items() if key in training}
    return pupil.derive(module, "distill", recipe, name=name or f"{pupil.name} distilled", report=history)


def softened(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return `softmax(logits / T)`: what a teacher shows of its second thoughts, for logits (…, classes).

    >>> [round(p, 2) for p in softened(torch.tensor([4.0, 2.0, 0.0]), 1.0).tolist()]
    [0.87, 0.12, 0.02]
    >>> [round(p, 2) for p in softened(torch.tensor([4.0, 2.0, 0.0]), 4.0).tolist()]
    [0.51, 0.31, 0.19]

    Raises:
        ArgumentError: when the temperature is not above 0.
    """
    check_weights(temperature=temperature, weight=1.0)
    return F.softmax(logits.float() / temperature, dim=-1)


def soft_loss(
    student: torch.Tensor,
    teacher: torch.Tensor,
    *,
    temperature: float = 4.0,
    task: Task = "classification",
) -> torch.Tensor:
    """Return `T² · KL(softmax(teacher / T) ‖ softmax(student / T))`, the mean over samples (and tokens).

    The gradients of the divergence shrink with 1/T², hence the factor. In regression, where there is nothing
    to soften, it is the mean squared error.

    Args:
        student, teacher: logits (n, classes) or (n, tokens, T), or values (n, outputs).
        temperature: T.
        task: "classification", "generation" or "regression".

    >>> a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    >>> bool(soft_loss(a, a).abs() < 1e-6), bool(soft_loss(a, b) > 1)
    (True, True)
    """
    student = student.float()
    teacher = teacher.float().reshape(student.shape)
    if task == "regression":
        return F.mse_loss(student, teacher)
    ours, theirs = (F.log_softmax(logits / temperature, dim=1) for logits in (student, teacher))
    divergence = F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    return temperature**2 * divergence / ours[0, 0].numel()


def taught(
    ask: Answers, data: Dataset, *, temperature: float, weight: float, training: Mapping[str, Any]
) -> Objective:
    """Return what `fit(…, **training)` minimises with a teacher: `(1 - weight) · loss + weight · soft_loss`.

    Args:
        ask: what the teacher says to (inputs, index), see `answers`.
        data: gives the task.
        temperature, weight: as in `distill`.
        training: the keywords of `fit`, of which `loss` matters here.

    Raises:
        ArgumentError: when temperature or weight is out of range.
    """
    check_weights(temperature=temperature, weight=weight)
    task = data.signature.task
    hard = loss_function(training.get("loss", "auto"), task)

    def objective(
        module: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, index: torch.Tensor
    ) -> torch.Tensor:
        outputs = module(inputs)
        soft = soft_loss(outputs, ask(inputs, index), temperature=temperature, task=task)
        return (1 - weight) * hard(outputs, targets) + weight * soft

    return objective


def answers(teacher: Variant, data: Dataset, training: Mapping[str, Any]) -> Answers:
    """Return what a teacher says to (inputs, index), `index` being positions in `data.train`.

    Where nothing is augmented a sample is always the same: all are answered once, and looked up from then on.
    Generators answer anew, for logits of every token of every window fill any memory.

    Args:
        teacher: a variant; of a module if `training` augments or the task is generation.
        data: the data set.
        training: the keywords of `fit`, of which `augment` and `device` matter here.
    """
    where = device.pick(training.get("device"))
    if training.get("augment") is not None or data.signature.task == "generation":
        return asked(copy.deepcopy(teacher.module).to(where))
    table = torch.from_numpy(logits(teacher, data.train, device=where)).to(where)
    return lambda _inputs, index: table[index.to(where)]


def asked(teacher: nn.Module) -> Answers:
    """Return what a module says to each batch anew."""
    teacher.eval()

    def answer(inputs: torch.Tensor, _index: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            outputs: torch.Tensor = teacher(inputs)
        return outputs

    return answer


def check_weights(*, temperature: float, weight: float, feature_weight: float = 0.0) -> None:
    """Raise ArgumentError when the teacher's temperature or share is out of range."""
    if not 0 < temperature < inf:
        raise ArgumentError(f"temperature must be above 0, got {temperature}; 2 to 8 are usual")
    if not 0 <= weight <= 1:
        raise ArgumentError(f"weight must lie between 0 (labels only) and 1 (teacher only), got {weight}")
    if not 0 <= feature_weight < inf:
        raise ArgumentError(f"feature_weight must be 0 or more, got {feature_weight}")


def _check_outputs(student: Variant, teacher: Variant, data: Dataset) -> None:
    few = data.train.take(2)
    ours, theirs = (logits(variant, few).shape[1] for variant in (student, teacher))
    if ours != theirs or (ours < 2 and data.signature.task == "classification"):
        raise ModelError(
            f"student {student.name!r} gives {ours} outputs, teacher {teacher.name!r} gives {theirs}; "
            f"to learn from one another both need one output for each of the same classes"
        )
