from __future__ import annotations

import pytest
import torch

import kit
from kit.errors import ArgumentError, DataError


@pytest.fixture(scope="module")
def passages():
    """A hundred characters each of a comedy and of a history."""
    works = kit.data.read_works()
    texts, labels = [], []
    for name, label in (("twelfth_night", "comedy"), ("richard_iii", "history")):
        parts = [works[name][i : i + 100] for i in range(2000, 42_000, 100)]
        texts += parts
        labels += [label] * len(parts)
    return texts, labels


def test_own_texts_are_trained_on_and_named_by_the_pipeline(passages):
    data = kit.data.from_texts(*passages, length=100)
    assert data.signature.classes == ("comedy", "history")
    assert [len(split) for split in data.splits] == [640, 80, 80]
    torch.manual_seed(0)
    net = kit.models.charnet(classes=2, tokens=len(data.signature.media.alphabet), width=32)
    named = kit.train(net, data, epochs=5, lr=3e-3, batch_size=32, precision="fp32", seed=0)
    assert kit.evaluate(named, data).accuracy.value > 0.6
    pipe = kit.pipeline(named)
    assert pipe("VIOLA. What country, friends, is this?").label in data.signature.classes
    text = data.signature.media.decode(data.test.raw[0].tolist())
    assert pipe(text).label == pipe(data.test.raw[0]).label


def test_what_is_short_is_filled_up_and_what_is_long_cut_off():
    data = kit.data.from_texts(["ab", "abcdefgh"] * 20, ["x", "y"] * 20, length=4)
    rows = {tuple(row) for split in data.splits for row in split.raw.tolist()}
    media = data.signature.media
    assert rows == {(*media.encode("ab"), 0, 0), tuple(media.encode("abcd"))}


@pytest.mark.parametrize(
    ("texts", "labels", "words"),
    [
        (["a", ""], ["x", "y"], "text 1 is empty"),
        (["a", 7], ["x", "y"], "no text: 7"),
        (["a"], [], "1 texts but 0"),
    ],
)
def test_what_is_no_text(texts, labels, words):
    with pytest.raises(DataError, match=words):
        kit.data.from_texts(texts, labels)


def test_a_length_out_of_range():
    with pytest.raises(ArgumentError, match="1 to 65,536"):
        kit.data.from_texts(["a", "b"], ["x", "y"], length=0)
