from __future__ import annotations

from kit.plots import prediction
from kit.statistics import Measurement


def test_both_are_drawn_with_their_unit_and_the_interval():
    figure = prediction(
        5.0, Measurement(1.0, 0.9, 1.2, 12, method="bootstrap 95 %"), unit="×", title="Faster?"
    )
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["measured", "predicted"]
    assert len({line.get_marker() for line in axis.lines}) == 2
    (bar,) = axis.collections
    assert bar.get_segments()[0][:, 0].tolist() == [0.9, 1.2]
    assert axis.get_xlim()[0] == 0
    assert "n = 12" in figure.get_supxlabel()


def test_negative_values_are_not_cut_off():
    (axis,) = prediction(None, -2.0).axes
    assert axis.get_xlim()[0] < -2
    assert len(axis.lines) == 1


def test_a_long_question_takes_two_lines_and_stays_on_the_figure():
    question = "Closed loop, half a second of standstill: what is the 99th percentile that clients see?"
    figure = prediction(None, 8.6, unit=" ms", title=question)
    figure.canvas.draw()
    axis = figure.axes[0]
    assert axis.get_title().replace("\n", " ") == question
    box = axis.title.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width
