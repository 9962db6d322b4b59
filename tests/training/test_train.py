"""The verb: what it returns, what it leaves alone, and what bad input gets."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

import kit
from kit.errors import ArgumentError, DataError, DeviceError, ModelError
from kit.training import History


def state(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture(scope="module")
def small(fashion):
    return fashion.subset(1000, 300, 300)


@pytest.fixture(scope="module")
def line():
    """A regression task: two values that a linear map makes of ten, with a little noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 10)).astype(np.float32)
    y = x @ rng.normal(size=(10, 2)).astype(np.float32) + 0.01 * rng.normal(size=(600, 2)).astype(np.float32)
    return kit.data.from_arrays(x, y)


def net(outputs=10):
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, outputs))


def test_learns_and_returns_a_variant_with_its_history(small):
    model = net()
    before = state(model)
    trained = kit.train(model, small, epochs=6, lr=5e-3, name="dense")
    assert same(state(model), before), "the model that was given must not change"
    assert trained.name == "dense"
    assert trained.recipe[-1].verb == "train"
    assert trained.recipe[-1].settings["lr"] == 5e-3
    history = trained.report
    assert isinstance(history, History)
    assert [epoch.number for epoch in history.epochs] == [1, 2, 3, 4, 5, 6]
    assert history.stopped == "finished"
    assert history.best.valid_metric > 0.7
    assert not trained.module.training
    found = trained(small.valid.inputs).argmax(1) == small.valid.targets.numpy()
    assert found.mean() == pytest.approx(history.best.valid_metric), "the best weights are what is returned"


def test_a_seed_decides_and_the_callers_random_numbers_go_on(small):
    kit.device.seed_everything(5)
    expected = random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002
    kit.device.seed_everything(5)
    model = net()
    torch.manual_seed(5)
    runs = [state(kit.train(model, small, epochs=1, seed=seed).module) for seed in (3, 3, 4)]
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected  # noqa: NPY002


def test_a_busy_machine_is_said(small, monkeypatch):
    monkeypatch.setattr(kit.device, "load", lambda: 4.0)
    assert "busy (load 4.0 a core): threads=1" in str(kit.train(net(), small, epochs=1, threads=2).report)
    assert "busy" not in str(kit.train(net(), small, epochs=1, threads=1).report)


def test_threads_are_set_back(small):
    before = torch.get_num_threads()
    trained = kit.train(net(), small, epochs=1, threads=before + 1)
    assert trained.report.threads == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "loss", ["mse", "l1", "mae", "huber", "smooth_l1", nn.HuberLoss, nn.MSELoss(), "auto"]
)
def test_regression_losses(line, loss):
    trained = kit.train(nn.Linear(10, 2), line, epochs=30, loss=loss, lr=0.05, batch_size=64)
    assert trained.report.metric == "rmse"
    assert trained.report.best.valid_metric < 0.3 < float(line.valid.targets.std())


@pytest.mark.parametrize(
    "loss", ["cross_entropy", "bce", "mse", nn.CrossEntropyLoss, nn.MultiMarginLoss(), "auto"]
)
def test_classification_losses(small, loss):
    assert kit.train(net(), small, epochs=6, loss=loss, lr=5e-3).report.best.valid_metric > 0.6


def test_nll_wants_log_probabilities(small):
    with pytest.raises(ModelError, match="LogSoftmax"):
        kit.train(net(), small, epochs=1, loss="nll")
    honest = nn.Sequential(net(), nn.LogSoftmax(dim=1))
    assert kit.train(honest, small, epochs=3, loss="nll", lr=5e-3).report.best.valid_metric > 0.6


@pytest.mark.parametrize("flat", [False, True])
def test_one_output_for_two_classes(small, flat):
    upper = {
        name: (getattr(small, name).raw, (getattr(small, name).targets >= 5).long())
        for name in ("train", "valid", "test")
    }
    two = kit.data.from_arrays(*upper["train"], valid=upper["valid"], test=upper["test"])
    model = nn.Sequential(net(1), nn.Flatten(0)) if flat else net(1)
    trained = kit.train(model, two, epochs=6, loss="bce", lr=5e-3)
    assert trained.report.best.valid_metric > 0.85
    with pytest.raises(ModelError, match="2 classes; its last layer needs 2 outputs"):
        kit.train(model, two, epochs=1)


@pytest.mark.parametrize(
    "optimizer",
    [
        "adam",
        "adamw",
        "nadam",
        "radam",
        "rmsprop",
        "adagrad",
        "sgd",
        torch.optim.Adam,
        lambda p: torch.optim.SGD(p, lr=0.1),
    ],
)
def test_optimizers(small, optimizer):
    assert (
        kit.train(net(), small, epochs=6, optimizer=optimizer, batch_size=32).report.best.valid_metric > 0.4
    )


def test_a_callable_schedule_sets_the_learning_rate(small):
    trained = kit.train(net(), small, epochs=2, lr=0.01, schedule=lambda step, steps: 1 - step / steps)
    first, second = trained.report.epochs
    assert first.lr == pytest.approx(0.01 * (1 - 7 / 16))
    assert second.lr == pytest.approx(0.01 * (1 - 15 / 16))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"loss": "cross_entropi"}, "did you mean 'cross_entropy'"),
        ({"optimizer": "adamm"}, "did you mean 'adam'"),
        ({"schedule": "onecicle"}, "did you mean 'onecycle'"),
        ({"precision": "bf61"}, "did you mean 'bf16'"),
        ({"layout": "channel_last"}, "did you mean 'channels_last'"),
        ({"keep": "bset"}, "did you mean 'best'"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1"),
        ({"batch_size": 2.5}, "batch_size must be a whole number"),
        ({"lr": -1}, "lr must be a positive number"),
        ({"lr": float("nan")}, "lr must be a positive number"),
        ({"weight_decay": -1e-4}, "must not be negative"),
        ({"optimizer": torch.optim.LBFGS}, "steps once a batch"),
        ({"layout": "channels_last", "model": nn.Linear(10, 3)}, "needs .N, C, H, W. inputs"),
    ],
)
def test_bad_settings_get_one_line(small, setting, message):
    tabular = kit.data.from_arrays(np.random.default_rng(0).random((90, 10)), np.arange(90) % 3)
    model = setting.pop("model", None)
    with pytest.raises(ArgumentError, match=message) as caught:
        kit.train(model or net(), tabular if model else small, **setting)
    assert "\n" not in str(caught.value)


def test_an_optimizer_object_belongs_to_another_model(small):
    model = net()
    with pytest.raises(ArgumentError, match="another model's parameters"):
        kit.train(model, small, optimizer=torch.optim.Adam(model.parameters()))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 7)), "gives 7 outputs a sample, the data has 10 classes"),
        (nn.Sequential(nn.Flatten(), nn.Linear(100, 10)), "cannot take inputs of shape .N, 1, 28, 28."),
        (nn.Conv2d(1, 10, 3), "outputs have shape"),
        (nn.Flatten(), "784 outputs"),
        (nn.LSTM(28, 10), "cannot take inputs|one tensor"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_before_training(small, model, message):
    steps = []
    with pytest.raises(ModelError, match=message) as caught:
        kit.train(model, small, on_step=steps.append)
    assert "\n" not in str(caught.value)
    assert not steps


def test_normalisation_needs_two_samples(small):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 4), nn.BatchNorm1d(4), nn.Linear(4, 10))
    with pytest.raises(ArgumentError, match="batch_size=2 or more"):
        kit.train(model, small, batch_size=1)
    assert kit.train(net(), small.subset(5, 5, 5), epochs=1, batch_size=1).report.stopped == "finished"


def test_frozen_parameters(small):
    model = net()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(ModelError, match="nothing can be trained"):
        kit.train(model, small, epochs=1)
    model[3].requires_grad_(True)
    trained = kit.train(model, small, epochs=1).module
    assert torch.equal(trained[1].weight, model[1].weight)
    assert not torch.equal(trained[3].weight, model[3].weight)


def test_an_absent_gpu_is_named(small):
    absent = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(DeviceError, match="cuda"):
        kit.train(net(), small, device=absent)
    with pytest.raises(DeviceError, match="fp16 training needs a GPU"):
        kit.train(net(), small, device="cpu", precision="fp16")


def test_data_that_is_none():
    with pytest.raises(DataError, match="expected a kit Dataset"):
        kit.train(net(), 5)


@pytest.mark.parametrize("activation", [None, nn.ReLU()])
def test_reference_program_one(activation):
    """A two-layer net (10 → 20 → 10), Adam at 0.001, mean squared error, 1000 steps."""
    torch.manual_seed(0)
    inputs, targets = torch.randn(100, 10), torch.randn(100, 10)
    layers = [nn.Linear(10, 20), activation, nn.Linear(20, 10)]
    model = nn.Sequential(*(layer for layer in layers if layer is not None))
    data = kit.data.from_arrays(inputs, targets, valid=(inputs, targets), test=(inputs, targets))
    trained = kit.train(
        model, data, epochs=1000, batch_size=100, optimizer="adam", lr=0.001, loss="mse", schedule="constant"
    )

    reference = nn.Sequential(*(layer for layer in layers if layer is not None))
    optimizer = torch.optim.Adam(reference.parameters(), lr=0.001)
    for _ in range(1000):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(reference(inputs), targets)
        loss.backward()
        optimizer.step()
    assert len(trained.report.epochs) == 1000
    assert trained.report.epochs[-1].train_loss == pytest.approx(loss.item(), rel=1e-3)
