"""The lab itself: what `kit lab` opens, in a real browser."""

from __future__ import annotations

import pytest


def test_cells_run_and_widgets_work_with_the_keyboard(lab):
    notebook = lab.notebook(
        "import ipywidgets as W\n"
        "slider = W.IntSlider(value=3, description='n')\n"
        "label = W.Label('n is 3')\n"
        "slider.observe(lambda change: setattr(label, 'value', f'n is {change.new}'), 'value')\n"
        "W.VBox([slider, label])",
        "print('sum', 1 + 1)",
        "1 / 0",
    )
    notebook.run()
    assert notebook.text(1) == "sum 2\n"
    assert notebook.errors() == [(2, "ZeroDivisionError", "division by zero")]
    handle = notebook.show(0).locator(".noUi-handle")
    handle.press("ArrowRight")
    notebook.see(0, "n is 4")
    assert any("aria-input-field-name" in line for line in notebook.axe())  # a bare slider has no name
    assert notebook.screenshot("slider").stat().st_size > 10_000


def test_an_interrupt_reaches_a_running_cell(lab):
    notebook = lab.notebook("print('begin')\nwhile True:\n    pass")
    notebook.start()
    notebook.see(0, "begin")
    notebook.interrupt()
    notebook.wait()
    assert notebook.errors() == [(0, "KeyboardInterrupt", "")]
    notebook.restart()


def test_a_request_that_would_leave_the_machine_is_blocked_and_counted(lab):
    page = lab.page("lab")
    with pytest.raises(Exception, match="Failed to fetch"):
        page.evaluate("fetch('https://example.org/x')")
    assert lab.outside == ["https://example.org/x"]
    lab.outside.clear()
