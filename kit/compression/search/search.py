"""`search`: try recipes of pruning, distillation, quantization and runtime until a budget is met best."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.compression.search.attempts import Attempts, Deadline
from kit.compression.search.budget import Budget
from kit.compression.search.recipes import NETS, Space
from kit.compression.search.report import SearchReport, SearchResult
from kit.compression.search.steps import Steps
from kit.compression.search.study import SAMPLERS, Study, quiet
from kit.conversion.export import fingerprint
from kit.data import as_dataset
from kit.errors import ArgumentError, require, unknown
from kit.measurement.compare import compare
from kit.training.control import Control, interruptible
from kit.training.settings import Settings
from kit.variant import as_variant

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from kit.compression.search.attempts import SearchProgress
    from kit.compression.search.trials import Trial
    from kit.data import Dataset
    from kit.variant import Variant

_BRIEF = 0.01  # s of timing that are left after Ctrl-C
_OURS = ("epochs", "checkpoint", "on_epoch", "on_step")  # training keywords that the search sets itself


def search(
    model: nn.Module | Variant,
    data: Any,
    budget: str | Budget,
    *,
    minutes: float | None = None,
    trials: int | None = None,
    study: str | Path | None = None,
    student: nn.Module | Variant | None = None,
    space: Space | None = None,
    sampler: str = "tpe",
    confirm: int = 4,
    seconds: float = 0.3,
    seed: int = 0,
    control: Control | None = None,
    on_trial: Callable[[SearchProgress], object] | None = None,
    progress: bool | None = None,
    **training: Any,
) -> SearchResult:
    """Find the recipe that meets a budget best: prune × distil × quantize × runtime.

    Each recipe is carried out step by step; steps in common are shared, hopeless recipes are stopped early
    (`kit.compression.search.rung` has the rule), and everything is judged on the validation split. In the end
    the winners are compared once on the test split. Ctrl-C ends the search and keeps all that was found;
    in that comparison it leaves only the chosen one, and times it briefly.

    Args:
        model: a trained module or variant of a module; not changed.
        data: a `Dataset` or whatever `kit.data.as_dataset` takes.
        budget: such as "lose at most 0.5 points; smallest", "at most 50 kB; most accurate",
            "lose at most 1 point, at most 2 ms; smallest"; or a `Budget`.
        minutes: time for trials; what is being tried then is given up. The comparison comes after.
        trials: how many recipes, those of earlier calls with the same study included; 30 unless there is a
            time limit.
        study: a folder to keep everything in: the same call later goes on from there.
        student: another net to try beside the model, such as `kit.models.mobilenet()`; it learns from the
            model's answers first.
        space: what to choose from.
        sampler: "tpe" (tree-structured Parzen estimator), "nsga2" (genetic) or "random".
        confirm: how many of the front are compared on the test split; the best within the budget is one.
        seconds: of each timing; only a budget in ms, or "fastest", times the trials.
        seed: of training and of the sampler.
        control: a `kit.training.Control`, to pause or stop from another thread.
        on_trial: listens after each trial; may raise `kit.training.Stop` to end the search.
        progress: True shows a bar, False none, None one if stderr is a terminal.
        training: anything else that `kit.train` takes, such as `lr` or `batch_size`, for every fine-tuning.

    Returns:
        A `Comparison` of the model and the winners on the test split, with the `report` of all trials and the
        variant that was `chosen`.

    Raises:
        ArgumentError: when the budget cannot be read, an argument is out of range, or the study belongs to
            another model, data, budget or space.
        ModelError: when the model is a file: give the module it was made from.
        MissingExtraError: when Optuna is not installed.

    Sources: T. Akiba et al., "Optuna", arXiv:1907.10902; for "tpe" with several objectives Y. Ozaki et al.,
    "Multiobjective tree-structured Parzen estimator", 2022; for "nsga2" K. Deb et al., 2002.

    Example:
        >>> found = kit.search(dense, data, "lose at most 0.5 points; smallest", minutes=10)  # doctest: +SKIP
        >>> kit.save(found.chosen, "runs/small")  # doctest: +SKIP
    """
    optuna = require("optuna", "search")
    goal, data = Budget.parse(budget), as_dataset(data)
    count = _check_arguments(minutes, trials, sampler, confirm, training)
    space, control = space or Space(), control or Control()
    if not goal.timed:
        space = replace(space, runtimes=("onnxruntime",))
    start = as_variant(model, data.signature)
    pupil = None if student is None else as_variant(student, data.signature)
    blind = replace(data, test=data.valid)  # no step can see the test split: there is none
    how = {"seed": seed, "progress": False, **training}
    folder = None if study is None else Path(study)
    with quiet(optuna), interruptible(control):
        kept = Study(
            folder,
            identity=_identity(start, pupil, blind, goal, space, how),
            budget=goal,
            space=space,
            nets=NETS if pupil else NETS[:1],
            sampler=sampler,
            seed=seed,
        )
        deadline = Deadline(control, minutes)
        how["on_step"] = deadline.tick
        steps = Steps(
            start,
            pupil,
            blind,
            space=space,
            training=how,
            control=control,
            folder=folder and folder / "steps",
        )
        tried = Attempts(kept, steps, goal, seconds=seconds)
        ended = tried.through(count, deadline, on_trial=on_trial, progress=progress)
    report = tried.report(ended, deadline, sampler)
    return _confirmed(report, tried, data, confirm=confirm, seconds=seconds, seed=seed)


def _confirmed(
    report: SearchReport, tried: Attempts, data: Dataset, *, confirm: int, seconds: float, seed: int
) -> SearchResult:
    """Compare the model and the winners on the test split: the only place where it is looked at."""
    first, best = report.trials[0], report.chosen
    shown = [trial for trial in (best, *_spread(report.front, confirm)) if trial not in {None, first}]
    winners = list(dict.fromkeys(trial for trial in shown if trial))[:confirm]
    winners.sort(key=lambda trial: trial.cost(report.budget.cost), reverse=True)
    how: dict[str, Any] = {"split": "test", "memory": False, "seed": seed}
    try:
        found = compare([tried.variant(trial) for trial in (first, *winners)], data, seconds=seconds, **how)
    except KeyboardInterrupt:
        report, winners = replace(report, ended="interrupted"), [best] if best in winners else []
        with interruptible(Control()):  # so that one more of an impatient hand does no harm
            found = compare(
                [tried.variant(trial) for trial in (first, *winners)], data, seconds=_BRIEF, **how
            )
    place = {trial: index for index, trial in enumerate((first, *winners))}
    chosen = found.variants[place[best]] if best else None
    return SearchResult(**vars(found), report=report, chosen=chosen)


def _spread(front: tuple[Trial, ...], count: int) -> list[Trial]:
    """Return `count` trials of a front, from its cheapest to its dearest at even distances."""
    if len(front) <= count:
        return list(front)
    return [front[round(i * (len(front) - 1) / max(1, count - 1))] for i in range(count)]


def _check_arguments(
    minutes: float | None, trials: int | None, sampler: str, confirm: int, training: dict[str, Any]
) -> int | None:
    """Return how many trials to make, None for as many as the time allows; or raise ArgumentError."""
    if minutes is not None and not minutes > 0:
        raise ArgumentError(f"minutes must be above 0, got {minutes!r}")
    for what, value in (("trials", trials), ("confirm", confirm)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ArgumentError(f"{what} must be a whole number of at least 1, got {value!r}")
    if sampler not in SAMPLERS:
        raise unknown("sampler", sampler, SAMPLERS)
    if ours := [key for key in _OURS if key in training]:
        raise ArgumentError(
            f"search sets {', '.join(ours)} itself; space=Space(epochs=…) says how long to train"
        )
    Settings.of(training)
    return trials if trials is not None or minutes is not None else 30


def _identity(
    start: Variant, student: Variant | None, data: Dataset, budget: Budget, space: Space, how: dict[str, Any]
) -> dict[str, str]:
    """Return what trials depend on, as short texts that a study keeps."""
    seen = hashlib.sha256()
    for split in (data.train, data.valid):
        seen.update(split.raw.contiguous().numpy().tobytes())
        seen.update(split.targets.contiguous().numpy().tobytes())
    return {
        "model": fingerprint(start.module),
        "student": fingerprint(student.module) if student else "none",
        "data": seen.hexdigest(),
        "budget": str(budget),
        "space": json.dumps(space.to_dict()),
        "training": json.dumps(Settings.of(how).recipe(), sort_keys=True),
    }
