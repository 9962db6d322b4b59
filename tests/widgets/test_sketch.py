from __future__ import annotations

import numpy as np
import pytest
import torch

import kit
from kit.errors import ArgumentError, ModelError
from kit.variant import as_variant
from kit.widgets import Sketch


@pytest.fixture
def panel(trained, fashion):
    return Sketch([trained, trained.renamed("twin")], fashion)


def drawing():
    sheet = np.zeros((28, 28), np.uint8)
    sheet[4:24, 10:13] = 255
    return sheet


def draw(panel, sheet):
    panel.sheet._handle_custom_msg({}, [memoryview(sheet.tobytes())])


def test_a_drawing_is_answered_by_every_variant_as_the_model_itself_answers(panel, trained):
    draw(panel, drawing())
    assert [answer.name for answer in panel.answers] == [trained.name, "twin"]
    raw = torch.from_numpy(drawing())[None]
    expected = torch.softmax(torch.from_numpy(trained(trained.signature.preprocess(raw[None])))[0], 0)
    name, share = panel.answers[0].outputs[0]
    assert name == trained.signature.classes[int(expected.argmax())]
    assert share == pytest.approx(float(expected.max()), abs=1e-5)
    assert panel.answers[0].milliseconds > 0
    assert name in panel.frame.status


def test_an_empty_sheet_says_so_and_forgets_the_answers(panel):
    draw(panel, drawing())
    draw(panel, np.zeros((28, 28), np.uint8))
    assert panel.frame.status == "The sheet is empty: draw something."
    assert panel.answers == []
    assert panel._said.value == ""
    assert panel.figure() is None
    assert panel.table()[2][0][0] == "no answer yet"


def test_a_drawing_of_another_size_is_refused(panel):
    draw(panel, np.ones((5, 5), np.uint8))
    assert "expected a drawing of 28 × 28 bytes, got 25" in panel.frame.alert
    draw(panel, drawing())
    assert panel.frame.alert == ""


def test_a_drawing_in_a_corner_can_be_centred(panel):
    corner = np.zeros((28, 28), np.uint8)
    corner[0:6, 0:6] = 255
    draw(panel, corner)
    assert int(panel.raw[0, 14, 14]) == 0
    panel.placed.value = "centred, as in MNIST"
    assert int(panel.raw[0, 14, 14]) > 200
    assert int(panel.raw[0, 1, 1]) == 0


def test_test_images_can_be_chosen_by_number(panel, fashion):
    panel.image.value += 1
    assert torch.equal(panel.raw, fashion.test.raw[1])
    assert f"(label: {fashion.signature.classes[fashion.test.targets[1]]})" in panel.frame.status
    assert panel.code == "variant(data.test.inputs[1:2])"
    assert panel.figure() is not None
    draw(panel, drawing())
    assert "raw" in panel.code


def test_only_the_chosen_variants_answer(panel):
    draw(panel, drawing())
    panel.variants.value = ("twin",)
    assert [answer.name for answer in panel.answers] == ["twin"]
    panel.variants.value = ()
    assert panel.frame.status == "Choose at least one variant."


def test_models_that_take_no_pictures_or_differ_are_refused(trained):
    table = kit.data.from_arrays(torch.rand(40, 5), torch.arange(40) % 2)
    with pytest.raises(ModelError, match="a picture has the shape"):
        Sketch(as_variant(torch.nn.Linear(5, 2), table.signature))
    with pytest.raises(ArgumentError, match="show them in two panels"):
        Sketch([trained, as_variant(torch.nn.Linear(5, 2), table.signature)])
    with pytest.raises(ArgumentError, match="at least one"):
        Sketch([])


def test_a_model_of_values_answers_with_values(fashion):
    x = torch.rand(60, 1, 8, 8)
    data = kit.data.from_arrays(x, x.mean((1, 2, 3)))
    net = as_variant(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1)), data.signature)
    panel = Sketch(net, data)
    panel.image.value = 3
    expected = float(net(data.test.inputs[3:4])[0, 0])
    assert panel.answers[0].outputs == (("output 0", pytest.approx(expected)),)
    assert f"output 0, {expected:.4g}" in panel.frame.status
    assert "%" not in panel._said.value.replace("width:0.0%", "")


def test_equal_names_stay_apart(trained):
    panel = Sketch([trained, trained])
    assert panel.variants.options == (trained.name, f"{trained.name} (2)")
