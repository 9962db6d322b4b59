"""`kit.train`: a model and data in, a trained variant out."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from kit.data import as_dataset
from kit.training.loop import fit
from kit.training.settings import Settings
from kit.variant import Variant, as_variant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch
    from torch import nn

    from kit.training.control import Control
    from kit.training.history import Epoch
    from kit.training.progress import Progress


def train(
    model: nn.Module | Variant,
    data: Any,
    *,
    epochs: int = 5,
    loss: Any = "auto",
    optimizer: Any = "adam",
    lr: float | None = None,
    schedule: Any = "onecycle",
    batch_size: int = 128,
    weight_decay: float = 0.0,
    augment: Callable[[torch.Tensor], torch.Tensor] | None = None,
    precision: str = "auto",
    layout: str = "auto",
    seed: int = 0,
    device: str | torch.device | None = None,
    threads: int | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: float = 60.0,
    resume: bool = True,
    on_epoch: Callable[[Epoch], object] | None = None,
    on_step: Callable[[Progress], object] | None = None,
    progress: bool | None = None,
    keep: str = "best",
    control: Control | None = None,
    name: str | None = None,
) -> Variant:
    """Train a copy of `model` on `data.train`, validating on `data.valid` after every epoch.

    The order of the samples, augmentation and dropout follow from `seed`; the initial weights are the
    model's own. Ctrl-C ends the run and returns the best weights so far.

    Args:
        model: any `nn.Module` that maps (N, *shape) to (N, outputs), or a variant. It is not changed.
        data: a `Dataset`, or what `kit.data.from_torch` takes.
        epochs: passes over the training split.
        loss: "auto" (cross-entropy, or MSE for values), "cross_entropy", "nll", "bce" (with logits), "mse",
            "l1", "mae", "huber", "smooth_l1", a loss class, or a callable (outputs, targets) → scalar.
        optimizer: "adam", "adamw", "nadam", "radam", "rmsprop", "adagrad", "sgd" (Nesterov momentum 0.9),
            an optimizer class, or a callable that takes the parameters. Fused where torch can.
        lr: peak learning rate; None takes the optimizer's usual one.
        schedule: "onecycle", "cosine", "constant", or a callable (step, steps) → factor on `lr`.
        batch_size: samples a step.
        weight_decay: as the optimizer understands it.
        augment: maps a batch of inputs to one of the same shape, such as `kit.data.augment.random_flip`.
        precision: "fp32", "bf16" or "fp16" by autocast, or "auto": bf16 where a short probe on this machine
            finds it clearly faster. The history says which, and why; the recipe keeps it.
        layout: "contiguous", "channels_last", or "auto": what the same probe finds faster.
        seed: of everything random in the run; the caller's generators are left as they were.
        device: such as "cpu" or "cuda"; None takes the best there is.
        threads: processor threads; None takes torch's number, at most the cores this process may use.
        checkpoint: a file (or folder) to keep the run in; a run that was killed goes on from there to
            bit-identical weights when the same call is made again.
        checkpoint_every: seconds between checkpoints within an epoch; there is one after each epoch anyway.
        resume: False starts again even if there is a checkpoint.
        on_epoch, on_step: listeners; either may raise `kit.training.Stop` to end the run.
        progress: True shows a bar, False none, None one if stderr is a terminal.
        keep: "best" weights by validation, or the "last".
        control: a `kit.training.Control`, to pause or stop from another thread.
        name: of the new variant; by default the model's.

    Returns:
        The trained variant; its `report` is a `History`.

    Raises:
        DataError: when the data is none.
        ModelError: when the outputs do not fit the targets or the loss: before any training.
        ArgumentError: for unknown names, with the nearest ones, or values out of range.
        DeviceError: for a device that is not there.
        DivergedError: when a loss is NaN or infinite; names the step and the layer with the largest gradient.
        CheckpointError: when no checkpoint can be read, or it belongs to another model, data or settings.
        StorageError: when a checkpoint cannot be written; the one before stays.

    >>> import kit
    >>> data = kit.data.fashion_mnist().subset(1000)
    >>> slim = kit.train(kit.models.lenet_300_100(), data, epochs=1)
    >>> slim.report.stopped
    'finished'
    """
    given = {key: value for key, value in locals().items() if key in Settings.__dataclass_fields__}
    data = as_dataset(data)
    start = as_variant(model, data.signature)
    module = copy.deepcopy(start.module)
    history = fit(module, data, control=control, label=name or start.name, **given)
    recipe = Settings.of(given).recipe() | {"precision": history.precision, "layout": history.layout}
    return start.derive(module, "train", recipe, name=name or start.name, report=history)
