"""Pooling in a channels-last net: the same numbers, and no gradient with channels first on its way."""

from __future__ import annotations

import copy

import torch
from torch import nn

import kit
from kit.training.pooling import channels_last_pooling


def gradients(model, inputs):
    model.zero_grad()
    model(inputs).square().mean().backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def test_outputs_and_gradients_are_the_same_to_the_last_bit():
    torch.manual_seed(0)
    model = kit.models.mobilenet(width=8).to(memory_format=torch.channels_last).train()
    inputs = torch.rand(32, 1, 28, 28)
    plain = gradients(copy.deepcopy(model), inputs)
    twin = copy.deepcopy(model)
    with channels_last_pooling(twin):
        arranged = gradients(twin, inputs)
    assert all(torch.equal(a, b) for a, b in zip(plain, arranged, strict=True))
    assert not any(layer._forward_hooks for layer in twin.modules())


def test_the_gradient_is_a_view_of_one_number_a_channel():
    strides = []
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.to(memory_format=torch.channels_last)
    model[1].register_full_backward_hook(lambda _layer, _below, above: strides.append(above[0].stride()[2:]))
    with channels_last_pooling(model):
        gradients(model, torch.rand(4, 1, 9, 9))
    gradients(model, torch.rand(4, 1, 9, 9))
    assert strides == [(0, 0), (7, 1)]


def test_other_pooling_is_left_alone():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    inputs = torch.rand(4, 1, 9, 9)
    plain = gradients(model, inputs)
    with channels_last_pooling(model):
        assert all(torch.equal(a, b) for a, b in zip(plain, gradients(model, inputs), strict=True))
