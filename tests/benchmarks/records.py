"""The records of compression on MNIST: bytes of real files, over seeds, with everything chosen on validation.

python tests/benchmarks/records.py [ablation] [lenet_300_100 | lenet5 [seeds]]
python tests/benchmarks/records.py table

A residual net trained on warped digits is the teacher. It answers the training images and four warped
copies of each once; everything else learns from these answers and the labels. The dense net of each seed
trains for as many steps as its squeezed ones did in all. The test split is looked at once, when a file is
done, by reading the file again. Each figure is kept in runs/records as soon as it is known: a run that was
stopped goes on where it was, and `table` prints what there is. Remove that folder to train another teacher.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch.nn import functional as F

import kit
from kit.compression.distillation.distill import taught
from kit.data import Dataset, Split
from kit.measurement.predict import logits
from kit.statistics import student
from kit.training.loop import fit
from kit.variant import Variant

FOLDER = Path(__file__).parents[2] / "runs" / "records"
TEMPERATURE, WEIGHT = 3.0, 0.8
COPIES, EPOCHS, WIDTHS = 4, 6, (16, 32, 64)  # of the training images; of the teacher


@dataclass(frozen=True)
class Goal:
    """So many times smaller than float32, at no more than so many errors in a hundred."""

    ratio: int
    error: float
    published: str = ""


@dataclass(frozen=True)
class Recipe:
    """How a net is trained: passes over the warped data, and the share of channels it does without."""

    goals: tuple[Goal, ...]
    dense: int = 1
    squeeze: int = 3
    batch_size: int = 128
    lr: float = 2e-3  # of squeezing
    cut: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        return f"{self.dense}+{self.squeeze} passes, {self.batch_size} a step, lr {self.lr:g}, cut {self.cut}"


RECIPES = {
    "lenet_300_100": Recipe(
        (
            Goal(100, 1.5, "40× at 1.58 % (Deep Compression)"),
            Goal(200, 1.9, "124× at 1.9 % (entropy-penalised reparameterisation)"),
        )
    ),
    "lenet5": Recipe(
        (
            Goal(150, 0.74, "39× at 0.74 % (Deep Compression)"),
            Goal(600, 1.0, "606× at 1.0 % (entropy-penalised reparameterisation); 555× at 0.69 % (MIRACLE)"),
            Goal(1110, 0.96, "1110× at 0.96 % (MIRACLE)"),
        ),
        squeeze=4,
        batch_size=64,
        cut=(("0", 0.5), ("2", 0.6), ("5", 0.8)),
    ),
}


class Ledger:
    """The figures so far, one JSON line each, and the teacher that they rest on."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._file = folder, folder / "figures.jsonl"
        self.lines = []
        if self._file.exists():
            self.lines = [json.loads(line) for line in self._file.read_text().splitlines()]

    def find(self, **key) -> list[dict]:
        """Return the figures that agree with `key`, in the order of seeds."""
        found = [line for line in self.lines if all(line.get(k) == v for k, v in key.items())]
        return sorted(found, key=lambda line: line["seed"])

    def record(self, make, **key) -> None:
        """Call `make` for figures and keep them with the processor seconds, unless they are known already."""
        if self.find(**key):
            return
        begun = time.process_time()
        line = key | make() | {"seconds": time.process_time() - begun}
        self.lines.append(line)
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print("  " + ", ".join(f"{k} {_short(v)}" for k, v in line.items()), flush=True)


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


def warped(data: Dataset, copies: int) -> Dataset:
    """Return the data with warped copies of the training split after it; the same ones each time."""
    torch.manual_seed(1)
    images, how = data.train.inputs, data.train.preprocess
    bent = [torch.cat([warp(batch) for batch in images.split(1000)]) for _ in range(copies)]
    raw = (torch.cat([images, *bent]) * how.std[0] + how.mean[0]).div(how.scale).round().clamp(0, 255)
    train = Split("train", raw.to(torch.uint8), data.train.targets.repeat(copies + 1), how)
    return Dataset(data.name, train, data.valid, data.test, data.signature)


def teach(data: Dataset, ledger: Ledger, *, copies: int, epochs: int, widths: tuple[int, int, int]):
    """Return the warped data, and the answers of a teacher to all of it; it is trained once and kept."""
    saved, wide = ledger.folder / "teacher", warped(data, copies)
    if not saved.exists():

        def train() -> dict:
            net = kit.models.convnet(widths=widths)
            teacher = kit.train(net, data, epochs=epochs, lr=5e-3, augment=warp, name="teacher", threads=1)
            kit.save(teacher, saved)
            return {"test": error(teacher, data)}

        ledger.record(train, net="teacher", seed=0)
    answers = ledger.folder / "answers.pt"
    if not answers.exists():
        torch.save(torch.from_numpy(logits(kit.load(saved), wide.train)), answers)
    return wide, torch.load(answers)


def learn(net: torch.nn.Module, data: Dataset, answers: torch.Tensor, name: str, **training) -> Variant:
    """Train a plain net on the labels and the teacher's answers."""
    objective = taught(
        lambda _inputs, index: answers[index], data, temperature=TEMPERATURE, weight=WEIGHT, training={}
    )
    fit(net, data, objective, **training)
    return Variant(net, name, data.signature)


def error(variant: Variant, data: Dataset, split: str = "test") -> float:
    """Return the errors in a hundred images."""
    return 100 * (1 - float(kit.evaluate(variant, data, split=split).score))


class Seed:
    """One run of a net: a dense start, and files squeezed from it."""

    def __init__(self, net: str, seed: int, data: Dataset, answers: torch.Tensor, recipe: Recipe) -> None:
        self.net, self.seed, self._data, self._answers, self._recipe = net, seed, data, answers, recipe
        self._how = {"seed": seed, "threads": 1, "progress": False, "batch_size": recipe.batch_size}
        self._start: Variant | None = None

    def start(self) -> Variant:
        """Return what squeezing begins with: a net with some channels fewer, trained for a while."""
        if self._start is None:
            cut = dict(self._recipe.cut)
            fewer = kit.prune(self._new(), self._data, ratio=cut, finetune=0, round_to=1) if cut else None
            module = fewer.module if fewer else self._new()
            self._start = self._trained(module, self._recipe.dense)
        return self._start

    def _new(self) -> torch.nn.Module:
        torch.manual_seed(self.seed)
        return getattr(kit.models, self.net)()

    def _trained(self, module: torch.nn.Module, epochs: int) -> Variant:
        return learn(module, self._data, self._answers, self.net, epochs=epochs, **self._how)

    def baseline(self) -> dict:
        """Return the errors of the dense net that trained for all the steps."""
        whole = self._trained(self._new(), self._recipe.dense + self._recipe.squeeze)
        return {"valid": error(whole, self._data, "valid"), "test": error(whole, self._data)}

    def squeezed(self, budget: int, path: Path, *, penalty: bool) -> dict:
        """Return the bytes of a file, and the errors of what is read from it."""
        small = kit.squeeze(
            self.start(), self._data, budget=budget, penalty=penalty, teacher=self._answers, name=self.net,
            temperature=TEMPERATURE, weight=WEIGHT, epochs=self._recipe.squeeze, lr=self._recipe.lr,
            **self._how,
        )  # fmt: skip
        read = kit.load(kit.pack(small, path, history=False))
        errors = {"valid": error(read, self._data, "valid"), "test": error(read, self._data)}
        return {"bytes": path.stat().st_size, "nonzero": small.report.nonzero, **errors}


def records(
    net: str, seeds: int, data: Dataset, recipe: Recipe, folder: Path = FOLDER, *,
    penalties=(True,), copies=COPIES, epochs=EPOCHS, widths=WIDTHS,
) -> list[tuple[float, float]]:  # fmt: skip
    """Fill the ledger for some seeds and print the table; return (ratio, mean test error) for each goal."""
    ledger = Ledger(folder)
    wide, answers = teach(data, ledger, copies=copies, epochs=epochs, widths=widths)
    runs = [Seed(net, seed, wide, answers, recipe) for seed in range(seeds)]
    same = {"net": net, "recipe": str(recipe)}
    for run in runs:
        for penalty in penalties:
            for goal in recipe.goals:
                path = folder / f"{net}-{run.seed}-{goal.ratio}{'' if penalty else '-no-penalty'}.kit"
                make = partial(run.squeezed, floats(net) // goal.ratio, path, penalty=penalty)
                ledger.record(make, **same, seed=run.seed, goal=goal.ratio, penalty=penalty)
    for run in runs:
        ledger.record(run.baseline, **same, seed=run.seed, goal=0)
    return show(net, recipe, ledger)


def floats(net: str) -> int:
    """Return the bytes of a whole net as float32."""
    return 4 * sum(p.numel() for p in getattr(kit.models, net)().parameters())


def show(net: str, recipe: Recipe, ledger: Ledger) -> list[tuple[float, float]]:
    """Print the tables of one net; return (ratio, mean test error) for each goal that has figures."""
    table, find = [], partial(ledger.find, net=net, recipe=str(recipe))
    print(f"\n{net}, {floats(net):,} bytes as float32; {recipe}")
    print("| published | to reach | ratio, largest file | test error %, mean [95 %] | seeds | minutes | |")
    print("|---|---|---|---|---|---|---|")
    for goal in recipe.goals:
        if lines := find(goal=goal.ratio, penalty=True):
            largest = max(line["bytes"] for line in lines)
            ratio, found = floats(net) / largest, statistics.mean(line["test"] for line in lines)
            reached = "yes" if ratio >= goal.ratio and found <= goal.error else "no"
            minutes = statistics.mean(line["seconds"] for line in lines) / 60
            cells = (goal.published, f"{goal.ratio}× at {goal.error} %", f"{ratio:.0f}×, {largest:,} bytes")
            print(f"| {' | '.join(cells)} | {_errors(lines)} | {len(lines)} | {minutes:.1f} | {reached} |")
            table.append((ratio, found))
    if dense := find(goal=0):
        print(f"Dense, with the same steps and teacher: {_errors(dense)} % over {len(dense)} seeds.")
    print("Minutes of one core; the first file of a seed includes its start, the teacher comes once.")
    if without := find(penalty=False):
        print("\n| coder, bytes and steps alike | entropy penalty | nearest to zero go | seeds |")
        print("|---|---|---|---|")
        for ratio in sorted({line["goal"] for line in without}):
            off = find(goal=ratio, penalty=False)
            on = find(goal=ratio, penalty=True)
            on = [line for line in on if line["seed"] in {other["seed"] for other in off}]
            print(f"| {ratio}× | {_errors(on)} | {_errors(off)} | {len(off)} |")
    return table


def _errors(lines: list[dict]) -> str:
    """Return mean and Student's 95 % interval of the test errors."""
    values = [line["test"] for line in lines]
    return f"{student(values):.2f}" if len(values) > 1 else f"{values[0]:.2f}"


def _short(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def main(arguments: list[str]) -> None:
    """Run what the command line asks for."""
    if arguments == ["table"]:
        for name, recipe in RECIPES.items():
            show(name, recipe, Ledger(FOLDER))
        return
    penalties = (True, False) if arguments[:1] == ["ablation"] else (True,)
    rest = arguments[len(penalties) - 1 :]
    for name in rest[:1] or RECIPES:
        seeds = int(rest[1]) if rest[1:] else 5
        records(name, seeds, kit.data.mnist(), RECIPES[name], penalties=penalties)


if __name__ == "__main__":
    main(sys.argv[1:])
