"""`Attempts`: the loop of a search: one recipe after another, until trials, time or patience end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from kit.compression.search import rung
from kit.compression.search import trials as sorting
from kit.compression.search.report import SearchReport
from kit.compression.search.trials import Trial
from kit.errors import ArgumentError, KitError
from kit.measurement.benchmark import benchmark
from kit.measurement.size import bytes_on_disk, parameters
from kit.runtime.onnx_model import OnnxModel
from kit.training.control import Control, Stop

if TYPE_CHECKING:
    from collections.abc import Callable

    from kit.compression.search.budget import Budget
    from kit.compression.search.recipes import Recipe
    from kit.compression.search.report import Ending
    from kit.compression.search.steps import Made, Steps
    from kit.compression.search.study import Study
    from kit.statistics import Measurement
    from kit.variant import Variant


@dataclass(frozen=True)
class SearchProgress:
    """The search after a trial.

    Attributes:
        trial: the one that ended.
        done: how many have ended, with those of earlier calls.
        best: the best within the budget so far, or None.
        left: seconds to go, as far as limits and the trials so far tell; None when nothing does.
    """

    trial: Trial
    done: int
    best: Trial | None
    left: float | None

    def postfix(self) -> str:
        """Return what stands behind a bar."""
        best = f"best: {self.best.recipe}" if self.best else "nothing within the budget yet"
        return best if self.left is None else f"{best}; about {self.left / 60:.1f} min left"


class Deadline:
    """Ends a control when the time is over.

    Attributes:
        passed: whether it did.
    """

    def __init__(self, control: Control, minutes: float | None) -> None:
        self.control, self.passed = control, False
        self._begin, self._limit = time.monotonic(), None if minutes is None else 60 * minutes

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self._begin

    @property
    def left(self) -> float | None:
        """Seconds to go; None without a limit."""
        return None if self._limit is None else max(0.0, self._limit - self.seconds)

    def tick(self, _news: object = None) -> None:
        """Look at the clock; training calls this after every step."""
        if self.left == 0.0 and not self.control.stopping:
            self.passed = True
            self.control.stop()


class Attempts:
    """Carries out what a study proposes, and records what became of it.

    Args:
        study: proposes and keeps.
        steps: carry out.
        budget: judges.
        seconds: of each timing.
    """

    def __init__(self, study: Study, steps: Steps, budget: Budget, *, seconds: float) -> None:
        self.study, self.steps, self.budget = study, steps, budget
        self.earlier = len(study.trials)
        self._seconds = seconds
        self._files: dict[Recipe, Variant] = {}

    def through(
        self,
        count: int | None,
        deadline: Deadline,
        *,
        on_trial: Callable[[SearchProgress], object] | None,
        progress: bool | None,
    ) -> Ending:
        """Try recipes until `count` trials are recorded or something ends the search; return what did.

        The first, the model as it came, is measured whatever happens: without it there is nothing to compare.
        """
        hidden = None if progress is None else not progress
        control, trials = self.steps.control, self.study.trials
        with tqdm(
            total=count, initial=self.earlier, desc="search", unit="recipe", leave=False, disable=hidden
        ) as bar:
            try:
                while count is None or len(trials) < count:
                    if trials:  # without the model as it came there is nothing to compare with
                        deadline.tick()
                        self.steps.check()
                    if (proposal := self.study.propose()) is None:
                        return "exhausted"
                    news = self._news(self._attempt(*proposal), count, deadline)
                    bar.set_postfix_str(news.postfix())
                    bar.update()
                    if on_trial is not None:
                        on_trial(news)
            except Stop:
                if not control.stopping:
                    return "stopped"
            except KeyboardInterrupt:
                control.stop("interrupted")
            finally:
                self.steps.control = Control()  # what was found is fetched whatever ended the search
        if not trials:
            raise ArgumentError(f"the search was {control.ending} before the model itself was measured")
        return "out of time" if deadline.passed else control.ending

    def variant(self, trial: Trial) -> Variant:
        """Return the file of a measured trial; one of an earlier call is found, or made again."""
        if trial.recipe not in self._files:
            self._files[trial.recipe] = self.steps.finished(trial.recipe).variant
        return self._files[trial.recipe]

    def _attempt(self, handle: Any, recipe: Recipe) -> Trial:
        """Carry out one recipe and record what became of it; what was interrupted is given back."""
        begin, trial = time.monotonic(), Trial(len(self.study.trials), recipe)
        try:
            trial = self._measured(trial)
        except (Stop, KeyboardInterrupt):
            self.study.drop(handle)
            raise
        except KitError as error:
            if not trial.number or self.steps.control.stopping:
                self.study.drop(handle)
                self.steps.check()  # a process that Ctrl-C killed is no finding
                raise
            trial = trial.updated(outcome="failed", reason=str(error).split("\n", 1)[0])
        trial = trial.updated(seconds=time.monotonic() - begin)
        self.study.record(handle, trial)
        return trial

    def _measured(self, trial: Trial) -> Trial:
        """Go through the steps of a recipe; stop where the rung says that it is hopeless."""
        recipe, steps, others = trial.recipe, self.steps, self.study.trials
        if not trial.number:
            return self._judged(trial, steps.finished(recipe))
        limit = rung.bearable(others, self.budget)
        net = steps.cut(recipe) if recipe.ratio else steps.net(recipe)
        if reason := rung.too_large(parameters(net.variant), recipe.scheme, self.budget):
            return trial.updated(outcome="stopped early", reason=reason)
        if recipe.ratio:
            trial = self._lost(trial, "glimpse", steps.score(steps.glimpse(recipe)))
            if reason := rung.hopeless(trial, others, limit):
                return trial.updated(outcome="stopped early", reason=reason)
        trial = self._lost(trial, "tuned", steps.score(steps.tuned(recipe)))
        if reason := rung.lost(trial, limit):
            return trial.updated(outcome="stopped early", reason=reason)
        return self._judged(trial, steps.finished(recipe))

    def _judged(self, trial: Trial, made: Made) -> Trial:
        """Return the trial with the figures of its file."""
        variant = self._files[trial.recipe] = made.variant
        trial = self._lost(trial, "drop", self.steps.score(made))
        if isinstance(variant.model, OnnxModel):
            variant.model.close()  # the threads of an open session would disturb what is timed next
        ms = self._timed(trial) if self.budget.timed else None
        return trial.updated(bytes=bytes_on_disk(variant), ms=ms)

    def _lost(self, trial: Trial, what: str, score: Measurement) -> Trial:
        """Return the trial with a score, and with the points lost against the model as it came."""
        value = float(score)
        if not trial.number:
            return trial.updated(score=value, drop=0.0)
        first = self.study.trials[0].score
        assert first is not None
        accuracy = self.steps.data.signature.task != "regression"
        lost = 100 * (first - value) if accuracy else 100 * (value / first - 1)
        return trial.updated(score=value, **{"drop": lost, what: lost})

    def _timed(self, trial: Trial) -> float:
        """Return the median ms of a call, by the ratio to the first model, which is timed in the same run."""
        first = self.study.trials[0] if trial.number else trial
        pair = {"first": self.variant(first), "this": self.variant(trial)}
        timed = benchmark(
            pair,
            inputs=self.steps.data.valid.inputs[:64].numpy(),
            seconds=self._seconds,
            control=False,
            memory=False,
        )
        if first.ms is None:
            return timed["first"].latency.value
        return first.ms * timed["this"].ratio.value

    def _news(self, trial: Trial, count: int | None, deadline: Deadline) -> SearchProgress:
        done = len(self.study.trials)
        pace = deadline.seconds / max(1, done - self.earlier)
        limits = [deadline.left, None if count is None else pace * (count - done)]
        left = min((limit for limit in limits if limit is not None), default=None)
        return SearchProgress(trial, done, sorting.chosen(self.study.trials, self.budget), left)

    def report(self, ended: Ending, deadline: Deadline, sampler: str) -> SearchReport:
        """Return what was tried."""
        data = self.steps.data
        return SearchReport(
            budget=self.budget,
            trials=tuple(self.study.trials),
            metric="rmse" if data.signature.task == "regression" else "accuracy",
            data=f"{data.name} valid, n = {len(data.valid):,}",
            sampler=sampler,
            ended=ended,
            seconds=deadline.seconds,
            earlier=self.earlier,
            made=dict(self.steps.made),
            shared=dict(self.steps.shared),
        )
