from __future__ import annotations

import kit
from kit.variant import Signature, Step, Variant
from kit.widgets.recipe import as_code


def variant(*steps):
    return Variant(None, "net", Signature("regression", (1,)), steps)


def test_a_recipe_becomes_the_calls_that_make_it_again(trained, fashion):
    slim = kit.prune(trained, fashion.subset(400, 200, 200), ratio=0.5, finetune=0)
    train, prune = as_code(slim).splitlines()
    assert train.startswith("model = kit.train(model, data, epochs=2, lr=0.005")
    assert prune.startswith("model = kit.prune(model, data, ratio=0.5, finetune=0")


def test_what_is_no_setting_and_what_is_the_default_is_left_out():
    step = Step("quantize", {"scheme": "static", "format": "U8S8 per channel", "calibration": 64, "seed": 0})
    assert as_code(variant(step)) == "model = kit.quantize(model, data, calibration=64)"


def test_a_teacher_and_data_by_keyword_are_named():
    made = variant(
        Step("distill", {"teacher": "big", "temperature": 2.0}), Step("export", {"format": "onnx"})
    )
    assert as_code(made).splitlines() == [
        "model = kit.distill(model, teacher, data, temperature=2.0)",
        "model = kit.export(model, data=data)",
    ]


def test_settings_that_a_verb_hands_on_to_the_training_are_kept():
    step = Step("prune", {"ratio": 0.5, "finetune": 1, "lr": 0.01, "seed": 0})
    assert as_code(variant(step)) == "model = kit.prune(model, data, ratio=0.5, lr=0.01)"


def test_a_model_as_it_was_given_and_a_verb_of_ones_own():
    assert as_code(variant()) == "model  # as it was given"
    assert as_code(variant(Step("freeze", {"layers": 2}))) == "model = freeze(layers=2)"
