"""A run that was killed ends with the very weights of one that was not; what is corrupt is found and said."""

from __future__ import annotations

import random
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import kit
from kit.data.augment import compose, random_flip, random_shift
from kit.errors import CheckpointError, StorageError
from kit.training import Stop
from kit.training.checkpoint import previous

# Everything that could differ after a resume: normalisation, dropout, augmentation, momentum, schedule.
PROGRAM = """
import sys
import torch
from torch import nn
import kit
from kit.data.augment import compose, random_flip, random_shift

torch.manual_seed(0)
layers = nn.Conv2d(1, 4, 3, stride=3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten()
model = nn.Sequential(*layers, nn.Linear(324, 10))
data = kit.data.fashion_mnist().subset(600, 100, 100)
trained = kit.train(
    model, data, epochs=4, batch_size=32, augment=compose(random_flip(), random_shift(1)), threads=1,
    checkpoint=sys.argv[1], checkpoint_every=0.0, on_step=lambda step: print("step", flush=True),
)
torch.save(trained.module.state_dict(), sys.argv[2])
"""
STEPS = 4 * 19


def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(324, 10),
    )


@pytest.fixture(scope="module")
def small(fashion):
    return fashion.subset(600, 100, 100)


def train(data, path=None, **settings):
    change = compose(random_flip(), random_shift(1))
    given = {"epochs": 4, "batch_size": 32, "augment": change, "checkpoint": path, "threads": 1} | settings
    return kit.train(model(), data, **given)


def same(first, second):
    a, b = first.module.state_dict(), second.module.state_dict()
    return all(torch.equal(a[key], b[key]) for key in a)


def stop_after(count):
    seen = []

    def listen(_step):
        seen.append(1)
        if len(seen) == count:
            raise Stop

    return listen


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "nadam"])
def test_a_stopped_run_goes_on_to_identical_weights(small, tmp_path, optimizer):
    whole = train(small, optimizer=optimizer)
    path = tmp_path / "run.pt"
    rng = random.Random(optimizer)
    for _ in range(3):
        torch.manual_seed(rng.randrange(1000))  # the caller's random numbers must not matter
        train(small, path, optimizer=optimizer, on_step=stop_after(rng.randrange(1, 20)))
    resumed = train(small, path, optimizer=optimizer)
    assert same(resumed, whole)
    rows = [(e.number, e.train_loss, e.valid_loss, e.valid_metric, e.lr) for e in resumed.report.epochs]
    assert rows == [(e.number, e.train_loss, e.valid_loss, e.valid_metric, e.lr) for e in whole.report.epochs]


def test_bf16_resumes_to_identical_weights(small, tmp_path):
    whole = train(small, precision="bf16", layout="channels_last")
    train(small, tmp_path, precision="bf16", layout="channels_last", on_step=stop_after(30))
    resumed = train(small, tmp_path, precision="bf16", layout="channels_last")
    assert (tmp_path / "checkpoint.pt").is_file()
    assert same(resumed, whole)


def test_killed_at_random_moments_it_still_ends_with_identical_weights(tmp_path):
    rng = random.Random(20)
    whole, resumed, path = tmp_path / "whole.pt", tmp_path / "resumed.pt", tmp_path / "run.pt"
    command = [sys.executable, "-c", PROGRAM]
    subprocess.run([*command, tmp_path / "other.pt", whole], check=True, stdout=subprocess.DEVNULL)
    for _ in range(2):
        with subprocess.Popen([*command, path, resumed], stdout=subprocess.PIPE) as process:
            for _ in range(rng.randrange(1, STEPS // 3)):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
    assert not resumed.exists()
    subprocess.run([*command, path, resumed], check=True, stdout=subprocess.DEVNULL)
    first, second = (torch.load(file, weights_only=True) for file in (whole, resumed))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not [file.name for file in tmp_path.iterdir() if file.name.startswith(".")], (
        "no temporary file stays"
    )


def test_a_finished_run_is_not_trained_again(small, tmp_path):
    first = train(small, tmp_path / "run.pt")
    steps = []
    again = train(small, tmp_path / "run.pt", on_step=steps.append)
    assert not steps
    assert same(first, again)
    assert again.report.to_dict() == first.report.to_dict()


def test_a_constant_schedule_may_be_prolonged(small, tmp_path):
    whole = train(small, schedule="constant", keep="last")
    train(small, tmp_path / "run.pt", schedule="constant", keep="last", epochs=2)
    assert same(train(small, tmp_path / "run.pt", schedule="constant", keep="last"), whole)


def test_a_corrupt_checkpoint_is_passed_over_and_said(small, tmp_path):
    whole = train(small, tmp_path / "run.pt")
    path = tmp_path / "run.pt"
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1  # a single bit inside a tensor
    path.write_bytes(damaged)
    with pytest.warns(UserWarning, match=r"run\.pt is corrupt.*went on from .*run\.previous\.pt"):
        resumed = train(small, path)
    assert same(resumed, whole)
    assert "run.pt is corrupt" in str(resumed.report)


@pytest.mark.parametrize("length", [0, 20, 100, 5000])
def test_when_none_can_be_read_it_is_an_error(small, tmp_path, length):
    path = tmp_path / "run.pt"
    train(small, path, epochs=2)
    for file in (path, previous(path)):
        file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(
        CheckpointError, match=r"run\.pt is corrupt.*run\.previous\.pt is corrupt.*resume=False"
    ):
        train(small, path, epochs=2)
    assert train(small, path, epochs=2, resume=False).report.stopped == "finished"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"lr": 0.1}, "lr=None"),
        ({"batch_size": 64}, "batch_size=32"),
        ({"seed": 1}, "seed=0"),
        ({"epochs": 9}, "epochs=4"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(small, tmp_path, change, named):
    train(small, tmp_path / "run.pt", on_step=stop_after(3))
    with pytest.raises(CheckpointError, match=f"was made with {named}.*resume=False"):
        train(small, tmp_path / "run.pt", **change)


def test_a_checkpoint_of_another_model_or_data_is_refused(small, tmp_path):
    train(small, tmp_path / "run.pt", on_step=stop_after(3))
    with pytest.raises(CheckpointError, match="made with data="):
        train(small.subset(500), tmp_path / "run.pt")
    with pytest.raises(CheckpointError, match="made with model="):
        kit.train(
            nn.Sequential(nn.Flatten(), nn.Linear(784, 10)),
            small,
            epochs=4,
            batch_size=32,
            checkpoint=tmp_path / "run.pt",
        )


def test_a_full_disk_leaves_the_last_checkpoint(small, tmp_path):
    path = tmp_path / "run.pt"
    train(small, path, on_step=stop_after(40))
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*run\.pt"):
            train(small, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert not [file.name for file in tmp_path.iterdir() if file.name.startswith(".")]
    assert same(train(small, path), train(small))


def test_a_folder_that_cannot_be_written(small, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="cannot write"):
        train(small, tmp_path / "file" / "run.pt")


def test_numpy_numbers_as_settings_do_not_spoil_the_checkpoint(small, tmp_path):
    settings = {"lr": np.float64(0.01), "epochs": np.int64(2)}
    first = train(small, tmp_path / "run.pt", **settings)
    assert same(train(small, tmp_path / "run.pt", **settings), first)


def test_what_a_killed_write_left_is_removed(small, tmp_path):
    (tmp_path / ".run.pt.abc123.pt").write_bytes(b"half")
    train(small, tmp_path / "run.pt", epochs=1)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["run.pt"]
