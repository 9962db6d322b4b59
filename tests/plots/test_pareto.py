from itertools import combinations

import pytest

import kit
from kit.plots import Point, pareto

POINTS = [
    Point("convnet", 492, 92.1, None, (91.5, 92.6)),
    Point("convnet pruned 50%", 131, 91.8, None, (91.2, 92.3)),
    Point("convnet int8", 145, 92.0, None, (91.4, 92.5)),
    Point("convnet pruned 50% int8", 43, 91.6, None, (91.0, 92.1)),
    Point("mobilenet", 127, 88.3, None, (87.6, 88.9), dominated=True),
]


def drawn(points=POINTS, **changes):
    settings = {"cost": "kB on disk", "quality": "accuracy, %", "text": "n = 10,000"} | changes
    figure = pareto(points, **settings)
    figure.draw_without_rendering()
    return figure, figure.axes[0]


def boxes(axis):
    from matplotlib.text import Text

    return {text.get_text(): Text.get_window_extent(text) for text in axis.texts}


def test_labels_cover_neither_one_another_nor_the_frame():
    _, axis = drawn()
    found = boxes(axis)
    assert set(found) == {point.name for point in POINTS}
    for (one, first), (other, second) in combinations(found.items(), 2):
        assert not first.overlaps(second), f"{one} covers {other}"
    for name, box in found.items():
        assert axis.bbox.x0 <= box.x0, name
        assert box.x1 <= axis.bbox.x1 + 1, name


def test_equal_points_still_get_labels_apart():
    _, axis = drawn([Point(name, 1.0, 90.0, (0.9, 1.1)) for name in ("one", "other", "third")])
    for first, second in combinations(boxes(axis).values(), 2):
        assert not first.overlaps(second)


def test_dominated_points_are_hollow_and_markers_differ():
    _, axis = drawn()
    lines = {line.get_markerfacecolor(): line for line in axis.lines if line.get_markersize() == 8}
    assert "white" in lines
    markers = [line.get_marker() for line in axis.lines if line.get_markersize() == 8]
    assert len(set(markers)) == len(POINTS)
    assert (
        sum(line.get_markerfacecolor() == "white" for line in axis.lines if line.get_markersize() == 8) == 1
    )


def test_the_front_leaves_dominated_points_out_and_goes_up_with_cost():
    _, axis = drawn()
    front = next(line for line in axis.lines if line.get_drawstyle() == "steps-post")
    assert list(front.get_xdata()) == [43, 131, 145, 492]
    assert list(front.get_ydata()) == sorted(front.get_ydata())


def test_intervals_are_error_bars_to_scale():
    _, axis = drawn([Point("a", 2.0, 90.0, (1.5, 2.75), (89.0, 92.0))])
    segments = [segment.tolist() for bars in axis.collections for segment in bars.get_segments()]
    assert [[1.5, 90.0], [2.75, 90.0]] in segments
    assert [[2.0, 89.0], [2.0, 92.0]] in segments


def test_n_machine_and_units_stand_on_the_figure():
    figure, axis = drawn()
    caption = figure._supxlabel.get_text().replace("\n", " ")
    assert "n = 10,000" in caption
    assert kit.device.processor() in caption
    assert axis.get_xlabel().startswith("kB on disk")
    assert axis.get_xscale() == "log"  # costs span a factor of eleven
    assert drawn(POINTS[:3])[1].get_xscale() == "linear"


def test_a_small_error_is_marked_as_the_good_direction():
    assert drawn(lower_is_better=True, quality="RMSE")[1].get_ylabel() == "RMSE  (better ↓)"


@pytest.mark.parametrize("count", [1, 12])
def test_any_number_of_points_can_be_drawn(count, tmp_path):
    figure, _ = drawn([Point(f"model {i}", 1 + i % 4, 90 + i % 5) for i in range(count)])
    figure.savefig(tmp_path / "front.png")
    assert (tmp_path / "front.png").stat().st_size > 10_000
