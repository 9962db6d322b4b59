"""Batches: every sample once, in the layout asked for."""

from __future__ import annotations

import pytest
import torch

from kit.training.batches import Batches, cut, steps_of

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("n", "size"), [(10, 3), (10, 10), (10, 20), (9, 4), (1, 4), (257, 128), (2, 1), (3, 1)]
)
def test_cut_covers_all_and_leaves_no_single_sample_behind(n, size):
    order = torch.randperm(n)
    batches = cut(order, size)
    assert torch.equal(torch.cat(batches), order)
    assert len(batches) == steps_of(n, size)
    assert 1 in {n, size} or all(len(batch) > 1 for batch in batches)


@pytest.mark.parametrize("channels_last", [False, True])
def test_pick_and_order_give_the_same_samples(channels_last):
    inputs, targets = torch.rand(20, 3, 5, 4), torch.arange(20)
    batches = Batches(inputs, targets, CPU, channels_last=channels_last)
    x, y = batches.pick(torch.tensor([3, 17]))
    assert torch.equal(x, inputs[[3, 17]])
    assert y.tolist() == [3, 17]
    wanted = torch.channels_last if channels_last else torch.contiguous_format
    assert x.is_contiguous(memory_format=wanted)
    parts = list(batches.in_order(8))
    assert torch.equal(torch.cat([x for x, _ in parts]), inputs)
    assert torch.equal(torch.cat([y for _, y in parts]), targets)
    assert all(x.is_contiguous(memory_format=wanted) for x, _ in parts)
