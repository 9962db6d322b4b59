"""A language model goes through every verb that a classifier goes through."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import kit
from kit.data import Dataset, Split
from kit.errors import DataError, ModelError


@pytest.fixture(scope="module")
def text():
    return kit.data.shakespeare(context=32).subset(1500, 100, 200)


@pytest.fixture(scope="module")
def writer(text):
    torch.manual_seed(0)
    net = kit.models.gpt(context=32, width=32, layers=2, heads=2)
    return kit.train(net, text, epochs=2, batch_size=32, lr=1e-2, precision="fp32", seed=0)


def test_it_learns_more_than_how_often_each_character_comes(writer, text):
    found = kit.evaluate(writer, text)
    counts = np.bincount(text.train.raw.flatten().numpy(), minlength=84) + 1
    shares = counts / counts.sum()
    alone = -np.log2(shares[text.test.targets.numpy()]).mean()
    assert found.bits.high < alone - 0.5
    assert alone < math.log2(84)
    assert found.perplexity.value == pytest.approx(2**found.bits.value)
    assert found.tokens == 200 * 32
    assert "bits a token" in str(found)


def test_bits_are_the_cross_entropy(writer, text):
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(writer.module(text.test.inputs), text.test.targets)
    assert kit.evaluate(writer, text).bits.value == pytest.approx(float(loss) / math.log(2), rel=1e-4)
    assert writer.report.metric == "accuracy"
    assert writer.report.best.valid_loss < 3


def test_it_is_exported_quantized_pruned_and_compared(writer, text):
    exported = kit.export(writer, data=text)
    assert exported.report.agreed
    int8 = kit.quantize(writer, text, scheme="weights8")
    masked = kit.prune(writer, text, method="magnitude", ratio=0.3, finetune=0)
    table = kit.compare([writer, int8, masked], text, seconds=0.05)
    assert [row.metric for row in table.rows] == ["accuracy"] * 3
    assert table.rows[1].bytes < table.rows[0].bytes
    assert table.rows[1].agreement.value > 0.9
    assert kit.evaluate(int8, text).bits.value == pytest.approx(
        kit.evaluate(writer, text).bits.value, abs=0.1
    )


def test_a_smaller_one_learns_from_its_answers(writer, text):
    torch.manual_seed(0)
    pupil = kit.models.gpt(context=32, width=16, layers=1, heads=2)
    taught = kit.distill(pupil, writer, text, temperature=1.0, weight=1.0, epochs=1, batch_size=32, lr=1e-2)
    assert kit.evaluate(taught, text).bits.value < kit.evaluate(pupil, text).bits.value - 1
    losses = [epoch.train_loss for epoch in taught.report.epochs]
    assert losses[0] < math.log(84)  # a divergence a token, not a window


def test_it_is_saved_with_its_alphabet(writer, text, tmp_path):
    again = kit.load(kit.save(writer, tmp_path / "writer"))
    assert again.signature == writer.signature
    assert kit.load(kit.pack(writer, tmp_path / "writer.kit")).signature == writer.signature
    inputs = text.test.inputs[:4]
    assert np.allclose(again(inputs), writer(inputs), atol=1e-5)


def test_what_does_not_fit_is_said_before_training(text):
    with pytest.raises(ModelError, match=r"expected \(N, tokens, T\), here \(2, 84, 32\)"):
        kit.train(torch.nn.Linear(32, 84), text, epochs=1)
    short = Split("train", text.train.raw, text.train.targets[:, 0].clone(), text.train.preprocess)
    with pytest.raises(DataError, match=r"expected int64 \(N, 32\)"):
        Dataset("x", short, text.valid, text.test, text.signature)
