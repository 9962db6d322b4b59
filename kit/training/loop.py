"""The loop: everything that fits weights goes through `fit`, whatever its objective."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from kit import device as hardware
from kit.errors import ArgumentError, ModelError
from kit.training import memory
from kit.training.batches import Batches, steps_of
from kit.training.checkpoint import Keeper, open_checkpoint
from kit.training.choices import make_optimizer, schedule_function
from kit.training.control import Control, Stop, interruptible
from kit.training.criterion import Criterion, make_criterion
from kit.training.execution import Execution, choose
from kit.training.history import History
from kit.training.progress import bar
from kit.training.randomness import isolated
from kit.training.run import Run
from kit.training.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kit.data import Dataset
    from kit.training.progress import Bar

Objective = Callable[[nn.Module, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]

# The load average a core from which on the threads of one program mostly wait for each other.
_BUSY = 1.5


def fit(
    module: nn.Module,
    data: Dataset,
    objective: Objective | None = None,
    *,
    after_step: Callable[[nn.Module], object] | None = None,
    control: Control | None = None,
    label: str = "train",
    **settings: Any,
) -> History:
    """Fit a module's weights IN PLACE; it is left with its best weights by validation, in eval mode.

    Args:
        module: what to train. The objective sees its outputs as float32 in every precision.
        data: trains on `data.train`, validates on `data.valid`; `data.test` is not touched.
        objective: (module, inputs, targets, index) → scalar loss. `index` holds the positions of the
            batch in `data.train`, on the compute device; None takes the plain loss.
        after_step: called with the module after every optimizer step, such as to hold masks.
        control: a handle to pause or stop the run from another thread.
        label: what the progress bar says.
        settings: the keywords of `kit.train`, such as `epochs` and `lr`.

    Returns:
        The history; its `precision`, `layout` and `reason` say how the arithmetic was done.

    Raises:
        ModelError, ArgumentError, DeviceError: before the first step, when things do not fit together.
        DivergedError: when a loss is NaN or infinite; names the step and the largest gradient.
        CheckpointError, StorageError: see `kit.train`.
    """
    how = Settings.of(settings)
    where, control = hardware.pick(how.device), control or Control()
    criterion = make_criterion(module, data, how.loss)
    _check_batch(module, min(how.batch_size, len(data.train)))
    keeper, history, state = open_checkpoint(
        how, module, data, objective, History(criterion.metric, device=str(where))
    )
    with ExitStack() as stack:
        history.threads = stack.enter_context(_threads(how.threads or (history.threads if state else None)))
        _note_load(history)
        stack.enter_context(isolated(how.seed, where))
        stack.enter_context(_moved(module, where))
        stack.enter_context(memory.kept())
        if state is None:
            _choose_execution(history, module, data, how, where)
        execution = Execution(history.precision, history.layout, history.reason)
        stack.enter_context(execution.applied(module, where))
        train, valid = (
            Batches(part.inputs, targets, where, channels_last=execution.channels_last)
            for part, targets in (
                (data.train, criterion.targets(data.train.targets)),
                (data.valid, data.valid.targets),
            )
        )
        run = Run(
            module,
            train,
            valid,
            objective or _plain(criterion),
            criterion,
            make_optimizer(how.optimizer, _trainable(module), lr=how.lr, weight_decay=how.weight_decay),
            schedule_function(how.schedule),
            how.epochs,
            how.batch_size,
            where,
            history,
            how.augment,
            after_step,
        )
        if state is not None:
            run.restore(state)
        _drive(run, how, control, keeper, label)
        if how.keep == "best" and run.best is not None:
            module.load_state_dict(run.best)
    module.eval()
    return history


def _drive(run: Run, how: Settings, control: Control, keeper: Keeper, label: str) -> None:
    """Go through the epochs, and listen to callbacks, the control and Ctrl-C between the steps."""
    bar_ = bar(how.progress, run.epochs * run.steps, run.epoch * run.steps + run.position, label)
    with interruptible(control), bar_:
        try:
            while not run.done and not control.stopping:
                for _ in run.through_epoch():
                    bar_.step()
                    if not _goes_on(run, how, control):
                        break
                    keeper.tick(run)
                _close(run, how, control, keeper, bar_)
        except KeyboardInterrupt:
            control.stop("interrupted")
    run.history.stopped = control.ending


def _goes_on(run: Run, how: Settings, control: Control) -> bool:
    """Tell the listener about a step, wait while the run is paused, and return whether to go on."""
    if how.on_step is not None:
        _tell(control, how.on_step, run.progress())
    control.hold()
    return not control.stopping


def _close(run: Run, how: Settings, control: Control, keeper: Keeper, bar_: Bar) -> None:
    """End an epoch. What a stop left of one is recorded too, but its checkpoint goes on without that."""
    partial = run.position < run.steps
    if partial:
        keeper.save(run)
    epoch = run.close_epoch()
    if not partial:
        keeper.save(run)
    bar_.epoch(epoch, run.history.metric)
    if how.on_epoch is not None:
        _tell(control, how.on_epoch, epoch)


def _tell(control: Control, listener: Callable[[Any], object], news: Any) -> None:
    try:
        listener(news)
    except Stop:
        control.stop()
    except KeyboardInterrupt:
        control.stop("interrupted")


def _choose_execution(
    history: History, module: nn.Module, data: Dataset, how: Settings, where: torch.device
) -> None:
    sample = data.train.inputs[: how.batch_size].to(where)
    steps = how.epochs * steps_of(len(data.train), how.batch_size)
    chosen = choose(module, sample, where, precision=how.precision, layout=how.layout, steps=steps)
    history.precision, history.layout, history.reason = chosen.precision, chosen.layout, chosen.reason
    hardware.seed_everything(how.seed)  # the probe may have drawn numbers, as dropout does


def _plain(criterion: Criterion) -> Objective:
    def objective(
        module: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, _index: torch.Tensor
    ) -> torch.Tensor:
        return criterion.loss(module(inputs), targets)

    return objective


def _trainable(module: nn.Module) -> list[nn.Parameter]:
    parameters = [p for p in module.parameters() if p.requires_grad]
    if not parameters:
        raise ModelError("the model has no parameter that requires a gradient: nothing can be trained")
    return parameters


def _check_batch(module: nn.Module, samples: int) -> None:
    normalised = any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in module.modules())  # noqa: SLF001
    if samples == 1 and normalised:
        raise ArgumentError(
            "batch normalisation cannot train on one sample a step; take batch_size=2 or more"
        )


def _note_load(history: History) -> None:
    """Say when threads will wait for each other: one of them was measured ten times as fast then."""
    load = hardware.load()
    if history.threads > 1 and load > _BUSY:
        history.notes.append(f"the machine was busy (load {load:.1f} a core): threads=1 may be much faster")


@contextmanager
def _threads(wanted: int | None) -> Iterator[int]:
    """Compute with `wanted` threads (None: torch's number, but no more than the cores), then set it back."""
    before = torch.get_num_threads()
    count = wanted or min(before, hardware.threads())
    torch.set_num_threads(count)
    try:
        yield count
    finally:
        torch.set_num_threads(before)


@contextmanager
def _moved(module: nn.Module, where: torch.device) -> Iterator[None]:
    """Move a module to the compute device and back."""
    home = next((p.device for p in module.parameters()), where)
    module.to(where)
    try:
        yield
    finally:
        module.to(home)
