"""The records of compression on MNIST: bytes of real files, over seeds, with everything chosen on validation.

python tests/benchmarks/records.py lenet_300_100 [seeds]
python tests/benchmarks/records.py lenet5 [seeds]

A residual net trained on warped digits is the teacher. It answers the training images and four warped
copies of each once; everything else learns from these answers and the labels. The dense net of each seed
trains for as many steps as its squeezed ones did in all. The test split is looked at once, when a file is
done, by reading the file again.
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from scipy.stats import t
from torch.nn import functional as F

import kit
from kit.compression.distillation.distill import taught
from kit.data import Dataset, Split
from kit.measurement.predict import logits
from kit.training.loop import fit
from kit.variant import Variant


@dataclass(frozen=True)
class Goal:
    """So many times smaller than float32, at no more than so many errors in a hundred."""

    ratio: int
    error: float


@dataclass(frozen=True)
class Recipe:
    """How a net is trained: passes over the five-fold data, and what is left of its channels."""

    goals: tuple[Goal, ...]
    dense: int
    squeeze: int
    keep: dict[str, float]  # the share of channels that structured pruning removes before squeezing


RECIPES = {
    "lenet_300_100": Recipe((Goal(100, 1.5), Goal(200, 1.9)), dense=1, squeeze=4, keep={}),
    "lenet5": Recipe(
        (Goal(150, 0.74), Goal(555, 0.69), Goal(600, 1.0), Goal(1110, 0.96)),
        dense=1,
        squeeze=4,
        keep={"0": 0.5, "2": 0.6, "5": 0.8},
    ),
}
TEMPERATURE, WEIGHT = 3.0, 0.8


def warp(images: torch.Tensor) -> torch.Tensor:
    """Rotate, scale, shear, shift and bend each image a little; what comes in from outside is black."""
    count, _, height, width = images.shape

    def spread(by: float) -> torch.Tensor:
        return (2 * torch.rand(count) - 1) * by

    angle, scale, shear = spread(math.radians(10)), 1 + spread(0.1), spread(0.1)
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    rows = [cosine, shear - sine, spread(4 / width), sine, cosine, spread(4 / height)]
    grid = F.affine_grid(torch.stack(rows, 1).view(count, 2, 3), list(images.shape), align_corners=False)
    bend = (2 * torch.rand(count, 2, 7, 7) - 1) * 2 / width
    bend = F.interpolate(bend, size=(height, width), mode="bicubic", align_corners=False)
    black = images.min()
    return F.grid_sample(images - black, grid + bend.permute(0, 2, 3, 1), align_corners=False) + black


def taught_data(data: Dataset, *, copies: int, epochs: int, widths: tuple[int, int, int]):
    """Return the data with warped copies of the training split, the teacher, and its answers to all of it."""
    teacher = kit.train(
        kit.models.convnet(widths=widths),
        data,
        epochs=epochs,
        lr=5e-3,
        augment=warp,
        name="teacher",
        threads=1,
    )
    torch.manual_seed(1)
    images = data.train.inputs
    warped = [torch.cat([warp(batch) for batch in images.split(1000)]) for _ in range(copies)]
    how = data.train.preprocess
    raw = (torch.cat([images, *warped]) * how.std[0] + how.mean[0]).div(how.scale).round().clamp(0, 255)
    train = Split("train", raw.to(torch.uint8), data.train.targets.repeat(copies + 1), how)
    wide = Dataset(data.name, train, data.valid, data.test, data.signature)
    return wide, teacher, torch.from_numpy(logits(teacher, train))


def learn(net: torch.nn.Module, data: Dataset, answers: torch.Tensor, name: str, **training) -> Variant:
    """Train a plain net on the labels and the teacher's answers."""
    objective = taught(
        lambda _inputs, index: answers[index], data, temperature=TEMPERATURE, weight=WEIGHT, training={}
    )
    fit(net, data, objective, **training)
    return Variant(net, name, data.signature)


def error(variant: Variant, data: Dataset) -> float:
    """Return the errors in a hundred test images."""
    return 100 * (1 - float(kit.evaluate(variant, data).score))


def one_seed(net: str, seed: int, data: Dataset, answers: torch.Tensor, recipe: Recipe, room: Path):
    """Return test error of the dense net, and of each goal (bytes, test error, validation error)."""
    torch.manual_seed(seed)
    make, how = getattr(kit.models, net), {"seed": seed, "threads": 1, "progress": False}
    dense = learn(make(), data, answers, net, epochs=recipe.dense, **how)
    size = 4 * sum(p.numel() for p in dense.module.parameters())
    start = dense
    if recipe.keep:
        start = kit.prune(dense, data, ratio=recipe.keep, finetune=0, round_to=1).renamed(net)
    files = []
    for goal in recipe.goals:
        small = kit.squeeze(
            start, data, budget=size // goal.ratio, teacher=answers, temperature=TEMPERATURE, weight=WEIGHT,
            epochs=recipe.squeeze, lr=2e-3, name=net, **how,
        )  # fmt: skip
        path = kit.pack(small, room / f"{net}-{seed}-{goal.ratio}.kit", history=False)
        found = error(kit.load(path), data)
        files.append((path.stat().st_size, found, 100 * (1 - float(small.report.after))))
        print(f"  seed {seed}, {goal.ratio}×: {files[-1][0]:,} bytes, test error {found:.2f} %", flush=True)
    whole = learn(make(), data, answers, net, epochs=recipe.dense + recipe.squeeze, **how)
    return size, error(whole, data), files


def interval(values: list[float]) -> str:
    """Return mean and Student's 95 % interval of a few values."""
    mean = statistics.mean(values)
    if len(values) == 1:
        return f"{mean:.2f}"
    low, high = t.interval(0.95, len(values) - 1, mean, statistics.stdev(values) / math.sqrt(len(values)))
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def records(net: str, seeds: int, data: Dataset, recipe: Recipe, *, copies=4, epochs=6, widths=(16, 32, 64)):
    """Print the table of one net; return (ratio, mean test error) for each goal."""
    begun = time.perf_counter()
    wide, teacher, answers = taught_data(data, copies=copies, epochs=epochs, widths=widths)
    print(f"teacher: test error {error(teacher, data):.2f} %", flush=True)
    with tempfile.TemporaryDirectory() as room:
        runs = [one_seed(net, seed, wide, answers, recipe, Path(room)) for seed in range(seeds)]
    size, minutes = runs[0][0], (time.perf_counter() - begun) / 60
    print(f"\n{net}, {size:,} bytes dense, {seeds} seeds, {minutes:.0f} minutes in all, one thread")
    print(f"dense, same steps and teacher: test error {interval([run[1] for run in runs])} %")
    print("| goal | bytes (largest) | ratio | test error %, mean [95 %] | reached |\n|---|---|---|---|---|")
    table = []
    for k, goal in enumerate(recipe.goals):
        bytes_, errors = max(run[2][k][0] for run in runs), [run[2][k][1] for run in runs]
        table.append((size / bytes_, statistics.mean(errors)))
        reached = table[-1][0] >= goal.ratio and table[-1][1] <= goal.error
        print(
            f"| {goal.ratio}× at {goal.error} % | {bytes_:,} | {size / bytes_:.0f} | {interval(errors)} "
            f"| {'yes' if reached else 'no'} |"
        )
    return table


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "lenet_300_100"
    records(name, int(sys.argv[2]) if len(sys.argv) > 2 else 5, kit.data.mnist(), RECIPES[name])
