from __future__ import annotations

import pytest
import torch
from torch import nn

import kit
from kit.compression.pruning import structured
from kit.compression.pruning.outlook import Outlook
from kit.errors import ArgumentError, ModelError
from kit.measurement import size


class Branches(nn.Module):
    """Two branches that are joined, a grouped convolution and a flattened end."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(1, 24, 3, padding=1)
        self.mix, self.norm = nn.Conv2d(40, 16, 1), nn.BatchNorm2d(16)
        self.end = nn.Linear(16 * 49, 10)

    def forward(self, x):
        joined = torch.cat([self.left(x), self.right(x)], 1).relu()
        return self.end(nn.functional.max_pool2d(self.norm(self.mix(joined)), 4).flatten(1))


NETS = {
    "convnet": kit.models.convnet,
    "mobilenet": kit.models.mobilenet,
    "lenet5": kit.models.lenet5,
    "lenet_300_100": kit.models.lenet_300_100,
    "branches": Branches,
}


@pytest.fixture(scope="module")
def few(fashion):
    return fashion.subset(50, 20, 20)


@pytest.mark.parametrize("name", NETS)
def test_the_sizes_are_those_of_the_net_that_is_built(name, few):
    net = NETS[name]()
    outlook, example = Outlook(net, few), few.train.inputs[:2]
    groups = structured.coupled(net, example)
    for ratio in (0.0, 0.3, 0.9):
        expected = outlook.at(ratio)
        slim = structured.shrink(net, example, structured.widths(groups, ratio))
        assert expected.parameters == size.parameters(slim)
        assert expected.macs == size.macs(slim, few.signature)
        assert abs(expected.bytes - size.bytes_on_disk(slim)) < 200


def test_a_ratio_for_each_layer(few):
    net = kit.models.convnet()
    outlook = Outlook(net, few)
    ratios = {group.name: 0.5 * (i % 2) for i, group in enumerate(outlook.groups)}
    expected = outlook.at(ratios)
    assert expected.ratios == ratios
    groups = structured.coupled(net, few.train.inputs[:2])
    slim = structured.shrink(net, few.train.inputs[:2], structured.widths(groups, ratios))
    assert expected.parameters == size.parameters(slim)


def test_what_cannot_be_pruned_is_refused(few):
    with pytest.raises(ModelError, match="no layer that may lose channels"):
        Outlook(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), few)
    with pytest.raises(ArgumentError):
        Outlook(kit.models.lenet5(), few).at({"no such": 0.5})
