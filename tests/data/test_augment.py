"""Augmentations: each image is changed as it says, by torch's seed, in any layout."""

from __future__ import annotations

import pytest
import torch

from kit.data.augment import compose, random_erase, random_flip, random_shift
from kit.errors import ArgumentError, DataError

ALL = [random_flip(), random_shift(2), random_erase(), compose(random_flip(), random_shift(2))]


@pytest.mark.parametrize("change", ALL, ids=lambda change: change.__name__)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_seed_decides_and_the_layout_does_not(change, layout):
    images = torch.rand(16, 3, 9, 11)
    torch.manual_seed(3)
    first = change(images)
    torch.manual_seed(3)
    second = change(images.contiguous(memory_format=layout))
    third = change(images)
    assert first.shape == images.shape
    assert torch.allclose(first, second)
    assert not torch.equal(first, third)


def test_flip_mirrors_about_half(fashion):
    images = fashion.train.inputs[:1000]
    flipped = random_flip()(images)
    same = (flipped == images).flatten(1).all(1)
    mirrored = (flipped == images.flip(-1)).flatten(1).all(1)
    assert bool((same | mirrored).all())
    assert 400 < int(mirrored.sum()) < 600
    assert torch.equal(random_flip(1.0)(images), images.flip(-1))
    assert torch.equal(random_flip(0.0)(images), images)


def test_shift_moves_by_whole_pixels_and_repeats_the_border():
    images = torch.arange(64 * 49.0).reshape(64, 1, 7, 7)
    moved = random_shift(1)(images)
    offsets = set()
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
    for image, source in zip(moved, padded, strict=True):
        found = [
            (r, c) for r in range(3) for c in range(3) if torch.equal(image, source[:, r : r + 7, c : c + 7])
        ]
        assert len(found) == 1
        offsets.update(found)
    assert len(offsets) == 9, "all directions occur"
    assert torch.equal(random_shift(0)(images), images)


def test_erase_blanks_one_box():
    images = torch.rand(200, 2, 20, 20) + 1
    erased = random_erase(0.5, 1.0)(images)
    changed = erased != images
    assert torch.equal(changed[:, 0], changed[:, 1])
    assert bool((erased[changed] == images.mean()).all())
    for hole in changed[:, 0]:
        rows, columns = hole.any(1), hole.any(0)
        assert torch.equal(hole, rows[:, None] & columns[None, :])
        assert int(rows.sum()) <= 10
    assert torch.equal(random_erase(0.5, 0.0)(images), images)


def test_bad_arguments_are_named():
    with pytest.raises(ArgumentError, match="probability must lie between 0 and 1, got 2"):
        random_flip(2)
    with pytest.raises(ArgumentError, match="must not be negative"):
        random_shift(-1)
    with pytest.raises(ArgumentError, match="share and probability"):
        random_erase(1.5)
    with pytest.raises(ArgumentError, match="out of sight"):
        random_shift(9)(torch.zeros(2, 1, 8, 8))
    with pytest.raises(DataError, match=r"got a batch \(4, 10\)"):
        random_flip()(torch.zeros(4, 10))


def test_names_are_those_of_recipes():
    assert compose(random_flip(), random_shift(1)).__name__ == "random_flip(0.5), random_shift(1)"
