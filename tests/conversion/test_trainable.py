"""`Graph`: an ONNX file in PyTorch gives what the file gives, and learns."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import kit
from kit.conversion.trainable import Graph
from kit.errors import ModelError


class Attention(nn.Module):
    """A small transformer block over the rows of an image."""

    def __init__(self):
        super().__init__()
        self.embed, self.first, self.last = nn.Linear(28, 16), nn.LayerNorm(16), nn.Linear(16, 10)
        self.query, self.key, self.value = (nn.Linear(16, 16) for _ in range(3))
        self.hidden, self.back = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x):
        x = self.first(self.embed(x[:, 0]))
        heads = [part(x).reshape(-1, 28, 2, 8).transpose(1, 2) for part in (self.query, self.key, self.value)]
        weights = (heads[0] @ heads[1].transpose(2, 3) / 8**0.5).softmax(-1)
        x = x + (weights @ heads[2]).transpose(1, 2).reshape(-1, 28, 16)
        return self.last((x + self.back(nn.functional.gelu(self.hidden(x)))).mean(1))


class Pooled(nn.Module):
    """Poolings, uneven padding, other activations."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.ZeroPad2d((1, 0, 2, 1)),
            nn.Conv2d(1, 6, 3, stride=2, dilation=2),
            nn.BatchNorm2d(6),
            nn.LeakyReLU(0.2),
            nn.MaxPool2d(3, 2, padding=1),
            nn.Hardswish(),
            nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False),
            nn.Flatten(),
            nn.LazyLinear(12),
            nn.Tanh(),
            nn.Linear(12, 10),
        )

    def forward(self, x):
        return self.body(x).clamp(-5, 5)


@pytest.fixture(
    scope="module", params=[kit.models.convnet, Attention, Pooled], ids=lambda made: made.__name__
)
def file(request, fashion):
    torch.manual_seed(0)
    net = request.param()
    with torch.no_grad():
        net.train()(fashion.train.inputs[:64])  # statistics for the batch normalisation
    return kit.export(net.eval(), data=fashion, samples=64)


def test_a_graph_gives_what_the_file_gives_and_learns_by_every_weight(file, fashion):
    graph = Graph(onnx.load(file.file))
    inputs = fashion.valid.inputs[:33]
    np.testing.assert_allclose(graph(inputs).detach(), file(inputs.numpy()), rtol=1e-4, atol=1e-5)
    graph(inputs).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in graph.weights)
    stored = sum(
        t.dims != [] and t.data_type == onnx.TensorProto.FLOAT for t in onnx.load(file.file).graph.initializer
    )
    assert len(graph.weights) >= stored - 3


def test_what_was_learned_is_written_under_the_same_names(file, fashion, tmp_path):
    model = onnx.load(file.file)
    graph = Graph(model)
    with torch.no_grad():
        for parameter in graph.weights:
            parameter.mul_(1.25)
    graph.write(model)
    onnx.save(model, tmp_path / "changed.onnx")
    inputs = fashion.valid.inputs[:5]
    changed = kit.open(tmp_path / "changed.onnx")
    np.testing.assert_allclose(graph(inputs).detach(), changed(inputs.numpy()), rtol=1e-4, atol=1e-5)


def test_a_tap_changes_a_tensor_wherever_it_is_used(trained, fashion):
    graph = Graph(onnx.load(kit.export(trained, data=fashion).file))
    inputs = fashion.valid.inputs[:2]
    before = graph(inputs)
    graph.tap("input", nn.Hardtanh(-0.1, 0.1))
    narrow = graph(inputs)
    assert torch.equal(narrow, graph(inputs.clamp(-0.1, 0.1)))
    assert not torch.equal(narrow, before)
    graph.tap("input", nn.Identity())  # one tensor has one tap, and taps do not mix
    graph.tap("0.0.weight", nn.Identity())
    assert torch.equal(graph(inputs), before)


def test_an_operator_without_a_form_is_named():
    node = onnx.helper.make_node("Sin", ["input"], ["output"])
    ends = [onnx.helper.make_tensor_value_info(name, 1, ["n", 2]) for name in ("input", "output")]
    with pytest.raises(ModelError, match="cannot be trained, for want of Sin in PyTorch"):
        Graph(onnx.helper.make_model(onnx.helper.make_graph([node], "wave", ends[:1], ends[1:])))
