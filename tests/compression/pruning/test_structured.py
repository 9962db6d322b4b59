"""Structured pruning: what is removed together, what must stay, and that nothing else changes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import kit
from kit.compression.pruning.structured import coupled, shrink, widths
from kit.errors import ArgumentError, ModelError


class Branches(nn.Module):
    """A net with a concatenation, a shortcut, a grouped convolution and a softmax at the end."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.side = nn.Conv2d(8, 6, 3, padding=1)
        self.mixed = nn.Conv2d(14, 8, 3, padding=1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.hidden = nn.Linear(8 * 49, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        a = torch.relu(self.norm(self.first(x)))
        b = torch.relu(self.side(a))
        c = torch.relu(self.grouped(self.mixed(torch.cat([a, b], 1))) + a)
        c = nn.functional.adaptive_avg_pool2d(c, 7).flatten(1)
        return self.head(torch.relu(self.hidden(c))).log_softmax(1)


class Rigid(nn.Module):
    """A net with its input added to its features, and with a size written into its code."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Conv2d(1, 8, 3, padding=1)
        self.onto_input = nn.Conv2d(8, 1, 3, padding=1)
        self.before_view = nn.Conv2d(1, 16, 4, 4)
        self.head = nn.Linear(16 * 49, 10)

    def forward(self, x):
        x = x + self.onto_input(torch.relu(self.inner(x)))
        return self.head(self.before_view(x).view(-1, 16 * 49))


NETS = [kit.models.convnet, kit.models.mobilenet, kit.models.lenet5, kit.models.lenet_300_100, Branches]


@pytest.fixture
def images(fashion):
    return fashion.train.inputs[:16]


def parameters(net):
    return sum(parameter.numel() for parameter in net.parameters())


def lived_in(net):
    """Give batch norms statistics and scales as after training, so that they are no identities."""
    generator = torch.Generator().manual_seed(0)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.running_mean, layer.bias.data):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / 4)
            for tensor in (layer.running_var, layer.weight.data):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return net.eval()


def kill(net, group, channels):
    """Make the layers of a group give nothing but zeros on the given channels."""
    layers = list(net.named_modules())
    for position, (name, layer) in enumerate(layers):
        if name not in group.layers:
            continue
        following = layers[position + 1][1] if position + 1 < len(layers) else None
        for part in (layer, following if isinstance(following, nn.BatchNorm2d) else None):
            for parameter in part.parameters(recurse=False) if part is not None else ():
                parameter.data[channels] = 0


@pytest.mark.parametrize("build", NETS, ids=lambda build: build.__name__)
def test_channels_that_give_nothing_leave_without_a_trace(build, images):
    torch.manual_seed(0)
    net = lived_in(build())
    keep = {}
    for group in coupled(net, images):
        if not group.fixed:
            size = group.channels // group.blocks
            dead = [b * size + i for b in range(group.blocks) for i in range(0, size, 2)]
            kill(net, group, dead)
            keep[group.name] = group.channels - len(dead)

    slim = shrink(net, images, keep)

    assert parameters(slim) < 0.6 * parameters(net)
    torch.testing.assert_close(slim(images), net(images), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("build", NETS[:4], ids=lambda build: build.__name__)
def test_a_smaller_net_is_rebuilt_from_its_architecture_and_weights(build, images):
    net = lived_in(build())
    slim = shrink(net, images, widths(coupled(net, images), 0.5))
    rebuilt = kit.models.fit_to_weights(kit.models.build(kit.models.architecture_of(slim)), slim.state_dict())
    assert torch.equal(rebuilt.eval()(images), slim(images))


def test_what_goes_in_is_not_changed(images):
    net = kit.models.convnet()
    net[0].requires_grad_(requires_grad=False)
    before = copy.deepcopy(net.state_dict())
    slim = shrink(net, images, widths(coupled(net, images), 0.5))
    assert net.training
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert slim.training
    assert [p.requires_grad for p in slim.parameters()] == [p.requires_grad for p in net.parameters()]
    assert not any(layer._forward_hooks for layer in slim.modules())


def test_a_shortcut_and_a_depthwise_convolution_couple_layers(images):
    groups = {group.name: group.layers for group in coupled(kit.models.convnet(), images)}
    assert groups["1.0"] == ("1.0", "2.body.3")
    assert groups["2.body.0"] == ("2.body.0",)
    depthwise = {group.name: group.layers for group in coupled(kit.models.mobilenet(), images)}
    assert depthwise["1.3"] == ("1.3", "2.0")


@pytest.mark.parametrize(
    ("net", "fixed"),
    [
        (kit.models.convnet(), {"7": "gives the outputs"}),
        (Branches(), {"head": "gives the outputs"}),
        (
            nn.Sequential(
                nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
            ),
            {"2": "gives the outputs"},
        ),
        (Rigid(), {"before_view": "the net breaks without it", "head": "gives the outputs"}),
    ],
    ids=["linear", "softmax", "convolution", "rigid"],
)
def test_what_must_not_shrink_is_found(net, fixed, images):
    groups = coupled(net, images)
    assert {group.name: group.fixed for group in groups if group.fixed} == fixed
    slim = shrink(net, images, widths(groups, 0.5, round_to=1))
    assert slim(images).shape == (16, 10)


def test_layers_can_be_protected_by_name_or_by_container(images):
    net = kit.models.convnet()
    fixed = {group.name for group in coupled(net, images, protect=["2", "0.0"]) if group.fixed == "protected"}
    assert fixed == {"0.0", "1.0", "2.body.0"}  # 1.0 is added to what comes out of 2
    with pytest.raises(ArgumentError, match=r"unknown layer '2.bodi.0'; did you mean '2.body.0'"):
        coupled(net, images, protect=["2.bodi.0"])


def test_widths_are_rounded_to_whole_blocks(images):
    groups = coupled(kit.models.lenet5(), images)
    assert widths(groups, 0.5) == {"0": 8, "2": 24, "5": 248}
    assert widths(groups, 0.5, round_to=1) == {"0": 10, "2": 25, "5": 250}
    assert widths(groups, 0.99) == {"0": 8, "2": 8, "5": 8}
    assert widths(groups, 0.0) == {"0": 20, "2": 50, "5": 500}
    assert widths(coupled(Branches(), images), 0.5, round_to=1)["mixed"] == 4


def test_ratios_by_layer(images):
    groups = coupled(kit.models.convnet(), images)
    assert widths(groups, {"2.body.3": 0.5, "3.0": 0.25}) == {
        "0.0": 16,
        "1.0": 16,
        "2.body.0": 32,
        "3.0": 48,
        "4.body.0": 64,
    }
    with pytest.raises(ArgumentError, match=r"unknown layer '3.1'; did you mean '3.0'"):
        widths(groups, {"3.1": 0.5})
    with pytest.raises(ArgumentError, match=r"layer '7' must keep its width \(gives the outputs\)"):
        widths(groups, {"7": 0.5})
    with pytest.raises(ArgumentError, match=r"'1.0' and '2.body.3' share their channels"):
        widths(groups, {"1.0": 0.5, "2.body.3": 0.25})


def test_a_net_that_cannot_be_traced_says_so(images):
    class Detached(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(784, 10)

        def forward(self, x):
            return self.layer(x.flatten(1)).detach()

    with pytest.raises(ModelError, match="Detached cannot be traced for pruning"):
        coupled(Detached(), images)
