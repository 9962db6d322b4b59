from __future__ import annotations

import asyncio
import re

import numpy as np
import pytest
import torch

import kit
from kit.errors import ArgumentError
from kit.widgets import Distillation


@pytest.fixture(scope="module")
def few(fashion):
    return fashion.subset(1000, 300, 300)


def shares(panel, column):
    return [float(row[column].rstrip("%")) / 100 for row in panel.table()[2]]


def test_a_higher_temperature_is_softer_and_the_order_stays(trained, few):
    panel = Distillation(trained, few)
    peaks = []
    for value in (1, 4, 20):
        panel.temperature.value = value
        plain, soft = panel._answers()
        peaks.append(max(soft))
        assert np.argsort(plain).tolist() == np.argsort(soft).tolist()
    assert peaks[0] > peaks[1] > peaks[2]
    assert sum(shares(panel, 2)) == pytest.approx(1, abs=0.01)


def test_another_sample_gets_another_answer_and_its_label(trained, few):
    panel = Distillation(trained, few)
    panel.sample.value = 11
    label = few.signature.classes[few.valid.targets[11]]
    assert f"label: {label}" in panel._soft.value
    expected = torch.softmax(torch.from_numpy(trained(few.valid.inputs[11:12]))[0], 0)
    assert panel._answers()[0] == pytest.approx(expected.tolist(), abs=1e-6)


def test_a_student_learns_and_the_code_says_how(trained, few):
    panel = Distillation(trained, few, {"small": kit.models.lenet_300_100()}, epochs=1)
    panel.temperature.value, panel.weight.value = 3.0, 50
    small = asyncio.run(panel.run())
    assert small.name == "small distilled"
    settings = small.recipe[-1].settings
    assert (settings["temperature"], settings["weight"], settings["epochs"]) == (3.0, 0.5, 1)
    assert panel.code == "kit.distill(small, teacher, data, temperature=3.0, weight=0.5, epochs=1)"
    assert re.search(r"Finished: valid accuracy \d", panel.frame.status)
    assert panel.figure() is not None


def test_stop_in_the_middle_keeps_the_student(trained, few):
    panel = Distillation(trained, few, {"small": kit.models.lenet_300_100()}, epochs=1000)

    async def session():
        panel._begin.click()
        while panel._live._done < 1:
            await asyncio.sleep(0.01)
        panel._stop.click()
        return await panel.wait()

    assert asyncio.run(session()).report.stopped == "stopped"


def test_a_student_with_other_outputs_is_said_in_the_panel(trained, few):
    panel = Distillation(
        trained, few, {"seven": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 7))}
    )
    with pytest.raises(Exception, match="7"):
        asyncio.run(panel.run())
    assert "7" in panel.frame.alert


def test_regression_has_nothing_to_soften():
    x = torch.rand(50, 3)
    data = kit.data.from_arrays(x, x.sum(1))
    with pytest.raises(ArgumentError, match="no"):
        Distillation(torch.nn.Linear(3, 1), data)
