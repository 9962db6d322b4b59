"""`prune`: what becomes smaller, what stays as it was, and what it says about it."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import nn

import kit
from kit.compression.pruning import masks
from kit.compression.pruning.prune import schedule
from kit.errors import ArgumentError, ModelError
from kit.training import Stop


@pytest.fixture(scope="module")
def few(fashion):
    """So few images that an epoch takes a moment."""
    return fashion.subset(512, 256, 256)


@pytest.fixture(scope="module")
def slim(trained, few):
    return kit.prune(trained, few, ratio=0.5, round_to=4, lr=2e-3)


def parameters(variant):
    return sum(parameter.numel() for parameter in variant.module.parameters())


def zeros(variant):
    return sum(int((weight == 0).sum()) for weight in masks.weights(variant.module).values())


def test_structured_pruning_really_shrinks(slim, trained, few):
    assert slim.module[3][0].weight.shape == (16, 8, 3, 3)
    assert parameters(slim) == slim.report.after.total.parameters < 0.3 * parameters(trained)
    assert slim.report.after.total.macs < 0.3 * slim.report.before.total.macs
    assert slim.report.after.bytes < 0.4 * slim.report.before.bytes
    assert slim.name == f"{trained.name} pruned 50%"
    assert slim.parent is trained
    assert slim(few.test.inputs[:3].numpy()).shape == (3, 10)


def test_the_report_adds_up_and_is_fit_for_a_card(slim):
    for size in (slim.report.before, slim.report.after):
        for key in ("parameters", "nonzero", "macs"):
            assert sum(getattr(layer, key) for layer in size.layers) == getattr(size.total, key)
    card = json.loads(json.dumps({"report": slim.report.to_dict(), "step": dict(slim.recipe[-1].settings)}))
    assert card["report"]["whole"] == {"7": "gives the outputs"}
    assert card["report"]["pruned"]["n"] == 256
    assert card["step"] == {
        "ratio": 0.5,
        "method": "structured",
        "steps": 1,
        "finetune": 1,
        "distill": True,
        "lr": 0.002,
    }
    text = str(slim.report)
    assert "32×32×3×3 → 16×16×3×3" in text
    assert "7 was left whole: gives the outputs" in text
    assert slim.report._repr_html_().count("<tr>") == len(slim.report.rows())


def test_the_parent_is_not_changed(trained, few):
    before = copy.deepcopy(trained.module.state_dict())
    for method in ("structured", "lamp"):
        kit.prune(trained, few, method=method)
    assert all(torch.equal(before[key], value) for key, value in trained.module.state_dict().items())
    assert not trained.module.training


def test_a_pruned_net_is_saved_and_loaded_like_any_other(slim, tmp_path, few):
    loaded = kit.load(kit.save(slim, tmp_path / "slim"))
    inputs = few.test.inputs[:20].numpy()
    assert (loaded(inputs) == slim(inputs)).all()
    again = copy.deepcopy(slim.module)
    assert torch.equal(again(few.test.inputs[:20]), slim.module(few.test.inputs[:20]))


@pytest.mark.parametrize("build", [kit.models.mobilenet, kit.models.lenet5, kit.models.lenet_300_100])
def test_any_reference_net_can_be_pruned(build, few):
    net = build()
    slim = kit.prune(net, few, finetune=0)
    assert parameters(slim) < 0.5 * sum(parameter.numel() for parameter in net.parameters())
    assert kit.models.architecture_of(slim.module) == kit.models.architecture_of(net)


def test_fine_tuning_repairs_what_pruning_broke(trained, fashion):
    slim = kit.prune(trained, fashion, ratio=0.5, round_to=4, finetune=2, lr=5e-3)
    assert slim.report.damaged.high < slim.report.dense.low
    assert slim.report.pruned.low > slim.report.damaged.high
    assert len(slim.report.histories[0].epochs) == 2


@pytest.mark.parametrize(
    ("method", "ratio"), [("lamp", 0.9), ("magnitude", 0.9), ("layer_magnitude", 0.75), ("2:4", None)]
)
def test_masked_weights_are_exactly_zero_after_fine_tuning(method, ratio, trained, few):
    sparse = kit.prune(trained, few, method=method, ratio=ratio)
    total = sum(weight.numel() for weight in masks.weights(sparse.module).values())
    expected = {None: total / 2 - 36}.get(
        ratio, (ratio or 0) * total
    )  # 2:4 leaves the first layer's 72 whole
    assert abs(zeros(sparse) - expected) <= 4  # ratios are rounded layer by layer
    assert sparse.report.after.total.nonzero == parameters(sparse) - zeros(sparse)
    assert set(sparse.module.state_dict()) == set(trained.module.state_dict())
    assert not torch.equal(sparse.module[7].bias, trained.module[7].bias)
    assert sparse.report.after.bytes == sparse.report.before.bytes


def test_little_by_little(trained, few):
    assert [schedule(step, 2) for step in (1, 2)] == [0.875, 1.0]
    sparse = kit.prune(trained, few, ratio=0.8, method="lamp", steps=3)
    assert len(sparse.report.histories) == 3
    assert zeros(sparse) == round(
        0.8 * sum(weight.numel() for weight in masks.weights(sparse.module).values())
    )
    slim = kit.prune(trained, few, ratio=0.5, round_to=4, steps=2, finetune=0)
    assert parameters(slim) == parameters(kit.prune(trained, few, ratio=0.5, round_to=4, finetune=0))


def test_a_run_that_is_stopped_ends_where_it_stands(trained, few):
    def stop(_epoch):
        raise Stop

    sparse = kit.prune(trained, few, ratio=0.8, method="lamp", steps=3, on_epoch=stop)
    total = sum(weight.numel() for weight in masks.weights(sparse.module).values())
    assert len(sparse.report.histories) == 1
    assert zeros(sparse) == round(0.8 * schedule(1, 3) * total)
    assert sparse.recipe[-1].settings["ratio"] == pytest.approx(0.8 * schedule(1, 3))


def test_the_teacher_answers_each_sample_once_and_only_when_asked_to(trained, few):
    asked = []
    parent = copy.deepcopy(trained.module)
    parent.register_forward_hook(
        lambda net, inputs, _output: asked.append(len(inputs[0]) if net is parent else 0)
    )

    def samples(**settings):
        asked.clear()
        kit.prune(parent, few, ratio=0.5, method="lamp", **settings)
        return sum(asked)

    without = samples(distill=False)
    assert samples(finetune=1) == without + 512
    assert samples(finetune=2, steps=2) == without + 512
    assert samples(finetune=0) == without


def test_the_same_seed_gives_the_same_net(trained, few):
    first, second = (kit.prune(trained, few, ratio=0.5, method="lamp", seed=3) for _ in range(2))
    for mine, other in zip(first.module.parameters(), second.module.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_ratios_by_layer_and_protected_layers(trained, few):
    slim = kit.prune(trained, few, ratio={"4.body.0": 0.75}, round_to=1, finetune=0)
    assert [layer.shape for layer in slim.report.after.layers][5] == (8, 32, 3, 3)
    assert slim.name.endswith("pruned by layer")
    kept = kit.prune(trained, few, ratio=0.5, round_to=4, protect=["4"], finetune=0)
    assert kept.module[4].body[0].weight.shape == (32, 32, 3, 3)
    assert kept.report.whole["4.body.0"] == "protected"


@pytest.mark.parametrize("ratio", [1.0, 1, -0.1, float("nan"), "half", True, {"7": 1.0}])
def test_a_ratio_out_of_range(ratio, trained, few):
    with pytest.raises(ArgumentError, match="ratio must be a number from 0"):
        kit.prune(trained, few, ratio=ratio)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "lump"}, "unknown method 'lump'; did you mean 'lamp'"),
        ({"method": "lamp", "ratio": {"0.0": 0.5}}, "finds the ratio of each layer itself"),
        ({"method": "2:4", "ratio": 0.9}, "removes 0.5 at once"),
        ({"method": "4:2"}, "0 < n < m"),
        ({"ratio": {"0.9": 0.5}}, "unknown layer '0.9'; did you mean"),
        ({"ratio": 0.1, "round_to": 32}, "leaves every layer whole"),
        ({"protect": ["9"]}, "unknown layer '9'"),
        ({"steps": 0}, "steps must be a whole number of at least 1"),
        ({"finetune": -1}, "finetune must be a whole number of at least 0"),
        ({"epochs": 3}, "takes finetune="),
        ({"temprature": 2}, "unknown training setting 'temprature'"),
        ({"weight": 1.5}, "weight must lie between 0"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_arguments_that_do_not_fit(settings, message, trained, few):
    with pytest.raises(ArgumentError, match=message):
        kit.prune(trained, few, **settings)


def test_nothing_to_prune(few):
    with pytest.raises(ModelError, match="no channels to prune: '1' gives the outputs"):
        kit.prune(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), few)
    with pytest.raises(ModelError, match="nothing to prune"):
        kit.prune(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784)), few, method="lamp")


def test_a_net_with_computed_weights_is_refused(trained, few):
    net = copy.deepcopy(trained.module)
    nn.utils.parametrizations.weight_norm(net[3][0])
    for method in ("structured", "lamp"):
        with pytest.raises(ModelError, match=r"the weight of layer '3.0' is computed"):
            kit.prune(net, few, method=method)
