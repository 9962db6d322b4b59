import numpy as np

from kit.plots import bit_sensitivity, checklist, signal_to_noise


def test_exact_layers_are_marked_apart_from_measured_ones():
    figure = signal_to_noise([("0", float("inf"), 40.0), ("1", 45.0, 35.0), ("2", 44.0, 30.0)], title="int8")
    axis = figure.axes[0]
    weights, exact, outputs, none = axis.get_lines()
    assert np.isnan(weights.get_xdata()[0])
    assert weights.get_xdata()[1:].tolist() == [45.0, 44.0]
    assert exact.get_ydata().tolist() == [0]
    assert exact.get_xdata()[0] > 45
    assert exact.get_fillstyle() == "none"
    assert outputs.get_xdata().tolist() == [40.0, 35.0, 30.0]
    assert len(none.get_xdata()) == 0
    assert "exact" in [text.get_text() for text in axis.texts]
    assert "dB" in axis.get_xlabel()
    assert [label.get_text() for label in axis.get_yticklabels()] == ["0", "1", "2"]


def test_a_checklist_says_in_words_what_it_shows_in_colour():
    figure = checklist(["a", "b"], ["first", "second", "third"], [[True, False, True], [False, False, True]])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["noticed", "–", "noticed", "–", "–", "noticed"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["first", "second", "third"]


def test_bits_are_points_of_their_own_look_on_a_log_scale():
    figure = bit_sensitivity({"0.0": [0.5, 0.001], "6": [0.2, 0.0004]}, (4, 8), text="n = 10")
    axis = figure.axes[0]
    four, eight = axis.get_lines()
    assert four.get_xdata().tolist() == [0.5, 0.2]
    assert eight.get_xdata().tolist() == [0.001, 0.0004]
    assert four.get_marker() != eight.get_marker()
    assert axis.get_xscale() == "log"
    assert [label.get_text() for label in axis.get_yticklabels()] == ["0.0", "6"]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["4 bits", "8 bits"]
