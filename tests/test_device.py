from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from kit import device
from kit.errors import DeviceError


def test_the_best_device_is_picked():
    assert device.pick("cpu") == torch.device("cpu")
    assert device.pick().type in {"cuda", "mps", "cpu"}


@pytest.mark.parametrize("name", ["cuda:99", "warp9"])
def test_a_device_that_is_not_there(name):
    with pytest.raises(DeviceError, match=r"this machine|does not exist"):
        device.pick(name)


def test_threads_follow_the_affinity():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    code += "from kit import device; print(device.threads())"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "1\n"


def test_description_names_processor_and_cores():
    text = device.describe()
    assert device.processor() in text
    assert f"{device.threads()} core" in text


def test_what_is_accelerated_is_an_instruction_set_of_this_processor():
    for precision in ("int8", "bf16"):
        found = device.accelerates(precision)
        assert found is None or found in device.instruction_sets()
    assert device.accelerates("int3") is None


def test_one_seed_sets_all_generators():
    import random

    import numpy as np

    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002

    device.seed_everything(7)
    first = draw()
    device.seed_everything(7)
    assert draw() == first
    device.seed_everything(8)
    assert draw() != first
