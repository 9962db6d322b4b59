import numpy as np
import pytest

import kit
from kit.plots import latency, throughput
from kit.statistics import Measurement

NAMES = [f"model {i}" for i in range(11)]


def test_percentiles_are_marked_where_the_curve_crosses_them():
    times = np.random.default_rng(0).lognormal(0, 1, 1000)
    figure = latency({"net": times}, conditions="n = 1,000")
    axis = figure.axes[0]
    curve, marks = (line for line in axis.lines if len(line.get_xdata()) > 2)
    np.testing.assert_allclose(marks.get_xdata(), np.percentile(times, (50, 90, 99)))
    np.testing.assert_allclose(
        np.interp(marks.get_xdata(), curve.get_xdata(), curve.get_ydata()), (50, 90, 99), atol=0.2
    )
    assert curve.get_ydata()[-1] == 100
    p50, p90, p99 = (f"{value:.3g}" for value in np.percentile(times, (50, 90, 99)))
    assert figure.legends[0].texts[0].get_text() == f"net: {p50} / {p90} / {p99}"
    assert axis.get_xlabel() == "ms a call"


def test_eleven_series_are_told_apart_without_colour():
    figure = latency({name: [i + 1.0, i + 2.0] for i, name in enumerate(NAMES)}, conditions="n = 2")
    curves = [
        line for line in figure.axes[0].lines if line.get_marker() == "None" and line.get_linewidth() > 1
    ]
    marks = [line for line in figure.axes[0].lines if line.get_linestyle() == "None"]
    assert len(marks) == 11
    assert len({(line.get_color(), line.get_marker()) for line in marks}) == 11
    assert len({line.get_marker() for line in marks[:8]}) == 8
    assert len({line.get_linestyle() for line in curves[:4]}) == 4


def test_throughput_has_a_point_and_an_interval_for_each_batch():
    series = {"net": [(1, Measurement(100, 90, 120, 9)), (32, Measurement(2000, 1900, 2200, 9))]}
    figure = throughput(series, conditions="n = 9, cpu clock")
    axis = figure.axes[0]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["1", "32"]
    segments = [segment[:, 1].tolist() for bars in axis.collections for segment in bars.get_segments()]
    for found, expected in zip(segments, ([90, 120], [1900, 2200]), strict=True):
        assert found == pytest.approx(expected)
    caption = figure._supxlabel.get_text().replace("\n", " ")
    assert "n = 9, cpu clock" in caption
    assert kit.device.processor() in caption


def test_legend_and_caption_stay_inside_the_figure():
    figure = latency({f"a rather long name {i}": [1.0, 2.0] for i in range(4)}, conditions="n = 2, " * 20)
    figure.draw_without_rendering()
    width, height = figure.get_size_inches() * figure.dpi
    for part in (figure._supxlabel, figure.legends[0]):
        box = part.get_window_extent()
        assert box.x0 >= 0, part
        assert box.x1 <= width + 1, part
        assert 0 <= box.y0 <= box.y1 <= height, part
