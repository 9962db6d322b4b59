"""Figures of pruning: every layer has its panel, and zeros are counted apart."""

from __future__ import annotations

import numpy as np
import pytest

from kit import plots


@pytest.mark.parametrize("count", [1, 4, 5, 9])
def test_a_panel_a_layer(count):
    scores = {f"layer {i}": [(0.8, 0.7, 0.9), (0.4, 0.3, 0.5)] for i in range(count)}
    figure = plots.sensitivity(scores, (0.5, 0.9), dense=(0.9, 0.85, 0.95), metric="accuracy", text="n = 100")
    drawn = [axis for axis in figure.axes if axis.axison]
    assert [axis.get_title() for axis in drawn] == list(scores)
    assert drawn[-1].get_xlabel() == "fraction removed"
    curve = drawn[0].lines[1]
    assert list(curve.get_xdata()) == [0, 0.5, 0.9]
    assert list(curve.get_ydata()) == [0.9, 0.8, 0.4]
    assert figure.canvas.get_width_height()[0] > 300


def test_zeros_have_a_bar_of_their_own():
    before = np.linspace(-1, 1, 200)
    after = np.where(abs(before) < 0.5, 0, before)
    figure = plots.weight_histograms({"layer": (before, after)})
    axis = figure.axes[0]
    assert axis.get_yscale() == "log"
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels == ["before, 200", "after, 100", "exactly 0, 100"]


def test_bars_before_and_after():
    figure = plots.layer_bars(["a", "b"], {"parameters": ([10, 20], [5, 20]), "MACs": ([1, 2], [1, 1])})
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths == [10, 20, 5, 20]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "b"]
