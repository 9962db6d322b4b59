"""Unstructured pruning: which weights are chosen, and that masks hold whatever trains the net."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import kit
from kit.compression.pruning import masks
from kit.errors import ArgumentError, ModelError


@pytest.fixture
def net():
    torch.manual_seed(0)
    return kit.models.lenet5()


def test_lamp_is_what_the_paper_says():
    torch.manual_seed(0)
    weight = torch.randn(5, 5)
    squares = weight.flatten() ** 2
    naive = torch.stack([own / squares[squares >= own].sum() for own in squares]).view(5, 5)
    torch.testing.assert_close(masks.lamp(weight), naive)
    assert masks.lamp(weight).max() == 1


def test_lamp_never_empties_a_layer_where_one_threshold_on_magnitudes_does():
    torch.manual_seed(0)
    weights = {"small": torch.randn(8, 8) / 100, "large": torch.randn(64, 64)}
    by_lamp = masks.global_masks(weights, 0.9, masks.lamp)
    by_size = masks.global_masks(weights, 0.9, masks.magnitude)
    assert by_lamp["small"].any()
    assert not by_size["small"].any()


@pytest.mark.parametrize("score", [masks.lamp, masks.magnitude])
def test_global_masks_keep_exactly_the_highest_scores(net, score):
    weights = masks.weights(net)
    chosen = masks.global_masks(weights, 0.9, score)
    total = sum(weight.numel() for weight in weights.values())
    assert sum(int((~mask).sum()) for mask in chosen.values()) == round(0.9 * total)
    kept = torch.cat([score(w)[chosen[n]] for n, w in weights.items()])
    gone = torch.cat([score(w)[~chosen[n]] for n, w in weights.items()])
    assert kept.min() >= gone.max()


def test_layer_masks_take_the_ratio_of_each_layer(net):
    weights = masks.weights(net)
    chosen = masks.layer_masks(weights, {"0": 0.2, "5": 0.75})
    assert set(chosen) == {"0", "5"}
    assert int((~chosen["0"]).sum()) == 100
    assert int((~chosen["5"]).sum()) == 300_000
    with pytest.raises(ArgumentError, match="unknown layer '55'; did you mean '5'"):
        masks.layer_masks(weights, {"55": 0.5})


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (4, 5)])
def test_n_of_m_along_the_inputs(n, m):
    torch.manual_seed(0)
    weights = {"conv": torch.randn(6, 20, 3, 3), "linear": torch.randn(7, 40), "odd": torch.randn(4, 21)}
    chosen = masks.n_m_masks(weights, n, m)
    assert set(chosen) == {"conv", "linear"}
    for name, mask in chosen.items():
        groups = mask.movedim(1, -1).reshape(-1, m)
        sizes = weights[name].abs().movedim(1, -1).reshape(-1, m)
        assert (groups.sum(1) == n).all()
        assert (sizes.masked_fill(~groups, torch.inf).amin(1) >= sizes.masked_fill(groups, 0).amax(1)).all()


@pytest.mark.parametrize("pattern", ["0:4", "4:4", "5:4"])
def test_a_pattern_that_keeps_nothing_or_all(pattern):
    with pytest.raises(ArgumentError, match="0 < n < m"):
        masks.parse_n_m(pattern)


def test_masks_hold_in_anyones_training_loop_until_they_are_removed(net, fashion):
    chosen = masks.global_masks(masks.weights(net), 0.8, masks.lamp)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)

    def step(start):
        inputs, targets = fashion.train[start : start + 128]
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(inputs), targets).backward()
        optimizer.step()

    def sparse():
        return all((net.get_submodule(name).weight[~mask] == 0).all() for name, mask in chosen.items())

    handle = masks.hold(optimizer, net, chosen)
    before = net[5].weight.detach().clone()
    for start in range(0, 512, 128):
        step(start)
    assert sparse()
    assert not torch.equal(net[5].weight, before)
    handle.remove()
    step(512)
    assert not sparse()
    masks.apply(net, chosen)
    assert sparse()


def test_protected_layers_and_their_near_misses(net):
    assert set(masks.weights(net, protect=["0", "7"])) == {"2", "5"}
    assert set(masks.weights(kit.models.convnet(), protect=["2", "4.body"])) == {"0.0", "1.0", "3.0", "7"}
    with pytest.raises(ArgumentError, match="unknown layer '8'"):
        masks.weights(net, protect=["8"])


def test_a_net_without_weights_to_mask():
    with pytest.raises(ModelError, match="nothing to prune"):
        masks.weights(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784)))
