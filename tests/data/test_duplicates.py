from __future__ import annotations

import torch

import kit


def test_planted_twins_are_found_and_nothing_else():
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (300, 1, 12, 12), generator=generator, dtype=torch.uint8)
    y = torch.arange(300) % 3
    test = torch.randint(0, 256, (50, 1, 12, 12), generator=generator, dtype=torch.uint8)
    test[7] = x[40]
    test[9] = (x[41].int() + 3).clamp(0, 255).to(torch.uint8)
    data = kit.data.from_arrays(x, y, valid=(x[:3] // 2, y[:3]), test=(test, torch.arange(50) % 3))
    found = data.duplicates(near=0.05)
    assert [(p.first, p.i, p.second, p.j) for p in found.exact] == [("train", 40, "test", 7)]
    assert [(p.first, p.i, p.second, p.j) for p in found.near] == [("train", 41, "test", 9)]
    assert found.counts()["train", "test"] == (1, 1)
    assert "test in train: 1 exact, 1 near" in str(found)
    assert len(found.plot().axes) == 4


def test_the_projection_misses_no_pair_that_a_full_search_finds():
    data = kit.data.fashion_mnist().subset(6000, 1000, 2000)
    near = 0.08
    found = {(p.i, p.j) for p in data.duplicates(near).pairs if (p.first, p.second) == ("train", "test")}
    a, b = (split.raw.flatten(1).float() / 255 for split in (data.train, data.test))
    distance = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist") / 784**0.5
    full = {tuple(pair) for pair in (distance <= near).nonzero().tolist()}
    assert found == full
    assert len(full) >= 3


def test_fashion_mnist_has_near_twins_across_its_published_splits():
    counts = kit.data.fashion_mnist().duplicates().counts()
    exact, near = counts["train", "test"]
    assert (exact, near) == (0, 48)
