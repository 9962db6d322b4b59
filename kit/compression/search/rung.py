"""The rung: what a recipe shows early is judged, so that no time goes into what is hopeless.

Optuna prunes trials of one objective only; here there are two. The rule is our own, cheap and said here:

1. A net whose weights alone are more bytes than the budget allows is not trained.
2. After pruning, one epoch on an eighth of the training split gives a first impression. A recipe is stopped
   when two others, of the same net, that looked no worse then and were fine-tuned for as long or longer,
   ended more than a point beyond what may be lost, and none that looked as bad or worse ended within.
3. A fine-tuned net that is more than a point beyond what may be lost is not quantized: that would not give
   the points back.

What may be lost is the budget's `max_drop`; without one, what the best within the budget so far loses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.compression.search.trials import chosen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kit.compression.search.budget import Budget
    from kit.compression.search.trials import Trial

WITNESSES = 2
MARGIN = 1.0  # points beyond what may be lost, for the noise of a validation split and of a seed
BITS = {"none": 32, "fp16": 16, "static": 8, "dynamic": 8, "weights8": 8, "weights4": 4}


def too_large(parameters: int, scheme: str, budget: Budget) -> str:
    """Return why the weights alone break the budget, or an empty string."""
    least = parameters * BITS[scheme] // 8
    if budget.max_bytes is None or least <= budget.max_bytes:
        return ""
    return f"{parameters:,} weights in {BITS[scheme]} bits are {least:,} bytes already"


def bearable(trials: Iterable[Trial], budget: Budget) -> float | None:
    """Return how many points may be lost; None when nothing limits it yet."""
    if budget.max_drop is not None:
        return budget.max_drop
    best = chosen(trials, budget)
    return best.drop if best else None


def hopeless(trial: Trial, trials: Iterable[Trial], limit: float | None) -> str:
    """Return why the first impression of `trial` is one of those that come to nothing, or an empty string."""
    if limit is None or trial.glimpse is None:
        return ""
    seen = [
        (other.glimpse, other.tuned, other.recipe.epochs)
        for other in trials
        if other.recipe.net == trial.recipe.net and other.glimpse is not None and other.tuned is not None
    ]
    bound, epochs = limit + MARGIN, trial.recipe.epochs
    recovered = any(glimpse >= trial.glimpse and tuned <= bound for glimpse, tuned, _ in seen)
    failed = [g for g, tuned, trained in seen if g <= trial.glimpse and tuned > bound and trained >= epochs]
    if recovered or len(failed) < WITNESSES:
        return ""
    return (
        f"{trial.glimpse:.1f} points lost at first sight; {len(failed)} that looked no worse, trained "
        f"as long, ended more than {bound:.2g} below"
    )


def lost(trial: Trial, limit: float | None) -> str:
    """Return why a fine-tuned net is not worth quantizing, or an empty string."""
    if limit is None or trial.tuned is None or trial.tuned <= limit + MARGIN:
        return ""
    return f"{trial.tuned:.1f} points lost after fine-tuning; {limit:.2g} may be"
