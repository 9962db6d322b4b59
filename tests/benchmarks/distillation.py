"""What the first paper on distillation printed for MNIST: errors of teacher, plain and distilled student.

python tests/benchmarks/distillation.py [passes over the warped images [seeds]]

The student is the paper's: 784-800-800-10, without any regularisation. The teacher is that of the records, a
residual net trained on warped digits; the images it answers are the training images and warped copies of
them, and a second plain student learns the labels of just these, so that what the images bring and what the
answers bring are told apart. The test split chooses nothing. Figures are kept in runs/records at once.

Source: G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network", arXiv:1503.02531.
"""

from __future__ import annotations

import statistics
import sys
from functools import partial

import torch
from records import COPIES, EPOCHS, FOLDER, WIDTHS, Ledger, error, learn, teach
from torch import nn

import kit

PUBLISHED = {"teacher": 67, "plain": 146, "distilled": 74}
NET = "800-800"


def student(seed: int) -> nn.Module:
    """Build the paper's small net."""
    torch.manual_seed(seed)
    wide = nn.Sequential(nn.Flatten(), nn.Linear(784, 800), nn.ReLU(), nn.Linear(800, 800), nn.ReLU())
    return wide.append(nn.Linear(800, 10))


def figures(variant, data) -> dict:
    """Return errors in numbers of images."""
    count = {split: error(variant, data, split) * len(data[split]) / 100 for split in ("valid", "test")}
    return {split: round(found) for split, found in count.items()}


def run(ledger: Ledger, data, wide, answers, *, epochs: int, seed: int) -> None:
    """Train the three students of one seed."""
    how = {"seed": seed, "threads": 1, "progress": False}

    def plain(images, passes) -> dict:
        return figures(kit.train(student(seed), images, epochs=passes, **how), data)

    def distilled() -> dict:
        return figures(learn(student(seed), wide, answers, NET, epochs=epochs, **how), data)

    many = epochs * (COPIES + 1)  # as many steps as the others have
    ledger.record(distilled, net=NET, seed=seed, how="distilled")
    ledger.record(partial(plain, data, many), net=NET, seed=seed, how="plain")
    ledger.record(partial(plain, wide, epochs), net=NET, seed=seed, how="plain, warped images")


def main(epochs: int = 6, seeds: int = 1) -> None:
    """Print the table, and how much of the gap the teacher's answers close."""
    data, ledger = kit.data.mnist(), Ledger(FOLDER)
    wide, answers = teach(data, ledger, copies=COPIES, epochs=EPOCHS, widths=WIDTHS)
    for seed in range(seeds):
        run(ledger, data, wide, answers, epochs=epochs, seed=seed)
    lines = {"teacher": ledger.find(net="teacher")}
    lines |= {how: ledger.find(net=NET, how=how) for how in ("plain", "plain, warped images", "distilled")}
    found = {how: statistics.mean(line["test"] for line in some) for how, some in lines.items()}
    found["teacher"] *= len(data.test) / 100
    print("\n| | published | test errors of 10,000 |\n|---|---|---|")
    for how, errors in found.items():
        print(f"| {how} | {PUBLISHED.get(how, '–')} | {errors:.0f} |")
    for name, table in (("published", PUBLISHED), ("here", found)):
        closed = (table["plain"] - table["distilled"]) / (table["plain"] - table["teacher"])
        print(f"Gap between plain student and teacher closed, {name}: {closed:.0%}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
