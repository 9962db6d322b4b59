from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from kit.compression.quantization.rounding import round_layer, weighted_layers
from kit.errors import ArgumentError


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))
    with torch.no_grad():
        net[0].weight[0] *= 100  # one output that is much larger than the others
    return net


def test_layers_are_those_with_weights_of_two_dimensions(net):
    assert {name: w.shape for name, w in weighted_layers(net).items()} == {"0": (4, 9), "3": (3, 16)}


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_every_weight_moves_to_the_nearest_level(net, bits):
    found = round_layer(net, "3", bits=bits)
    for row in range(3):
        levels = found.levels(row)
        assert levels.size == 2**bits - 1
        nearest = levels[np.abs(found.weights[row][:, None] - levels).argmin(1)]
        assert np.allclose(found.rounded[row], nearest, atol=1e-6)


def test_one_scale_for_all_drowns_the_small_outputs(net):
    fine, coarse = (round_layer(net, "0", bits=8, per_channel=p) for p in (True, False))
    small = slice(1, None)
    error = [np.abs(r.weights[small] - r.rounded[small]).mean() for r in (fine, coarse)]
    assert error[1] > 10 * error[0]
    assert coarse.levels(0).tolist() == coarse.levels(3).tolist()


def test_six_decibels_more_for_each_bit():
    net = nn.Sequential(nn.Linear(2000, 20))
    snr = [round_layer(net, "0", bits=bits).snr for bits in (5, 6, 7, 8)]
    assert np.diff(snr) == pytest.approx(6, abs=0.7)


def test_wrong_names_and_bits(net):
    with pytest.raises(ArgumentError, match="unknown layer 'x'"):
        round_layer(net, "x")
    with pytest.raises(ArgumentError, match="from 2 to 8"):
        round_layer(net, "0", bits=1)
