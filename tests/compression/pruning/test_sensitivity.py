"""`sensitivity`: each layer alone, on the validation split."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

import kit
from kit.errors import ArgumentError, ModelError


@pytest.fixture(scope="module")
def scan(trained, fashion):
    return kit.sensitivity(trained, fashion, ratios=(0.5, 0.125), samples=400)


def test_each_group_of_layers_is_scanned_at_each_ratio(scan):
    assert list(scan.scores) == ["0.0", "1.0", "2.body.0", "3.0", "4.body.0"]
    assert scan.grid == (0.125, 0.5)
    assert scan.coupled["1.0"] == ("1.0", "2.body.3")
    assert all(score.n == 400 for row in scan.scores.values() for score in row)
    assert min(row[0].value for row in scan.scores.values()) > 0.3
    assert min(row[1].value for row in scan.scores.values()) < scan.dense.low


def test_a_score_is_the_accuracy_of_the_net_pruned_in_that_layer(scan, trained, fashion):
    slim = kit.prune(trained, fashion, ratio={"3.0": 0.5}, round_to=1, finetune=0)
    few = fashion.valid.take(400)
    right = slim(few.inputs.numpy()).argmax(1) == few.targets.numpy()
    assert scan.scores["3.0"][1].value == np.mean(right)


def test_ratios_bear_the_drop_and_go_into_prune(scan, trained, fashion):
    ratios = scan.ratios(max_drop=5)
    for layer, ratio in ratios.items():
        assert all(d <= 5.001 for r, d in zip(scan.grid, scan.drops(layer), strict=True) if r <= ratio)
    assert sum(ratios.values()) <= sum(scan.ratios(max_drop=20).values())
    assert set(scan.ratios(max_drop=100).values()) == {0.5}
    slim = kit.prune(trained, fashion.subset(256, 128, 128), ratio=scan.ratios(20), round_to=1, finetune=0)
    assert slim.report.after.total.parameters < slim.report.before.total.parameters
    with pytest.raises(ArgumentError, match="cannot be negative"):
        scan.ratios(max_drop=-1)
    hard = kit.sensitivity(trained, fashion, ratios=[0.9], samples=400)
    with pytest.raises(ArgumentError, match=r"no layer bears a drop of at most 0, even at ratio 0.9"):
        hard.ratios(max_drop=0)


def test_single_weights_are_scanned_layer_by_layer(trained, fashion):
    before = copy.deepcopy(trained.module.state_dict())
    scan = kit.sensitivity(trained, fashion, ratios=[0.1, 0.9], method="layer_magnitude", samples=400)
    assert list(scan.scores) == ["0.0", "1.0", "2.body.0", "2.body.3", "3.0", "4.body.0", "4.body.3", "7"]
    assert all(torch.equal(before[key], value) for key, value in trained.module.state_dict().items())
    sparse = kit.prune(
        trained, fashion.subset(256, 128, 128), ratio={"7": 0.9}, method="layer_magnitude", finetune=0
    )
    few = fashion.valid.take(400)
    right = sparse(few.inputs.numpy()).argmax(1) == few.targets.numpy()
    assert scan.scores["7"][1].value == np.mean(right)


def test_table_plot_and_dictionary(scan):
    lines = str(scan).splitlines()
    assert lines[1].split() == ["layer", "12%", "50%"]
    assert len(lines) == 7
    assert scan._repr_html_().count("<tr>") == 6
    assert len(scan.plot().axes) >= 5
    assert json.loads(json.dumps(scan.to_dict()))["coupled"]["3.0"] == ["3.0", "4.body.3"]


def test_the_estimate_for_one_layer_is_its_score_and_for_several_their_product(scan):
    dense = scan.dense.value
    assert scan.expected({}) == dense
    for layer, row in scan.scores.items():
        assert scan.expected({layer: 0.5}) == pytest.approx(row[1].value)
        assert scan.expected({layer: 0.9}) == pytest.approx(row[1].value)
    a, b = (scan.scores[layer][0].value for layer in ("3.0", "4.body.0"))
    assert scan.expected({"3.0": 0.125, "4.body.0": 0.125}) == pytest.approx(a * b / dense)


def test_regression_counts_how_much_the_error_grows():
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(600, 8)).astype(np.float32)
    data = kit.data.from_arrays(inputs, inputs @ generator.normal(size=(8, 2)).astype(np.float32))
    net = kit.train(nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2)), data, epochs=20, lr=1e-2)
    scan = kit.sensitivity(net, data, ratios=[0.5])
    assert scan.metric == "RMSE"
    assert scan.drops("0")[0] == pytest.approx(100 * (scan.scores["0"][0].value / scan.dense.value - 1))
    assert scan.drops("0")[0] > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ratios": []}, "needs fractions above 0"),
        ({"ratios": [0.0, 0.5]}, "needs fractions above 0"),
        ({"ratios": [1.0]}, "ratio must be a number from 0"),
        ({"method": "magnitud"}, "unknown method 'magnitud'; did you mean 'layer_magnitude'"),
        ({"protect": ["x"]}, "unknown layer 'x'"),
    ],
)
def test_arguments_that_do_not_fit(settings, message, trained, fashion):
    with pytest.raises(ArgumentError, match=message):
        kit.sensitivity(trained, fashion, **settings)


def test_nothing_to_scan(fashion):
    with pytest.raises(ModelError, match="no layer that may lose channels"):
        kit.sensitivity(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), fashion)
