"""For the same minutes: the search, random search, and the best single recipe, by hypervolume.

python tests/benchmarks/search.py [minutes a search [seeds [training images [epochs of the model]]]]
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import kit
from kit.compression.search.recipes import Recipe
from kit.compression.search.trials import Trial, chosen, hypervolume

BUDGET = "lose at most 0.5 points; smallest"
RATIOS = (0.5, 0.75)  # of the single recipes, each of which gets all the minutes for its fine-tuning
FAR = 5.0  # points: the second corner that the hypervolume is measured from


@dataclass
class Line:
    """One row of the table."""

    how: str
    seed: int
    recipes: int
    near: float
    far: float
    best: str


def searched(dense, data, sampler, *, minutes, seed, **training) -> Line:
    """Search for some minutes."""
    found = kit.search(dense, data, BUDGET, minutes=minutes, sampler=sampler, seed=seed, **training)
    report = found.report
    return Line(
        "search" if sampler == "tpe" else f"search, {sampler}",
        seed,
        len(report.trials),
        report.hypervolume(),
        report.hypervolume(worst=FAR),
        _best(report.chosen),
    )


def single(dense, data, *, minutes, seed, **training) -> Line:
    """Fine-tune one recipe for all the minutes; the better of two counts, though both took the time."""
    budget = kit.Budget.parse(BUDGET)
    first = _trial(0, Recipe(), kit.export(dense, data=data), data)
    lines = []
    for ratio in RATIOS:
        begin = time.perf_counter()
        kit.prune(dense, data, ratio=ratio, finetune=1, seed=seed, **training)
        epochs = max(1, int(60 * minutes / (time.perf_counter() - begin)))
        slim = kit.prune(dense, data, ratio=ratio, finetune=epochs, seed=seed, **training)
        recipe = Recipe(ratio=ratio, epochs=epochs, scheme="static")
        pair = [first, _trial(1, recipe, kit.quantize(slim, data), data, first)]
        near, far = (hypervolume(pair, "bytes", worst=worst) for worst in (budget.max_drop, FAR))
        lines.append(Line("single recipe", seed, 1, near, far, _best(chosen(pair, budget))))
    return max(lines, key=lambda line: (line.near, line.far))


def _trial(number, recipe, variant, data, first=None) -> Trial:
    score = kit.evaluate(variant, data, split="valid").accuracy.value
    lost = 100 * (first.score - score) if first else 0.0
    return Trial(number, recipe, score=score, drop=lost, bytes=variant.file.stat().st_size)


def _best(trial) -> str:
    return f"{trial.recipe}: {trial.bytes / 1e3:.1f} kB, {-trial.drop:+.2f} points" if trial else "–"


def main(minutes=3.0, seeds=2, images=55_000, epochs=10):
    data = kit.data.fashion_mnist()
    if images < len(data.train):
        data = data.subset(int(images), int(images) // 5, int(images) // 5)
    training = {"lr": 3e-3}
    dense = kit.train(kit.models.convnet(), data, epochs=int(epochs), lr=1e-2)
    print(f"{kit.device.describe()}; {data}; {BUDGET}; {minutes:g} minutes each\n", flush=True)
    print("| | seed | recipes | to the budget | to 5 points | best within the budget |")
    print("|---|---|---|---|---|---|", flush=True)
    for seed in range(int(seeds)):
        run = {"minutes": minutes, "seed": seed, **training}
        for line in (
            searched(dense, data, "tpe", **run),
            searched(dense, data, "nsga2", **run),
            searched(dense, data, "random", **run),
            single(dense, data, **run),
        ):
            figures = f"{line.near:.2f} | {line.far:.2f}"
            print(f"| {line.how} | {line.seed} | {line.recipes} | {figures} | {line.best} |", flush=True)
    print("\nHypervolume on the validation split, in points × halvings of the file's bytes.")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
