from __future__ import annotations

import asyncio
import re

import numpy as np
import pytest
import torch

import kit
from kit.errors import DataError
from kit.widgets import Data


@pytest.fixture(scope="module")
def panel(fashion):
    return Data(fashion)


def test_the_samples_of_a_class_are_those_of_the_class(fashion):
    panel = Data(fashion)
    panel.split.value, panel.of.value = "test", "bag"
    for number in (0, 5, panel.sample.max):
        panel.sample.value = number
        assert fashion.signature.classes[fashion.test.targets[panel.position]] == "bag"
    assert panel.sample.max == fashion.balance()["test"][8] - 1
    assert "bag, step by step" in panel._steps.value


def test_the_steps_end_in_what_the_model_gets(fashion):
    panel = Data(fashion)
    panel.sample.value = 3
    x = fashion.train.inputs[panel.position]
    assert f"{float(x.min()):.3g} to {float(x.max()):.3g}" in panel._steps.value
    assert panel._steps.value.count("<img") == 4
    steps = eval(panel.code.splitlines()[-1], {"data": fashion})
    assert torch.equal(steps[-1][1][0], x)


def test_augmentation_is_shown_for_training_samples_alone(fashion):
    panel = Data(fashion, augment=kit.data.augment.random_flip(1.0))
    assert panel._steps.value.count("<img") == 7
    assert panel._steps.value.count("augmented") >= 3
    panel.split.value = "test"
    assert panel._steps.value.count("<img") == 4


def test_a_thumbnail_chooses_its_sample(panel):
    panel.sample.value = 0
    numbers = re.findall(r'data-choice="(\d+)"', panel._samples.html)
    assert numbers == [str(k) for k in range(20)]
    panel._samples._handle_custom_msg({"choice": "7"}, [])
    assert panel.sample.value == 7
    assert 'data-choice="7" aria-pressed="true"' in panel._samples.html


def test_arrow_keys_reach_the_next_page(panel):
    panel.sample.value = 19
    panel.sample.value += 1
    assert "Samples 20 to 39" in panel._samples.html


def test_every_picture_has_words(panel):
    for picture in re.findall(r"<img[^>]*>", panel._samples.html + panel._steps.value):
        assert re.search(r'alt="[^"]+"', picture)


def test_duplicates_that_were_put_there_are_found():
    x = np.random.default_rng(0).integers(0, 255, (300, 1, 8, 8), np.uint8)
    x[250:255] = x[0:5]
    data = kit.data.from_arrays(x[:200], np.arange(200) % 4, test=(x[200:], np.arange(100) % 4))
    panel = Data(data)
    found = asyncio.run(panel.run())
    assert sum(exact for exact, _ in found.counts().values()) == 5
    assert "5 exact" in panel.frame.status.replace("\n", " ") or "exact" in panel.frame.status
    assert panel._twins.value.count("<img") == 10
    assert "exact" in panel.table()[0]


def test_data_that_is_no_picture_and_has_no_classes_is_shown_as_numbers():
    x = np.linspace(0, 1, 300, dtype=np.float32).reshape(60, 5)
    panel = Data(kit.data.from_arrays(x, x.sum(1)))
    assert "<img" not in panel._samples.html + panel._steps.value
    assert "targets" in panel._balance.value
    assert panel.figure() is None
    assert panel.table()[2][0][0] == "samples"
    panel.sample.value = 2
    assert panel.frame.alert == ""


def test_class_names_are_escaped():
    x = np.zeros((20, 1, 4, 4), np.uint8)
    data = kit.data.from_arrays(x, np.arange(20) % 2, classes=["<script>", "b"])
    panel = Data(data)
    panel.of.value = "<script>"
    assert "<script>" not in panel._balance.value + panel._samples.html + panel._steps.value


def test_no_data_is_refused_at_once():
    with pytest.raises(DataError, match="expected a kit Dataset"):
        Data(None)
