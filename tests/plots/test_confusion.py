import numpy as np

from kit.plots import confusion

COUNTS = np.array([[8, 2, 0], [1, 19, 0], [0, 0, 40]])
BEFORE = np.array([[6, 4, 0], [0, 20, 0], [0, 0, 40]])
CLASSES = ["cat", "dog", "fish"]


def numbers(axis):
    return {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in axis.texts}


def test_rows_are_percent_of_the_true_class():
    figure = confusion(COUNTS, CLASSES, title="net", data="pets test")
    (axis,) = figure.axes
    assert numbers(axis) == {(0, 0): "80", (0, 1): "20", (1, 0): "5", (1, 1): "95", (2, 2): "100"}
    assert axis.get_ylabel() == "true class"
    assert axis.get_xlabel() == "predicted class"
    assert "pets test, n = 70" in figure._supxlabel.get_text().replace("\n", " ")


def test_the_change_is_in_points_and_its_colour_says_better_or_worse():
    figure = confusion(COUNTS, CLASSES, title="int8", data="pets test", against=("dense", BEFORE))
    _, change = figure.axes
    assert numbers(change) == {(0, 0): "+20.0", (0, 1): "−20.0", (1, 0): "+5.0", (1, 1): "−5.0"}
    shade = change.images[0].get_array()
    assert shade[0, 0] > 0  # right more often
    assert shade[0, 1] > 0  # wrong less often
    assert shade[1, 0] < 0
    assert shade[1, 1] < 0
    assert "dense" in change.get_title()


def test_a_class_without_samples_and_many_classes_are_drawn(tmp_path):
    confusion(np.array([[0, 0], [1, 3]]), ["a", "b"], title="net", data="d").savefig(tmp_path / "two.png")
    figure = confusion(np.eye(30, dtype=int), [f"class {i}" for i in range(30)], title="net", data="d")
    assert not figure.axes[0].texts
    figure.savefig(tmp_path / "many.png")
