"""Single operators against ONNX's own reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from kit.conversion.operators import OPERATORS
from kit.errors import ModelError

X = np.random.default_rng(0).normal(size=(2, 3, 1, 5)).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        *(("Flatten", {"axis": axis}) for axis in (0, 1, 2, 3)),
        ("Squeeze", {}),
        ("AveragePool", {"kernel_shape": [1, 2], "pads": [0, 1, 0, 0], "count_include_pad": 1}),
        ("HardSigmoid", {"alpha": 0.3}),
        ("Transpose", {}),
        ("Softmax", {"axis": 1}),
    ],
)
def test_it_gives_what_the_standard_says(kind, settings):
    node = helper.make_node(kind, ["x"], ["y"], **settings)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    model = helper.make_model(helper.make_graph([node], "one", ends[:1], ends[1:]))
    expected = ReferenceEvaluator(model).run(None, {"x": X})[0]
    found = OPERATORS[kind](settings, torch.from_numpy(X)).numpy()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_uneven_pads_that_do_not_count_are_refused():
    settings = {"kernel_shape": [1, 2], "pads": [0, 1, 0, 0]}
    with pytest.raises(ModelError, match="uneven pads"):
        OPERATORS["AveragePool"](settings, torch.from_numpy(X))


def test_padding_lies_on_the_axes_it_names():
    pads = np.array([0, 1, 2, 0, 0, 0, 1, 3], np.int64)
    expected = np.pad(X, ((0, 0), (1, 0), (2, 1), (0, 3)), constant_values=0.5)
    found = OPERATORS["Pad"]({}, torch.from_numpy(X), torch.from_numpy(pads), torch.tensor(0.5))
    assert np.array_equal(found.numpy(), expected)
    only = OPERATORS["Pad"]({}, torch.from_numpy(X), torch.tensor([1, 3]), None, torch.tensor([-1]))
    assert np.array_equal(only.numpy(), np.pad(X, ((0, 0), (0, 0), (0, 0), (1, 3))))
    with pytest.raises(ModelError, match="mode"):
        OPERATORS["Pad"]({"mode": b"reflect"}, torch.from_numpy(X), torch.from_numpy(pads))
