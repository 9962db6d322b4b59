"""What a teacher thinks of one sample, drawn at several temperatures."""

from __future__ import annotations

import numpy as np

from kit import plots


def test_a_panel_a_temperature_and_the_true_class_marked_without_colour():
    answers = {1.0: [0.9, 0.1, 0.0], 4.0: [0.5, 0.3, 0.2]}
    figure = plots.softened(np.zeros((1, 28, 28)), answers, ["a", "b", "c"], target=1, text="one sample")
    picture, *panels = figure.axes
    assert picture.get_title() == "b"
    assert [axis.get_title() for axis in panels] == ["T = 1", "T = 4"]
    assert [bar.get_width() for bar in panels[1].patches] == [0.5, 0.3, 0.2]
    assert [bool(bar.get_hatch()) for bar in panels[0].patches] == [False, True, False]
