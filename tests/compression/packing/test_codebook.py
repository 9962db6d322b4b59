"""A few shared values a layer: what is pruned stays so, training helps, and the file shrinks."""

from __future__ import annotations

import copy

import pytest
import torch

import kit
from kit.compression.packing.codebook import kmeans
from kit.errors import ArgumentError
from kit.runtime import packed


def test_kmeans_is_at_least_as_good_as_an_even_grid_and_keeps_zeros():
    weight = torch.randn(40, 50, generator=torch.Generator().manual_seed(0))
    weight[weight.abs() < 0.5] = 0
    values, places = kmeans(weight, 8)
    shared = torch.cat([torch.zeros(1), values])[places]
    assert torch.equal(shared == 0, weight == 0)
    assert len(shared.unique()) == 9
    grid = torch.linspace(weight.min(), weight.max(), 8)
    even = grid[(weight[..., None] - grid).abs().argmin(-1)]
    some = weight != 0
    assert (shared - weight)[some].square().mean() < (even - weight)[some].square().mean()


@pytest.mark.parametrize("weight", [torch.zeros(3, 2), torch.tensor([1.5]), torch.tensor([1.0, 2.0, 2.0])])
def test_kmeans_of_hardly_anything_is_exact(weight):
    values, places = kmeans(weight, 16)
    assert torch.equal(torch.cat([torch.zeros(1), values])[places], weight)


def test_trained_codebooks_are_small_and_lose_little(trained, fashion):
    before = copy.deepcopy(trained.module.state_dict())
    plain = kit.cluster(trained, fashion, values=8, finetune=0)
    tuned = kit.cluster(trained, fashion, values=8, finetune=1, lr=1e-3)
    assert all(torch.equal(before[key], value) for key, value in trained.module.state_dict().items())
    for name, book in tuned.report.codebooks.items():
        weight = tuned.module.get_submodule(name).weight
        assert set(weight.unique().tolist()) <= {0.0, *book}
    assert float(tuned.report.after) > float(plain.report.after) - 0.01
    assert float(tuned.report.after) > float(tuned.report.before) - 0.05
    assert tuned.report.bytes < packed.size(trained) / 4
    assert "8" in str(tuned.report)
    assert tuned.report.to_dict()["bytes"] == tuned.report.bytes


def test_layers_can_be_left_out_or_named(trained, fashion):
    head = list(dict(trained.module.named_modules()))[-1]
    result = kit.cluster(trained, fashion, values=4, finetune=0, protect=[head])
    assert torch.equal(result.module.get_submodule(head).weight, trained.module.get_submodule(head).weight)
    named = kit.cluster(trained, fashion, values={head: 2}, finetune=0)
    assert list(named.report.codebooks) == [head]


@pytest.mark.parametrize("values", [0, 256, True, 2.5, {"nowhere": 3}])
def test_wrong_numbers_and_names(trained, fashion, values):
    with pytest.raises(ArgumentError):
        kit.cluster(trained, fashion, values=values)


def test_a_clustered_net_of_dense_layers_comes_back(fashion, tmp_path):
    """Their weights were registered anew, after the biases."""
    net = kit.train(kit.models.lenet_300_100(), fashion, epochs=1)
    shared = kit.cluster(net, fashion, values=8, finetune=0)
    loaded = kit.load(kit.pack(shared, tmp_path / "shared.kit"))
    for name, tensor in shared.module.state_dict().items():
        assert torch.equal(loaded.module.state_dict()[name], tensor)
