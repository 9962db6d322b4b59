import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

import kit
from kit.conversion import tables
from kit.conversion.parity import check
from kit.errors import ExportError, ParityError
from kit.files import scratch

SETS = {"breast cancer": load_breast_cancer, "wine": load_wine, "digits": load_digits}


def table(load):
    x, y = load(return_X_y=True)
    return kit.data.from_arrays(x.astype(np.float32), y)


def fitted(estimator, data):
    return estimator.fit(data.train.inputs.numpy().astype(np.float64), data.train.targets.numpy())


@pytest.mark.parametrize("name", SETS)
def test_trees_forests_and_machines_answer_as_scikit_learn_does(name):
    data = table(SETS[name])
    for estimator in (
        DecisionTreeClassifier(random_state=0),
        make_pipeline(StandardScaler(), RandomForestClassifier(20, random_state=0)),
        GradientBoostingClassifier(n_estimators=5, random_state=0),
        make_pipeline(StandardScaler(), SVC()),
        make_pipeline(StandardScaler(), LinearSVC()),
    ):
        made = kit.convert(fitted(estimator, data), "onnx", data=data)
        rows = data.test.inputs.numpy()
        said = estimator.classes_[made(rows).argmax(1)]
        assert made.report.agreed
        assert (said == estimator.predict(rows.astype(np.float64))).mean() > 0.99  # votes may tie


def test_a_scaler_in_float32_moves_rows_across_thresholds():
    """Why `to_onnx` computes the steps before the last one in float64."""
    from skl2onnx import to_onnx

    data = table(load_digits)
    forest = fitted(make_pipeline(StandardScaler(), RandomForestClassifier(100, random_state=0)), data)
    rows = data.valid.inputs.numpy()
    plain = to_onnx(forest, rows[:1], options={"zipmap": False}, target_opset={"": 20, "ai.onnx.ml": 3})
    del plain.graph.output[0]
    path = scratch("plain.onnx")
    path.write_bytes(plain.SerializeToString())
    report = check(path, rows, tables.answers(forest, rows)[0], tolerance=1e-4)
    assert not report.agreed
    with pytest.raises(ParityError, match="not equal"):
        report.require()
    assert kit.convert(forest, "onnx", data=data).report.agreed


def test_a_regression_gives_numbers():
    x, y = load_diabetes(return_X_y=True)
    data = kit.data.from_arrays(x.astype(np.float32), y.astype(np.float32))
    forest = fitted(RandomForestRegressor(10, random_state=0), data)
    made = kit.convert(forest, "onnx", data=data)
    rows = data.test.inputs.numpy()
    assert np.allclose(made(rows).ravel(), forest.predict(rows), rtol=1e-4)


def test_tables_stand_in_one_comparison():
    data = table(load_wine)
    tree = kit.convert(fitted(DecisionTreeClassifier(random_state=0), data), "onnx", data=data, name="tree")
    machine = kit.convert(
        fitted(make_pipeline(StandardScaler(), SVC()), data), "onnx", data=data, name="machine"
    )
    result = kit.compare([tree, machine], data, split="valid")
    assert [row.name for row in result.rows] == ["tree", "machine"]
    assert {step.verb for variant in result.variants for step in variant.recipe} == {"convert"}


def test_what_was_not_fitted_or_is_unknown_is_said():
    data = table(load_wine)
    with pytest.raises(ExportError, match="not fitted"):
        kit.convert(DecisionTreeClassifier(), "onnx", data=data)
    with pytest.raises(ExportError, match="cannot take rows"):
        tables.answers(fitted(DecisionTreeClassifier(), data), np.ones((2, 3), np.float32))
