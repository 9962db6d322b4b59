"""What all panels share, shown on the smallest of them."""

from __future__ import annotations

import base64
import io

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

from kit.errors import ArgumentError
from kit.widgets.panel import Panel


class Sum(Panel):
    title = "Sum"
    about = "Adds <two> numbers."
    value = 0

    @property
    def code(self):
        return f"1 + {self.value}  # <b>"

    def figure(self):
        return None

    def table(self):
        return "a <sum>", ("term", "value"), [("first", "1"), ("<i>", str(self.value))]


def test_the_code_can_be_copied_but_not_changed_and_is_escaped():
    panel = Sum()
    assert "<textarea" in panel._code.value
    assert "readonly" in panel._code.value
    assert "1 + 0  # &lt;b&gt;" in panel._code.value


def test_an_action_that_fails_says_why_and_the_next_one_clears_it():
    panel = Sum()

    def fail():
        raise ArgumentError("give more")

    panel.attempt(fail)
    assert panel.frame.alert == "give more"
    assert isinstance(panel.error, ArgumentError)
    panel.attempt(lambda: {}["key"])
    assert panel.frame.alert == "KeyError: 'key'"
    panel.attempt(lambda: None)
    assert panel.frame.alert == ""


def test_a_button_that_fails_stays_alive():
    panel = Sum()
    button = panel.button("Divide", "by nothing", lambda: 1 / 0)
    button.click()
    assert panel.frame.alert == "ZeroDivisionError: division by zero"
    assert not button.disabled


def test_every_bundle_has_words_for_readers_without_pictures():
    for _, bundle, _ in Sum()._bundles(hidden=True):
        assert "text/plain" in bundle
    table = Sum()._bundles(hidden=False)[0][1]
    assert "&lt;i&gt;" in table["text/html"]
    assert "<i>" in table["text/plain"]


@pytest.fixture(scope="module")
def executed():
    cells = [
        """\
import kit
data = kit.data.fashion_mnist().subset(600, 200, 200)
panel = kit.widgets.Training(data, {"net": kit.models.lenet_300_100()}, epochs=2)
panel""",
        "net = await panel.run()",
        "net.report.stopped, len(panel.runs)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    return notebook


def test_a_notebook_runs_a_panel_from_top_to_bottom(executed):
    assert executed.cells[2].outputs[0].data["text/plain"] == "('finished', 1)"
    assert not [o for cell in executed.cells for o in cell.outputs if o.output_type in {"error", "stream"}]


def test_a_shown_panel_leaves_a_copy_for_readers_without_a_kernel(executed):
    view, table, figure = (output.data for output in executed.cells[0].outputs)
    assert view["text/plain"] == "Training panel"
    assert "kit-static" in table["text/html"]
    assert "kit.train(net, data, epochs=2" in table["text/plain"]
    assert set(figure) == {"text/html", "text/plain"}  # nothing to draw yet


def test_the_cell_that_waited_keeps_a_table_and_a_picture(executed):
    table, figure = executed.cells[1].outputs
    assert "net, optimizer adam" in table.data["text/plain"]
    assert "kit-static" not in table.data["text/html"]
    image = Image.open(io.BytesIO(base64.b64decode(figure.data["image/png"])))
    assert min(image.size) > 200
    assert np.asarray(image.convert("L")).std() > 10  # not blank
    assert figure.metadata["image/png"]["alt"] == "training runs on fashion-mnist"
