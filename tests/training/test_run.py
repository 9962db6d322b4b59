"""Losses that are not finite: the very step and the layer are named, without a wait in every step."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import nn

import kit
from kit.errors import DivergedError
from kit.training import fit


@pytest.fixture(scope="module")
def small(fashion):
    return fashion.subset(1000, 100, 100)


def net():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))


@pytest.mark.parametrize("epoch", [1, 2])
@pytest.mark.parametrize("step", [1, 2, 6, 8])
def test_the_step_and_the_layer_are_named(small, epoch, step):
    """The loss of the batch that holds one poisoned sample is NaN."""
    torch.manual_seed(0)
    order = [torch.randperm(1000) for _ in range(epoch)][-1]
    poisoned, epochs = order[128 * (step - 1)], []

    def objective(module, inputs, targets, index):
        loss = nn.functional.cross_entropy(module(inputs), targets)
        return loss * torch.where((index == poisoned).any() & (len(epochs) == epoch - 1), torch.nan, 1.0)

    with pytest.raises(DivergedError) as caught:
        fit(net(), small, objective, epochs=2, on_epoch=epochs.append)
    assert f"the loss became nan at step {step} of epoch {epoch};" in str(caught.value)
    assert re.search(r"largest gradient was \S+ in layer '[13]\.(weight|bias)'", str(caught.value))


def test_what_is_named_is_what_a_plain_loop_finds(small):
    model = net()
    twin = copy.deepcopy(model)
    gradients = []

    def remember(module):
        gradients.append(max(float(p.grad.abs().max()) for p in module.parameters()))

    with pytest.raises(DivergedError, match=r"Lower the learning rate \(its peak is 1e\+37\)") as caught:
        fit(model, small, epochs=1, optimizer="sgd", lr=1e37, schedule="constant")
    step = int(re.search(r"step (\d+)", str(caught.value))[1])
    named = float(re.search(r"largest gradient was (\S+)", str(caught.value))[1])

    torch.manual_seed(0)
    optimizer = torch.optim.SGD(twin.parameters(), lr=1e37, momentum=0.9, nesterov=True)
    for index in torch.randperm(1000).split(128):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(twin(small.train.inputs[index]), small.train.targets[index])
        if not torch.isfinite(loss):
            break
        loss.backward()
        remember(twin)
        optimizer.step()
    assert step == len(gradients) + 1
    assert named == pytest.approx(gradients[-1], rel=0.01)


def test_a_loss_that_refuses_nan_is_told_apart_from_a_bug(small):
    model = nn.Sequential(net(), nn.Sigmoid())
    with pytest.raises(DivergedError, match="became nan at step"):
        fit(model, small, epochs=3, loss=nn.BCELoss(), optimizer="sgd", lr=1e38, schedule="constant")

    def broken(module, inputs, targets, index):
        return module(inputs) @ targets

    with pytest.raises(RuntimeError):
        fit(net(), small, broken, epochs=1)


def test_the_best_weights_survive_a_divergence(small):
    model, epochs = net(), []

    def rise(step, steps):
        return 1.0 if step < 8 else 1e38

    with pytest.raises(DivergedError):
        fit(model, small, epochs=3, optimizer="sgd", lr=0.05, schedule=rise, on_epoch=epochs.append)
    with torch.no_grad():
        found = (model(small.valid.inputs).argmax(1) == small.valid.targets).float().mean()
    assert float(found) == pytest.approx(max(epoch.valid_metric for epoch in epochs))


def test_no_step_waits_for_its_loss(small, monkeypatch):
    """To read a number from a tensor is to wait for the device: count how often that happens."""
    waits = []
    original = torch.Tensor.item
    monkeypatch.setattr(torch.Tensor, "item", lambda self: waits.append(1) or original(self))
    for name in ("__float__", "__int__", "__bool__"):
        plain = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda self, plain=plain: waits.append(1) or plain(self))
    counts = []
    for batch_size in (250, 10):
        waits.clear()
        kit.train(net(), small, epochs=1, batch_size=batch_size)
        counts.append(len(waits))
    assert counts[0] == counts[1], "25 times the steps, and not one wait more"


def test_a_last_batch_of_one_does_not_break_normalisation(small):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.BatchNorm1d(16), nn.Linear(16, 10))
    trained = kit.train(model, small.subset(257, 50, 50), epochs=1, batch_size=128)
    assert trained.report.stopped == "finished"
