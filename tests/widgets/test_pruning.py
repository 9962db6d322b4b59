from __future__ import annotations

import asyncio

import pytest
from torch import nn

import kit
from kit.errors import ArgumentError, ModelError
from kit.measurement import size
from kit.widgets import Pruning


@pytest.fixture(scope="module")
def few(fashion):
    return fashion.subset(1000, 400, 300)


@pytest.fixture
def panel(trained, few):
    return Pruning(trained, few, ratio=0.5, finetune=0)


def test_the_promised_sizes_are_those_of_the_net_that_is_made(panel, trained):
    promised = panel._outlook.at(0.5)
    slim = asyncio.run(panel.run())
    assert size.parameters(slim) == promised.parameters
    assert size.macs(slim) == promised.macs
    assert size.bytes_on_disk(slim) == pytest.approx(promised.bytes, abs=200)
    assert f"{promised.parameters:,}" in panel._sizes.value
    assert "parameters" in panel.frame.status
    assert panel.table()[1][0] == "layer"


def test_dragging_changes_sizes_and_code_at_once(panel):
    before = panel._sizes.value
    panel.ratio.value = 75
    assert panel._sizes.value != before
    assert panel.code == "kit.prune(model, data, ratio=0.75, finetune=0)"


def test_a_slider_for_each_layer_begins_where_the_one_for_all_stood(panel):
    panel.ratio.value = 30
    panel.mode.value = "a ratio for each layer"
    assert {slider.value for slider in panel.ratios.values()} == {30}
    assert len(panel._sliders.children) == len(panel.ratios) > 1
    first = next(iter(panel.ratios))
    panel.ratios[first].value = 0
    assert panel.chosen[first] == 0
    assert f"'{first}': 0" in panel.code


def test_the_estimate_appears_with_the_scan_and_follows_the_sliders(panel):
    assert "estimated" not in panel._sizes.value
    panel.scan()
    asyncio.run(panel.wait())
    panel.ratio.value = 0
    assert f"{panel.scanned.dense.value:.1%}" in panel._sizes.value
    estimates = []
    for value in (0, 50, 90):
        panel.ratio.value = value
        estimates.append(panel.scanned.expected(panel._outlook.at(panel.chosen).ratios))
    assert estimates[0] > estimates[1] > estimates[2]
    assert panel.result is None  # a scan is no variant
    assert "<svg" in panel._scan.value


def test_dragging_during_fine_tuning_counts_for_the_next_time(trained, few):
    panel = Pruning(trained, few, ratio=0.5, finetune=1)

    async def session():
        panel._begin.click()
        while not panel._live._train.x:
            panel.ratio.value = (panel.ratio.value + 10) % 90
            await asyncio.sleep(0.01)
        panel._begin.click()
        assert "still working" in panel.frame.alert
        return await panel.wait()

    slim = asyncio.run(session())
    assert slim.recipe[-1].settings["ratio"] == 0.5


def test_stop_during_fine_tuning_keeps_what_there_is(trained, few):
    panel = Pruning(trained, few, ratio=0.5, finetune=500)

    async def session():
        panel._begin.click()
        while not panel._live._train.x:
            await asyncio.sleep(0.01)
        panel._stop.click()
        return await panel.wait()

    slim = asyncio.run(session())
    assert panel.frame.status.startswith("Stopped")
    assert size.parameters(slim) < size.parameters(trained)


def test_a_wrong_setting_is_said_and_nothing_dies(trained, few):
    panel = Pruning(trained, few, finetune=0, method="no such")
    panel._begin.click()
    with pytest.raises(ArgumentError):
        asyncio.run(panel.wait())
    assert "unknown method" in panel.frame.alert
    assert not panel._begin.disabled


def test_a_net_without_channels_is_refused_at_once(few):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    with pytest.raises(ModelError, match="no layer that may lose channels"):
        Pruning(net, few)


def test_the_line_of_code_does_the_same(trained, few):
    panel = Pruning(trained, few, ratio=0.25, finetune=0)
    ours = asyncio.run(panel.run())
    theirs = eval(panel.code, {"kit": kit, "model": trained, "data": few})
    assert size.parameters(ours) == size.parameters(theirs)
