"""Kill -9 a training run at random moments, resume it, and compare its weights with a run never interrupted.

    python tests/benchmarks/crash_recovery.py [--kills 20] [--seed 0]

Each trial trains a small residual net with normalisation, augmentation, Adam and a schedule,
checkpoints every step, and is killed when a random step number arrives on its pipe: during a step, during
a write, or between the two, as chance has it. Every third trial is killed twice.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

PROGRAM = """
import sys
import torch
import kit
from kit.data.augment import compose, random_flip, random_shift

torch.manual_seed(0)
trained = kit.train(
    kit.models.convnet(widths=(4, 8, 8)),
    kit.data.fashion_mnist().subset(1000, 200, 200),
    epochs=4,
    batch_size=64,
    augment=compose(random_flip(), random_shift(2)),
    precision=sys.argv[3],
    threads=1,
    checkpoint=sys.argv[1],
    checkpoint_every=0.0,
    on_step=lambda step: print("step", flush=True),
)
torch.save(trained.module.state_dict(), sys.argv[2])
"""
STEPS = 4 * 16


def run(checkpoint: Path, result: Path, precision: str, kill_at: int | None = None) -> int:
    """Train; kill the process after it reported `kill_at` steps. Return how many steps it reported."""
    command = [sys.executable, "-c", PROGRAM, str(checkpoint), str(result), precision]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        steps = 0
        while process.stdout.readline():
            steps += 1
            if steps == kill_at:
                process.send_signal(signal.SIGKILL)
                break
    if process.returncode not in {0, -signal.SIGKILL}:
        sys.exit(f"training failed with exit code {process.returncode}")
    return steps


def identical(first: Path, second: Path) -> bool:
    """Tell whether two files hold the same weights, bit for bit."""
    a, b = torch.load(first, weights_only=True), torch.load(second, weights_only=True)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def main() -> None:
    """Kill, resume, compare; print how many of the resumed runs ended with identical weights."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng, same = random.Random(given.seed), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = {precision: folder / f"whole-{precision}.pt" for precision in ("fp32", "bf16")}
        for precision, result in whole.items():
            run(folder / f"run-{precision}.pt", result, precision)
        for trial in range(given.kills):
            precision = "bf16" if trial % 4 == 3 else "fp32"
            checkpoint, result = folder / f"{trial}.pt", folder / f"result-{trial}.pt"
            first = rng.randrange(1, STEPS)
            moments = [first]
            run(checkpoint, result, precision, kill_at=first)
            if trial % 3 == 2 and first < STEPS - 1:
                moments.append(rng.randrange(1, STEPS - first))
                run(checkpoint, result, precision, kill_at=moments[-1])
            again = run(checkpoint, result, precision)
            good = identical(whole[precision], result)
            same += good
            killed = " and ".join(f"{moment} steps" for moment in moments)
            print(
                f"{trial + 1:2}: {precision}, killed after {killed} of {STEPS}, resumed for {again}: "
                f"{'identical' if good else 'DIFFERENT'}",
                flush=True,
            )
    print(f"identical weights after kill -9 and resume: {same}/{given.kills}")
    sys.exit(same != given.kills)


if __name__ == "__main__":
    main()
