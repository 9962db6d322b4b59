"""Bytes as a training goal: the file fits, what it computes stays close, and the price does the choosing."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import kit
from kit.compression.packing import entropy
from kit.errors import ArgumentError

BUDGET = 4000


@pytest.fixture(scope="module")
def squeezed(trained, fashion):
    return kit.squeeze(trained, fashion, budget=BUDGET, epochs=6, lr=3e-3, batch_size=64, seed=0)


def test_the_packed_file_fits_and_hardly_anything_is_lost(trained, fashion, squeezed, tmp_path):
    path = kit.pack(squeezed.renamed(trained.name), tmp_path / "x.kit", history=False)
    assert path.stat().st_size == squeezed.report.bytes
    assert 0.9 * BUDGET < squeezed.report.bytes <= BUDGET
    loaded = kit.load(path)
    before, after = (float(kit.evaluate(v, fashion).score) for v in (trained, loaded))
    assert after > before - 0.03
    assert squeezed.report.nonzero < squeezed.report.parameters
    assert squeezed.report.ratio == pytest.approx(4 * squeezed.report.parameters / squeezed.report.bytes)
    assert f"{squeezed.report.bytes:,}" in str(squeezed.report)
    assert squeezed.report.to_dict()["budget"] == BUDGET


def test_without_a_price_the_same_bytes_cost_more(trained, fashion, squeezed):
    how = {"epochs": 6, "lr": 3e-3, "batch_size": 64, "seed": 0}
    plain = kit.squeeze(trained, fashion, budget=BUDGET, penalty=False, **how)
    assert plain.report.bytes <= BUDGET
    assert plain.report.price == 0 < squeezed.report.price
    assert plain.recipe[-1].settings["penalty"] is False
    # What is paid for is also cheaper to write: more weights are left in as many bytes.
    assert plain.report.nonzero < squeezed.report.nonzero
    assert float(plain.report.after) <= float(squeezed.report.after) + 0.005


def test_nothing_is_changed_in_place_and_the_result_is_plain(trained, squeezed):
    assert all(type(layer).__name__ != "ParametrizedConv2d" for layer in squeezed.module.modules())
    assert list(squeezed.module.state_dict()) == list(trained.module.state_dict())
    assert len(trained.module.state_dict()["0.0.weight"].unique()) > 50


def test_the_estimate_agrees_with_the_file(trained, tmp_path):
    """Dense and sparse nets: what training pays for is what the coder takes, within a few percent."""
    for scale in (0.3, 3.0):
        module = copy.deepcopy(trained.module)
        entropy.apply(module)
        with torch.no_grad():
            for layer in module.modules():
                if isinstance(layer, entropy.Grid):
                    layer.log_step += torch.tensor(scale).log()
        estimate = entropy.Rate(module).bits / 8
        entropy.remove(module)
        weights = nn.ModuleDict({"all": module})
        floats = sum(
            tensor.numel() * tensor.element_size()
            for name, tensor in weights.state_dict().items()
            if "running" in name or name.endswith((".1.weight", ".1.bias", ".4.weight", ".4.bias"))
        )
        size = kit.pack(trained.derive(module, "round", {}), tmp_path / "x.kit", history=False).stat().st_size
        assert estimate < size < estimate * 1.1 + floats + 300


def test_full_rows_and_columns_are_cheap():
    levels = torch.zeros(20, 30)
    levels[3], levels[:, 4] = 1, 2
    bits, first, further = entropy.price(levels)
    scattered = torch.zeros(600)
    scattered[torch.randperm(600, generator=torch.Generator().manual_seed(0))[:49]] = 1
    assert bits < entropy.price(scattered.view(20, 30))[0]
    assert first[3, 10] < first[5, 10]
    assert first[10, 4] < first[10, 10]
    assert further > 0


def test_the_penalty_pulls_every_weight_towards_zero():
    net = nn.Sequential(nn.Linear(20, 10))
    entropy.apply(net)
    rate = entropy.Rate(net)
    rate.penalty().backward()
    original = net[0].parametrizations["weight"].original
    assert torch.equal(original.grad.sign(), original.sign())


def test_a_hard_budget_is_kept_even_where_the_training_is_too_short_for_it(trained, fashion):
    assert kit.squeeze(trained, fashion, budget=2600, epochs=1).report.bytes <= 2600


def test_a_budget_out_of_reach_and_strange_teachers(trained, fashion):
    with pytest.raises(ArgumentError, match="out of reach: all but"):
        kit.squeeze(trained, fashion, budget=10)
    with pytest.raises(ArgumentError, match="do not belong"):
        kit.squeeze(trained, fashion, budget=4000, teacher=torch.zeros(7, 10))
