from __future__ import annotations

import numpy as np
import pytest
import torch

import kit
from kit.data.dataset import stratified
from kit.errors import ArgumentError, DataError


def arrays(n=60, classes=3, seed=0):
    generator = np.random.default_rng(seed)
    return generator.random((n, 4), dtype=np.float32), np.arange(n) % classes


def test_fashion_mnist_is_whole_and_split_without_overlap():
    data = kit.data.fashion_mnist()
    assert [len(split) for split in data.splits] == [55_000, 5_000, 10_000]
    assert all(counts == (len(data[name]) // 10,) * 10 for name, counts in data.balance().items())
    # Train and validation together are the 60,000 that the authors published: no image twice, none lost.
    sums = torch.cat([data.train.raw, data.valid.raw]).to(torch.int64).sum()
    assert int(sums) == 3_431_114_169
    assert data.train.inputs.dtype == torch.float32
    assert abs(float(data.train.inputs.mean())) < 0.01
    assert abs(float(data.train.inputs.std()) - 1) < 0.01
    assert repr(data) == (
        "Dataset('fashion-mnist': 55,000 train + 5,000 valid + 10,000 test, 10 classes, input (1, 28, 28))"
    )


def test_the_validation_split_follows_the_seed():
    targets = torch.arange(1000) % 7
    first, again, other = (stratified(targets, 0.2, seed)[1] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    kept, held = stratified(targets, 0.2, 1)
    assert torch.equal(torch.cat([kept, held]).sort().values, torch.arange(1000))
    counts = torch.bincount(targets[held])
    assert int(counts.max() - counts.min()) <= 1


def test_splits_are_torch_datasets(fashion):
    image, label = fashion.train[0]
    assert image.shape == (1, 28, 28)
    batch, labels = next(iter(torch.utils.data.DataLoader(fashion.test, batch_size=8)))
    assert torch.equal(batch, fashion.test.inputs[:8])
    assert labels.dtype == label.dtype == torch.int64


def test_unknown_split(fashion):
    with pytest.raises(ArgumentError, match="known: train, valid, test"):
        fashion["validation"]


def test_subset_keeps_the_signature_and_follows_the_seed(fashion):
    small = fashion.subset(100, 20, 30)
    assert [len(split) for split in small.splits] == [100, 20, 30]
    assert small.signature == fashion.signature
    assert torch.equal(small.train.raw, fashion.subset(100, 20, 30).train.raw)


def test_inspect_draws_one_row_a_class(fashion):
    figure = fashion.inspect(per_class=5)
    drawn = sum(bool(axis.images) for axis in figure.axes)
    assert drawn == 50
    labels = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert labels == list(fashion.signature.classes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: (x[:0], y[:0]), "empty"),
        (lambda x, y: (x, y[:-1]), "60 samples but 59 targets"),
        (lambda x, y: (x, np.zeros_like(y)), "at least two"),
        (lambda x, y: (x, y - 1), "labels from -1 to 1"),
        (lambda x, y: (np.where(x > 0.99, np.nan, x), y), "NaN or infinity, first in sample"),
    ],
)
def test_bad_arrays(change, words):
    with pytest.raises(DataError, match=words):
        kit.data.from_arrays(*change(*arrays()))


def test_labels_beyond_the_classes():
    x, y = arrays()
    with pytest.raises(DataError, match="labels from 0 to 2; 2 classes need labels 0 to 1"):
        kit.data.from_arrays(x, y, classes=["a", "b"])


def test_a_test_set_of_another_shape():
    x, y = arrays()
    with pytest.raises(DataError, match=r"split 'test' has samples of shape \(3,\), expected \(4,\)"):
        kit.data.from_arrays(x, y, test=(x[:, :3], y))


def test_fractions_that_leave_nothing():
    with pytest.raises(DataError, match="leave some to train on"):
        kit.data.from_arrays(*arrays(), test=0.6, valid=0.4)


def test_regression_keeps_values():
    x, _ = arrays()
    data = kit.data.from_arrays(x, x.sum(1))
    assert data.signature.task == "regression"
    assert data.train.targets.shape == (48, 1)
    assert data.signature.outputs == 1
    with pytest.raises(DataError, match="no classes"):
        data.balance()
