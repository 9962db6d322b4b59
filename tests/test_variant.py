from __future__ import annotations

import numpy as np
import pytest
import torch

import kit
from kit.errors import ArgumentError, DataError, ModelError
from kit.statistics import Measurement
from kit.variant import Preprocess, Signature, Step, Variant, as_variant

SIGNATURE = Signature("classification", (4,), ("a", "b", "c"), 3)


def variant():
    return Variant(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout(0.5)), "net", SIGNATURE)


def test_preprocessing_step_by_step_ends_where_the_call_does():
    raw = torch.randint(0, 255, (5, 3, 4, 4), dtype=torch.uint8)
    for preprocess in (Preprocess(), Preprocess(1 / 255, (0.5, 0.1, 0.2), (0.5, 2.0, 1.0))):
        steps = preprocess.steps(raw)
        assert torch.equal(steps[0][1], raw)
        assert torch.equal(steps[-1][1], preprocess(raw))
    assert [name for name, _ in steps] == [
        "as read",
        "× 0.003922",
        "− mean 0.5, 0.1, 0.2",
        "÷ deviation 0.5, 2, 1",
    ]


def test_preprocessing_by_hand():
    raw = torch.tensor([[[[0, 255]], [[255, 0]]]], dtype=torch.uint8)  # one sample, two channels, 1×2
    done = Preprocess(1 / 255, (0.5, 0.0), (0.5, 2.0))(raw)
    assert done.dtype == torch.float32
    assert done.flatten().tolist() == [-1.0, 1.0, 0.5, 0.0]


def test_calling_runs_in_evaluation_mode_and_leaves_the_module_as_it_was():
    net = variant()
    net.module.train()
    x = np.random.default_rng(0).random((5, 4), dtype=np.float32)
    assert np.array_equal(net(x), net(torch.from_numpy(x)))
    assert net.module.training


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.zeros((2, 5), np.float32), r"expected inputs of shape \(N, 4\), got \(2, 5\)"),
        (np.zeros(4, np.float32), r"\(N, 4\)"),
        (np.zeros((2, 4)), "expected float32 inputs, got float64"),
    ],
)
def test_wrong_inputs(x, words):
    with pytest.raises(DataError, match=words):
        variant()(x)


def test_a_child_knows_its_recipe_and_parent():
    dense = variant()
    child = dense.derive(dense.model, "prune", {"ratio": 0.5}, name="half")
    assert child.parent is dense
    assert dense.recipe == ()
    assert child.recipe == (Step("prune", {"ratio": 0.5}),)
    assert repr(child) == "Variant('half': prune(ratio=0.5))"
    measured = child.with_figures(accuracy=Measurement(0.9, 0.8, 0.95, 100))
    assert measured.figures["accuracy"].value == 0.9
    assert child.figures == {}
    assert measured.renamed("x").figures == measured.figures


class File:
    path = "net.onnx"

    def __call__(self, x):
        return x[:, :3] * 2


def test_a_file_is_called_the_same_way_and_has_no_module():
    child = variant().derive(File(), "export", {})
    assert child(np.ones((2, 4), np.float32)).tolist() == [[2.0] * 3] * 2
    with pytest.raises(ModelError, match="use its ancestor 'net'"):
        child.module  # noqa: B018


def test_what_can_become_a_variant():
    net = variant()
    assert as_variant(net) is net
    assert as_variant(torch.nn.Linear(4, 3), SIGNATURE).name == "linear"
    assert as_variant(kit.models.mobilenet(), SIGNATURE).name == "mobilenet"
    with pytest.raises(ArgumentError, match="needs data"):
        as_variant(torch.nn.Linear(4, 3))
    with pytest.raises(ArgumentError, match="got str"):
        as_variant("net.pt")
