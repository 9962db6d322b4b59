from __future__ import annotations

import pytest
import torch

import kit
from kit.errors import ArgumentError, ModelError
from kit.models import Architecture, architecture_of, build, fit_to_weights

NETS = {"lenet_300_100": 266_610, "lenet5": 431_080, "convnet": 116_602, "mobilenet": 31_370}


@pytest.mark.parametrize(("name", "parameters"), NETS.items())
def test_sizes_are_those_documented(name, parameters):
    net = getattr(kit.models, name)()
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert net(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    assert f"{parameters:,}" in getattr(kit.models, name).__doc__


@pytest.mark.parametrize("name", NETS)
def test_a_net_is_rebuilt_from_its_architecture(name):
    net = getattr(kit.models, name)(classes=7).eval()
    twin = fit_to_weights(build(architecture_of(net)), net.state_dict()).eval()
    x = torch.rand(3, 1, 28, 28)
    assert torch.equal(net(x), twin(x))


@pytest.mark.parametrize("name", NETS)
def test_a_narrower_net_is_rebuilt_from_its_weights(name):
    """Weights of half the width, made by hand, load into the plan of the full net."""
    import torch_pruning as tp

    net = getattr(kit.models, name)().eval()
    example = torch.rand(2, 1, 28, 28)
    head = [m for m in net.modules() if isinstance(m, torch.nn.Linear)][-1]
    importance = tp.importance.MagnitudeImportance(p=2)
    tp.pruner.BasePruner(net, example, importance, pruning_ratio=0.5, ignored_layers=[head]).step()
    twin = fit_to_weights(build(Architecture(name)), net.state_dict()).eval()
    assert torch.equal(net(example), twin(example))
    widths = [m.out_channels for m in twin.modules() if isinstance(m, torch.nn.Conv2d)]
    assert widths == [m.out_channels for m in net.modules() if isinstance(m, torch.nn.Conv2d)]


def test_colour_and_other_sizes():
    for factory in (kit.models.convnet, kit.models.mobilenet):
        assert factory(classes=3, channels=3)(torch.zeros(1, 3, 9, 17)).shape == (1, 3)


def test_an_unknown_architecture_and_strange_weights():
    with pytest.raises(ArgumentError, match="did you mean 'convnet'"):
        build(Architecture("convnett"))
    weights = kit.models.lenet5().state_dict()
    with pytest.raises(ModelError, match="do not fit"):
        fit_to_weights(kit.models.lenet_300_100(), weights)


def test_a_module_of_ones_own_has_no_architecture():
    assert architecture_of(torch.nn.Linear(2, 2)) is None
