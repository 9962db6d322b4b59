from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from kit.widgets.curves import Curve, chart, histogram, ticks


def parse(svg):
    return ET.fromstring(svg)


def test_a_chart_says_its_last_values_and_escapes_what_it_is_told():
    first, second = Curve("train", [0, 1], [2.0, 1.0]), Curve("<b>&", [0, 1], [3.0, 0.5])
    root = parse(chart([first, second], title='loss "a"', x_label="epoch"))
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'loss "a": train 1, <b>& 0.5'
    dashes = [line.get("stroke-dasharray") for line in root.iter("polyline")]
    assert len(set(dashes)) == 2  # never colour alone


def test_points_lie_where_they_belong():
    root = parse(chart([Curve("a", [0, 1, 2], [0.0, 10.0, 5.0])], title="y", x_label="x"))
    (line,) = root.iter("polyline")
    x, y = np.array([[float(v) for v in p.split()] for p in line.get("points").split(",")]).T
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.2)
    assert y[0] - y[2] == pytest.approx(y[2] - y[1], abs=0.2)  # 5 is half way from 0 to 10
    assert y[1] < y[0]  # up is more


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0], [float("nan")], [0.0], [1e-9, 1e9]])
def test_any_number_of_points_can_be_drawn(values):
    curve = Curve("a")
    for x, y in enumerate(values):
        curve.add(x, y)
    assert parse(chart([curve], title="t", x_label="x")).tag == "svg"


def test_a_long_curve_keeps_its_shape_in_few_points():
    curve = Curve("sine")
    for step in range(20_000):
        curve.add(step, np.sin(step / 3000))
    assert 70 < len(curve.x) <= 160
    assert np.abs(np.array(curve.y) - np.sin(np.array(curve.x) / 3000)).max() < 0.01
    assert curve.x == sorted(curve.x)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.031, 0.97), (-5, 12345), (0.1, 0.1000001), (3, 3)])
def test_ticks_are_round_and_cover_the_span(low, high):
    found = ticks(low, high)
    assert found[0] <= low + 1e-12
    assert found[-1] >= high - 1e-12
    assert 2 <= len(found) <= 7
    assert len(set(found)) == len(found)


def test_a_histogram_counts_every_value_and_marks_every_level():
    values = np.random.default_rng(0).normal(size=500)
    root = parse(histogram(values, np.arange(-7, 8) * 0.4, title="weights"))
    heights = [float(bar.get("height")) for bar in root.iter("rect")]
    edge = max(np.abs(values).max(), 2.8)
    counts, _ = np.histogram(values, 61, (-edge, edge))
    assert len(heights) == (counts > 0).sum()
    assert max(heights) / min(heights) == pytest.approx(counts.max() / counts[counts > 0].min(), rel=0.05)
    assert len([path for path in root.iter("path") if path.get("stroke") == "#D55E00"]) == 15
    assert "500 values" in root.get("aria-label")
