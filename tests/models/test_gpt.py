from __future__ import annotations

import pytest
import torch

import kit
from kit.errors import ArgumentError


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return kit.models.gpt(tokens=20, context=16, width=32, layers=2, heads=4).eval()


def test_no_answer_depends_on_what_comes_later(net):
    tokens = torch.randint(0, 20, (3, 16))
    changed = tokens.clone()
    changed[:, 9:] = 0
    with torch.no_grad():
        first, second = net(tokens), net(changed)
    assert first.shape == (3, 20, 16)
    assert torch.allclose(first[..., :9], second[..., :9], atol=1e-6)
    assert not torch.allclose(first[..., 9:], second[..., 9:], atol=1e-3)


def test_a_cache_says_the_same_as_the_whole_window(net):
    tokens = torch.randint(0, 20, (2, 16))
    with torch.no_grad():
        whole = net(tokens.float())
        logits, cache = net.step(tokens[:, :5])
        assert torch.allclose(logits, whole[..., 4], atol=1e-5)
        for at in range(5, 16):
            logits, cache = net.step(tokens[:, at : at + 1], cache)
            assert torch.allclose(logits, whole[..., at], atol=1e-5)


def test_it_begins_without_an_opinion():
    torch.manual_seed(0)
    net = kit.models.gpt()
    assert sum(p.numel() for p in net.parameters()) == 475_968
    with torch.no_grad():
        shares = net(torch.randint(0, 84, (4, 128))).softmax(1)
    assert float(shares.max()) < 3 / 84


def test_the_width_is_shared_among_heads():
    with pytest.raises(ArgumentError, match="multiple of the heads"):
        kit.models.gpt(width=30, heads=4)


def test_spotter_and_charnet_have_the_size_they_say():
    spotter = kit.models.spotter()
    assert sum(p.numel() for p in spotter.parameters()) == 13_834
    assert spotter(torch.zeros(2, 1, 40, 62)).shape == (2, 10)
    assert kit.models.charnet(classes=3, tokens=50)(torch.zeros(2, 100)).shape == (2, 3)
