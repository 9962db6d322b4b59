"""`fit`, the engine of every verb that changes weights: objectives, hooks, progress, keep."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import kit
from kit.errors import ArgumentError
from kit.training import fit


@pytest.fixture(scope="module")
def small(fashion):
    return fashion.subset(1000, 300, 300)


def net():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))


def test_an_objective_sees_each_sample_once_an_epoch_and_where_it_stands(small):
    seen = []

    def objective(module, inputs, targets, index):
        assert torch.equal(inputs, small.train.inputs[index])
        assert torch.equal(targets, small.train.targets[index])
        seen.append(index)
        return nn.functional.cross_entropy(module(inputs), targets)

    fit(net(), small, objective, epochs=2)
    for epoch in (seen[:8], seen[8:]):
        assert torch.equal(torch.cat(epoch).sort().values, torch.arange(1000))
    assert not torch.equal(seen[0], seen[8])


def test_the_module_is_trained_in_place_and_left_ready(small):
    model = net()
    before = model[1].weight.clone()
    history = fit(model, small, epochs=6, lr=5e-3)
    assert not torch.equal(model[1].weight, before)
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert history.best.valid_metric > 0.6


def test_after_step_holds_masks(small):
    model = net()
    mask = torch.rand(model[1].weight.shape) < 0.5

    def hold(module):
        with torch.no_grad():
            module[1].weight.mul_(mask)

    hold(model)
    fit(model, small, epochs=1, after_step=hold)
    assert not bool(model[1].weight[~mask].any())
    assert bool(model[1].weight[mask].all())


def test_it_computes_what_a_plain_loop_computes(small):
    """Same order, same optimizer: the weights of PyTorch's own loop, to the rounding of fused Adam."""
    fast, plain = net(), net()
    fit(fast, small, epochs=1, lr=1e-3, schedule="constant", keep="last", seed=7, threads=1)
    torch.manual_seed(7)
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-3)
    for index in torch.randperm(1000).split(128):
        optimizer.zero_grad()
        nn.functional.cross_entropy(plain(small.train.inputs[index]), small.train.targets[index]).backward()
        optimizer.step()
    for a, b in zip(fast.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_keep_best_or_last(small):
    def rate(step, steps):
        return 1.0 if step < 24 else 200.0  # the last epoch spoils what was learnt

    kept, last = (
        kit.train(net(), small, epochs=4, lr=5e-3, schedule=rate, keep=keep) for keep in ("best", "last")
    )
    assert kept.report.best.number < 4
    answers = [
        (torch.from_numpy(v(small.valid.inputs)).argmax(1) == small.valid.targets).float().mean()
        for v in (kept, last)
    ]
    assert float(answers[0]) == pytest.approx(kept.report.best.valid_metric)
    assert float(answers[1]) == pytest.approx(last.report.epochs[-1].valid_metric)


def test_unknown_keywords_are_named_with_the_nearest(small):
    with pytest.raises(ArgumentError, match="unknown training setting 'epoch'; did you mean 'epochs'"):
        fit(net(), small, epoch=3)


def test_listeners_hear_every_step_and_epoch(small):
    steps, epochs = [], []
    kit.train(net(), small, epochs=2, on_step=steps.append, on_epoch=epochs.append)
    assert [(step.epoch, step.step, step.steps) for step in steps] == [
        (e, s, 8) for e in (1, 2) for s in range(1, 9)
    ]
    losses = torch.stack([step.loss for step in steps[:8]])
    sizes = torch.tensor([128.0] * 7 + [104.0])
    assert float((losses * sizes).sum() / 1000) == pytest.approx(epochs[0].train_loss, rel=1e-5)


@pytest.mark.parametrize(("progress", "shown"), [(True, True), (False, False), (None, False)])
def test_the_bar_is_silent_unless_asked_for_or_on_a_terminal(small, capsys, progress, shown):
    kit.train(net(), small, epochs=1, progress=progress)
    out, err = capsys.readouterr()
    assert not out
    assert ("valid accuracy" in err) == shown
    assert bool(err) == shown
