from __future__ import annotations

import sys

import pytest
import torch

import kit
from kit.errors import ArgumentError, CorruptFileError, DataError


@pytest.fixture(scope="module")
def data():
    return kit.data.shakespeare(context=64)


def test_it_is_all_there_and_plays_are_held_out_whole(data):
    works = kit.data.read_works()
    assert len(works) == 42
    assert "To be, or not to be,--that is the question" in works["hamlet"]
    text = data.signature.media
    begin = text.decode(data.test.raw[0].tolist())
    assert works["lear"].startswith(begin)
    kept = sum(len(split) for split in data.splits) * 64
    assert 0 <= sum(map(len, works.values())) - kept < 42 * 65


def test_targets_stand_one_character_further(data):
    assert torch.equal(data.train.raw[0, 1:].long(), data.train.targets[0, :-1])
    assert int(data.train.targets[0, -1]) == int(data.train.raw[1, 0])
    assert data.train.inputs.dtype == torch.float32
    assert repr(data).endswith("84 tokens, input (64,))")


def test_bits_and_samples_survive_a_subset(data):
    assert data.subset(10, 5, 5).train.targets.shape == (10, 64)
    with pytest.raises(DataError, match="has no classes"):
        data.balance()


def test_bad_context_and_changed_file(monkeypatch):
    with pytest.raises(ArgumentError, match="8 to 4096"):
        kit.data.shakespeare(context=2)
    monkeypatch.setitem(sys.modules["kit.data.shakespeare"]._SUMS, "shakespeare.txt.gz", "0" * 64)
    with pytest.raises(CorruptFileError, match="SHA-256"):
        kit.data.shakespeare()
