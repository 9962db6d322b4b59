import json

import numpy as np
import pytest
import torch

import kit
from kit.errors import ModelError
from kit.measurement.scores import classification


@pytest.fixture(scope="module")
def evaluated(trained, fashion):
    return kit.evaluate(trained, fashion)


def test_accuracy_is_the_share_of_right_answers_in_its_wilson_interval(evaluated, trained, fashion):
    right = int((trained(fashion.test.inputs).argmax(1) == fashion.test.targets.numpy()).sum())
    assert evaluated.accuracy.value == right / 2000
    assert evaluated.accuracy.method == "Wilson 95%"
    assert evaluated.accuracy.low < evaluated.accuracy.value < evaluated.accuracy.high
    assert evaluated.data == f"{fashion.name} test"


def test_scores_of_each_class_follow_their_definitions(evaluated, trained, fashion):
    predicted, true = trained(fashion.test.inputs).argmax(1), fashion.test.targets.numpy()
    for k, found in enumerate(evaluated.classes):
        hits = ((predicted == k) & (true == k)).sum()
        assert found.name == fashion.signature.classes[k]
        assert found.support == (true == k).sum()
        assert found.recall == pytest.approx(hits / (true == k).sum())
        assert found.precision == pytest.approx(hits / max((predicted == k).sum(), 1))
        assert found.f1 == pytest.approx(2 * hits / ((predicted == k).sum() + (true == k).sum()))
        assert evaluated.confusion[k, k] == hits
    assert evaluated.macro_f1.value == pytest.approx(np.mean([score.f1 for score in evaluated.classes]))
    assert evaluated.macro_f1.low < evaluated.macro_f1.value < evaluated.macro_f1.high


def test_a_class_that_never_occurs_or_is_never_called_divides_by_nothing():
    found = classification("net", "data", np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]), ("a", "b", "c"))
    assert [score.support for score in found.classes] == [3, 1, 0]
    assert found.classes[2].f1 == 0
    assert found.macro_f1.value == pytest.approx((0.8 + 2 / 3) / 2)  # over the classes that occur


def test_confusion_counts_true_rows_and_predicted_columns():
    found = classification("net", "data", np.array([1, 1, 0]), np.array([0, 0, 1]), ("a", "b"))
    assert found.confusion.tolist() == [[0, 2], [1, 0]]


def test_evaluation_prints_and_is_fit_for_json(evaluated):
    lines = str(evaluated).splitlines()
    assert "n = 2,000" in lines[0]
    assert len(lines) == 3 + 10
    assert max(map(len, lines)) <= 100
    assert json.loads(json.dumps(evaluated.to_dict()))["confusion"] == evaluated.confusion.tolist()


def test_a_file_scores_like_the_module_it_came_from(trained, fashion):
    file = kit.export(trained, data=fashion)
    found = kit.agreement(trained, file, fashion)
    assert found.same.value == 1.0
    assert found.p == 1.0
    assert kit.evaluate(file, fashion).accuracy == kit.evaluate(trained, fashion).accuracy


def test_agreement_counts_who_alone_was_right(trained, fashion):
    other = kit.models.lenet_300_100()
    found = kit.agreement(trained, other, fashion, split="valid")
    true = fashion.valid.targets.numpy()
    labels = [trained(fashion.valid.inputs).argmax(1), other(fashion.valid.inputs).argmax(1).numpy()]
    right = [label == true for label in labels]
    assert found.only_first == (right[0] & ~right[1]).sum()
    assert found.same.value == (labels[0] == labels[1]).mean()
    assert found.change.value == pytest.approx(right[1].mean() - right[0].mean())
    assert found.change.high < 0
    assert found.p < 1e-6
    assert "accuracy changed" in str(found)
    assert "no change of accuracy shown" in str(kit.agreement(trained, trained, fashion))


@pytest.fixture(scope="module")
def plane():
    random = np.random.default_rng(0)
    x = random.normal(size=(600, 3)).astype(np.float32)
    y = x @ np.array([[1.0], [2.0], [-1.0]], np.float32) + random.normal(0, 0.5, (600, 1)).astype(np.float32)
    return kit.data.from_arrays(x, y, test=0.5)


def test_regression_is_scored_in_the_units_of_its_targets(plane):
    line = torch.nn.Linear(3, 1)
    with torch.no_grad():
        line.weight.copy_(torch.tensor([[1.0, 2.0, -1.0]]))
        line.bias.zero_()
    found = kit.evaluate(line, plane)
    error = line(plane.test.inputs).detach().numpy() - plane.test.targets.numpy()
    assert found.mse.value == pytest.approx((error**2).mean(), rel=1e-5)
    assert found.rmse.value == pytest.approx(found.mse.value**0.5)
    assert found.mae.value == pytest.approx(np.abs(error).mean(), rel=1e-5)
    assert found.rmse.contains(0.5)
    assert found.rmse.low < found.rmse.value < found.rmse.high
    same = kit.agreement(line, line, plane)
    assert same.same.value == 1.0
    assert same.p is None
    assert "100.00%" in str(same)


def test_outputs_that_do_not_fit_the_labels_are_refused(fashion, plane):
    with pytest.raises(ModelError, match=r"gives 7 output\(s\) a sample, but 'fashion-mnist' has 10 classes"):
        kit.evaluate(kit.models.lenet5(classes=7), fashion)
    with pytest.raises(ModelError, match=r"has 1 target value"):
        kit.evaluate(torch.nn.Linear(3, 2), plane)
    with pytest.raises(ModelError, match="gives 7"):
        kit.agreement(kit.models.lenet5(), kit.models.lenet5(classes=7), fashion)
