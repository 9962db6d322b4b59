"""`Study`: Optuna's samplers propose recipes; what became of them is kept in an SQLite file."""

from __future__ import annotations

import json
import random
from contextlib import contextmanager
from math import log2
from typing import TYPE_CHECKING, Any

from kit.compression.search.recipes import Recipe
from kit.compression.search.trials import Trial
from kit.errors import ArgumentError, CorruptFileError, StorageError, require, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from kit.compression.search.budget import Budget
    from kit.compression.search.recipes import Space

SAMPLERS = ("tpe", "nsga2", "random")
FILE = "search.db"
_ASKED = 8  # so often a sampler may propose what is known, before something untried is drawn instead
_WORST = 100.0  # points: what is said of a recipe of which nothing was learned but that it is too large


class Study:
    """Recipes proposed one after another, none of them twice.

    Args:
        folder: where the SQLite file is; None keeps the study in memory.
        identity: what trials depend on: model, data, budget …; each a short text.
        budget: its cost is the second objective beside the points lost; its limits are constraints.
        space: to choose from.
        nets: "given", and "student" if there is one.
        sampler: "tpe", "nsga2" or "random".
        seed: of the sampler.

    Attributes:
        trials: all that ended, oldest first, those of earlier calls included.

    Raises:
        ArgumentError: when the file holds a study of something else.
        CorruptFileError: when it holds none.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        identity: Mapping[str, str],
        budget: Budget,
        space: Space,
        nets: Sequence[str],
        sampler: str,
        seed: int,
    ) -> None:
        self._optuna = require("optuna", "search")
        self._budget, self._space, self._nets = budget, space, tuple(nets)
        self._all = dict.fromkeys(space.recipes(nets))
        self._study = self._open(folder, identity)
        stored = [t.user_attrs["trial"] for t in self._study.trials if "trial" in t.user_attrs]
        self.trials = sorted((Trial.of(found) for found in stored), key=lambda trial: trial.number)
        self._study.sampler = self._sampler(sampler, seed + len(self.trials))
        self._random = random.Random(seed + len(self.trials))

    def propose(self) -> tuple[Any, Recipe] | None:
        """Return the next recipe, with a handle to `record` or `drop` it by; None when all were tried."""
        tried = {trial.recipe for trial in self.trials}
        for recipe in (Recipe(), *self._space.first(self._nets)):
            if recipe not in tried:
                return self._ask(recipe)
        for _ in range(_ASKED):
            handle = self._study.ask()
            recipe = self._space.suggest(handle, self._nets)
            if recipe not in tried:
                return handle, recipe
            self.drop(handle)
        left = [recipe for recipe in self._all if recipe not in tried]
        return self._ask(self._random.choice(left)) if left else None

    def record(self, handle: Any, trial: Trial) -> None:
        """Keep what became of a recipe, and tell the sampler."""
        self.trials.append(trial)
        handle.set_user_attr("trial", trial.to_dict())
        if trial.outcome == "failed" or trial.recipe not in self._all:
            self.drop(handle)
            return
        first = self.trials[0]
        drop, size = _WORST if trial.drop is None else trial.drop, trial.bytes or first.bytes
        assert size is not None
        # What was stopped early breaks the budget, and is said to cost what the model costs as it came.
        over = self._budget.excess(drop, size, trial.ms) + (not trial.measured)
        cost = (trial if trial.measured else first).cost(self._budget.cost)
        handle.set_constraint("budget", min(over, 1e6))
        self._study.tell(handle, [drop, log2(cost)])

    def drop(self, handle: Any) -> None:
        """Give a recipe back: the sampler learns nothing of it."""
        self._study.tell(handle, state=self._optuna.trial.TrialState.FAIL)

    def _ask(self, recipe: Recipe) -> tuple[Any, Recipe]:
        """Return a handle for a recipe of our own choice; the sampler learns of it if it is in the space."""
        if recipe not in self._all:
            return self._study.ask(), recipe
        self._study.enqueue_trial(self._space.places(recipe))
        handle = self._study.ask()
        assert self._space.suggest(handle, self._nets) == recipe
        return handle, recipe

    def _open(self, folder: Path | None, identity: Mapping[str, str]) -> Any:
        url = None if folder is None else f"sqlite:///{_made(folder).resolve() / FILE}"
        with quiet(self._optuna):
            try:
                study = self._optuna.create_study(
                    storage=url, study_name="kit.search", directions=["minimize"] * 2, load_if_exists=True
                )
                was = json.loads(study.user_attrs.get("identity", "{}"))
            except self._failures() as error:
                raise CorruptFileError(f"{url} holds no study: {str(error).splitlines()[0]}") from None
        if other := [key for key, value in identity.items() if was and was.get(key) != value]:
            raise ArgumentError(
                f"the study in {folder} belongs to another {' and '.join(other)}; give another folder"
            )
        study.set_user_attr("identity", json.dumps(dict(identity)))
        for left in study.get_trials(states=[self._optuna.trial.TrialState.RUNNING]):  # of a killed process
            study.tell(left.number, state=self._optuna.trial.TrialState.FAIL)
        return study

    def _failures(self) -> tuple[type[Exception], ...]:
        from sqlalchemy.exc import DatabaseError

        return (self._optuna.exceptions.OptunaError, DatabaseError, RuntimeError)

    def _sampler(self, name: str, seed: int) -> Any:
        samplers = self._optuna.samplers
        if name == "tpe":
            return samplers.TPESampler(seed=seed, n_startup_trials=8)
        if name == "nsga2":
            return samplers.NSGAIISampler(seed=seed, population_size=10)
        if name == "random":
            return samplers.RandomSampler(seed=seed)
        raise unknown("sampler", name, SAMPLERS)


@contextmanager
def quiet(optuna: Any) -> Iterator[None]:
    """Let Optuna say nothing but warnings."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror}; choose another folder") from error
    return folder
