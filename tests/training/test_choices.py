"""Schedules against PyTorch's own, optimizers fused where they can be, names for recipes."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from kit.training.choices import make_optimizer, name_of, schedule_function


@pytest.mark.parametrize("steps", [2, 5, 10, 33, 1000])
def test_onecycle_is_that_of_pytorch(steps):
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=steps, cycle_momentum=False
    )
    ours = schedule_function("onecycle")
    for step in range(steps):
        assert ours(step, steps) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        if step < steps - 1:
            theirs.step()


def test_cosine_is_that_of_pytorch():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40)
    for step in range(40):
        assert schedule_function("cosine")(step, 40) == pytest.approx(
            optimizer.param_groups[0]["lr"], abs=1e-9
        )
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("name", ["onecycle", "cosine", "constant"])
def test_a_run_of_one_step_moves(name):
    assert schedule_function(name)(0, 1) == 1.0


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "adagrad", torch.optim.Adam])
def test_fused_where_torch_can(optimizer):
    made = make_optimizer(optimizer, [nn.Parameter(torch.zeros(3))], lr=None, weight_decay=0.0)
    assert made.defaults["fused"] is True


def test_what_a_partial_fixes_stays_fixed():
    recipe = partial(torch.optim.SGD, lr=0.5, momentum=0.8)
    made = make_optimizer(recipe, [nn.Parameter(torch.zeros(3))], lr=None, weight_decay=0.01)
    assert made.defaults["lr"] == 0.5
    assert made.defaults["momentum"] == 0.8
    assert made.defaults["weight_decay"] == 0.01
    assert name_of(recipe) == "SGD(lr=0.5, momentum=0.8)"


def test_a_callable_takes_the_learning_rate_that_is_given():
    made = make_optimizer(
        lambda p: torch.optim.SGD(p, lr=0.5), [nn.Parameter(torch.zeros(3))], lr=0.1, weight_decay=0.0
    )
    assert made.param_groups[0]["lr"] == 0.1
