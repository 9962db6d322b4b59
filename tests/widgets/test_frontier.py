from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

import kit
from kit.errors import ArgumentError
from kit.widgets import Frontier
from kit.widgets.scatter import Dot, scatter


@pytest.fixture(scope="module")
def comparison(trained, fashion):
    few = fashion.subset(600, 300, 300)
    slim = kit.prune(trained, few, ratio=0.5, finetune=0)
    variants = {"dense": trained, "slim <b>": slim, "dense again": trained}
    return kit.compare(variants, few, seconds=0.05, memory=False)


@pytest.fixture
def panel(comparison):
    return Frontier(comparison)


def names(panel):
    return re.findall(r'data-choice="show:([^"]+)"', panel._table.html)


def test_the_budget_marks_what_best_returns(panel, comparison):
    assert panel.best.name == comparison.best(max_drop=0.5, by="bytes").name == "dense"
    panel.budget.max, panel.budget.value = 100, 100
    assert panel.best.name == "slim <b>"
    assert "slim <b>" in panel.frame.status
    assert panel._table.html.count("★ best") == 1
    assert "★ slim &lt;b&gt;" in panel._points.html
    assert eval(panel.code, {"comparison": comparison}).name == "slim <b>"


def test_another_cost_moves_the_points(panel, comparison):
    before = panel._points.html
    panel.by.value = "macs"
    assert panel._points.html != before
    assert "multiply-accumulates" in panel._points.html
    assert "by='macs'" in panel.code
    assert "memory" not in [value for _, value in panel.by.options]  # was not measured


def test_a_point_shows_how_it_was_made_and_why(panel, comparison):
    panel._points._handle_custom_msg({"choice": "slim <b>"}, [])
    assert "kit.prune(model, data" in panel._details.value
    assert "slim &lt;b&gt;" in panel._details.value
    assert panel._details.value.count("<li>") == len(comparison["slim <b>"].why)
    assert 'data-choice="slim &lt;b&gt;" aria-label' in panel._points.html
    panel._points._handle_custom_msg({"choice": "nobody"}, [])
    assert "unknown variant 'nobody'" in panel.frame.alert


def test_the_table_sorts_by_a_column_and_turns_round(panel, comparison):
    header = comparison.cells()[0]
    column = header.index("kB")
    panel._table._handle_custom_msg({"choice": f"sort:{column}"}, [])
    assert names(panel)[0] == "slim &lt;b&gt;"
    panel._table._handle_custom_msg({"choice": f"sort:{column}"}, [])
    assert names(panel)[-1] == "slim &lt;b&gt;"
    assert 'aria-sort="descending"' in panel._table.html
    for index in range(len(header)):
        panel._table._handle_custom_msg({"choice": f"sort:{index}"}, [])
    assert panel.frame.alert == ""


def test_what_is_left_for_readers_without_a_kernel(panel, comparison):
    caption, header, rows = panel.table()
    assert panel.best.name in caption
    assert header[-1] == "why"
    assert len(rows) == len(comparison.rows)
    assert panel.figure() is not None


def test_points_lie_in_order_of_their_cost_and_quality():
    dots = [Dot("a", 1.0, 80.0, (79, 81)), Dot("b", 2.0, 90.0, (88, 92))]
    root = ET.fromstring(scatter(dots, x_label="kB", y_label="accuracy, %"))
    circles = [g.find("circle") for g in root.iter("g")]
    (ax, ay), (bx, by) = [(float(c.get("cx")), float(c.get("cy"))) for c in circles]
    assert ax < bx
    assert ay > by
    assert [g.get("tabindex") for g in root.iter("g")] == ["0", "0"]


def test_an_unknown_name_is_refused(panel):
    with pytest.raises(ArgumentError, match="did you mean 'dense'"):
        panel.choose("dens")
