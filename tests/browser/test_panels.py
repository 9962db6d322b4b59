"""The panels in a real JupyterLab: they render, are accessible, obey keyboard and mouse, and leave a copy."""

from __future__ import annotations

import io
import re

import nbformat
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

SETUP = """\
import kit
data = kit.data.fashion_mnist().subset(1000, 300, 300)
net = kit.train(kit.models.convnet(widths=(8, 8, 8)), data, epochs=1, name="net")"""

PANELS = {
    "Data": "kit.widgets.Data(data)",
    "Training": "kit.widgets.Training(data)",
    "Pruning": "kit.widgets.Pruning(net, data)",
    "Quantization": "kit.widgets.Quantization(net, data)",
    "Distillation": "kit.widgets.Distillation(net, data)",
    "Frontier": "kit.widgets.Frontier(kit.compare([net, kit.prune(net, data, finetune=0, round_to=1)], data, seconds=0.05, memory=False))",  # noqa: E501
    "Hardware": "kit.widgets.Hardware()",
    "Sketch": "kit.widgets.Sketch([net, net.renamed('twin')], data)",
    "Photo": "kit.widgets.Photo(net)",
    "Predict": "kit.widgets.Predict('Which is faster?', ['the first', 'the second'])",
}

TRAINING = """\
import kit
data = kit.data.fashion_mnist().subset(2000, 300, 300)
panel = kit.widgets.Training(data, {"net": kit.models.lenet_300_100(), "other": kit.models.lenet_300_100()}, epochs=1000)
panel"""  # noqa: E501


def panel_of(notebook, cell):
    panel = notebook.show(cell).locator(".kit-panel")
    expect(panel.locator(".kit-title")).to_be_visible()
    return panel


def press(panel, text):
    panel.locator("button", has_text=re.compile(f"^{text}$")).click()


def trains(panel):
    """Wait until the first steps are done."""
    expect(panel.get_by_role("progressbar")).to_have_attribute("aria-valuetext", re.compile("^epoch"))


def status(panel):
    return panel.locator(".kit-status")


def test_every_panel_renders_is_accessible_and_leaves_a_copy(lab):
    notebook = lab.notebook(SETUP, *PANELS.values())
    notebook.run()
    assert notebook.errors() == []
    for cell, name in enumerate(PANELS, 1):
        panel = panel_of(notebook, cell)
        expect(panel.locator(".kit-title")).to_have_text(name)
        expect(panel).to_have_attribute("aria-label", f"{name} panel")
        assert notebook.axe(f'.jp-Cell[data-cell="{cell}"] .kit-panel') == [], name
        expect(notebook.show(cell).locator(".kit-static")).to_be_hidden()
        panel.screenshot(path=lab.screenshots / f"panel-{name.lower()}.png")
    stored = notebook.save()
    copies = [[o.data for o in cell.outputs] for cell in stored.cells[1:]]
    for name, (view, table, figure) in zip(PANELS, copies, strict=True):
        assert view["text/plain"] == f"{name} panel"
        assert "<table" in table["text/html"], name
        assert ("image/png" in figure) == (name in {"Data", "Quantization", "Frontier"}), name
    stranger = lab.folder / "from-elsewhere.ipynb"
    stored.cells.append(nbformat.v4.new_markdown_cell("changed, so no longer trusted"))
    nbformat.write(stored, stranger)
    for path in (notebook.path, stranger):
        reopened = lab.open(path, kernel=False)
        for cell in range(1, len(PANELS) + 1):
            expect(reopened.show(cell).locator(".kit-static table, table").first).to_be_visible()
            expect(reopened.show(cell).locator(".kit-panel")).to_have_count(0)
        expect(reopened.show(1).locator(".jp-RenderedImage img")).to_be_visible()
        reopened.screenshot(f"panels-reopened-{path.stem[:4]}")


def test_stop_and_pause_act_in_the_middle_of_a_run(lab):
    notebook = lab.notebook(TRAINING, "net = await panel.run()", "net.report.stopped")
    notebook.start()
    panel = panel_of(notebook, 0)
    trains(panel)
    press(panel, "Pause")
    expect(status(panel)).to_have_text("Paused.")
    held = panel.get_by_role("progressbar").get_attribute("aria-valuetext")
    press(panel, "Start")
    expect(panel.locator(".kit-alert")).to_contain_text("still working")
    assert panel.get_by_role("progressbar").get_attribute("aria-valuetext") == held
    press(panel, "Resume")
    expect(panel.get_by_role("progressbar")).not_to_have_attribute("aria-valuetext", held)
    press(panel, "Stop")
    notebook.wait()
    assert notebook.text(2) == "'stopped'"
    expect(status(panel)).to_contain_text("Run 1 stopped")
    assert notebook.axe('.jp-Cell[data-cell="0"] .kit-panel') == []
    panel.screenshot(path=lab.screenshots / "panel-training-stopped.png")
    assert [set(o["data"]) for o in notebook.outputs(1)] == [
        {"text/html", "text/plain"},
        {"image/png", "text/plain"},
    ]


def test_an_interrupt_of_the_kernel_ends_the_run_with_what_it_has(lab):
    notebook = lab.notebook(
        TRAINING, "net = await panel.run()", "net.report.stopped, len(net.report.epochs) > 0"
    )
    notebook.start()
    panel = panel_of(notebook, 0)
    trains(panel)
    notebook.interrupt()
    notebook.wait()
    assert notebook.errors() == []
    notebook.run(2)
    assert notebook.text(2) == "('interrupted', True)"


def test_a_run_started_by_a_click_renews_the_copy_under_its_panel(lab):
    notebook = lab.notebook(TRAINING, "print('another cell')")
    notebook.run()
    panel = panel_of(notebook, 0)
    panel.get_by_label("Epochs").fill("2")
    panel.get_by_label("Epochs").press("Enter")
    expect(panel.locator("textarea")).to_have_value(re.compile("epochs=2"))
    press(panel, "Start")
    expect(status(panel)).to_contain_text("Run 1 finished")
    notebook.until(
        "kit.content.model.cells.get(0).sharedModel.toJSON().outputs.some(o => 'image/png' in o.data)"
    )
    _, table, figure = (output["data"] for output in notebook.outputs(0))
    assert "finished" in "".join(table["text/plain"])
    assert len(figure["image/png"]) > 10_000
    assert notebook.text(1) == "another cell\n"


def test_the_keyboard_alone_is_enough_and_never_reaches_the_notebook(lab):
    notebook = lab.notebook(
        TRAINING, SETUP, "p = kit.widgets.Pruning(net, data)\np", "d = kit.widgets.Data(data)\nd"
    )
    notebook.run()
    keyboard = notebook.page.keyboard
    panel = panel_of(notebook, 0)
    menu = panel.get_by_label("Model")
    menu.focus()
    keyboard.press("ArrowDown")
    expect(panel.locator("textarea")).to_have_value(re.compile(r"kit\.train\(other"))
    for key in ("x", "d", "d", "a", "b", "m"):
        keyboard.press(key)
    assert len(notebook.cells()) == 4
    panel.locator("textarea").focus()
    keyboard.press("Control+a")
    assert notebook.page.evaluate("String(document.getSelection())").startswith("kit.train(")
    keyboard.press("x")
    panel.locator("button", has_text="Start").focus()
    keyboard.press("Enter")
    trains(panel)
    panel.locator("button", has_text="Stop").focus()
    keyboard.press("Space")
    expect(status(panel)).to_contain_text("stopped")
    pruning = panel_of(notebook, 2)
    slider = pruning.get_by_role("slider", name="all layers")
    slider.focus()
    for _ in range(5):
        keyboard.press("ArrowRight")
    expect(pruning.locator("textarea")).to_have_value(re.compile("ratio=0.55"))
    expect(slider).to_have_attribute("aria-valuetext", "55 %")
    data = panel_of(notebook, 3)
    second = data.locator('button[data-choice="1"]')
    second.focus()
    keyboard.press("Enter")
    expect(second).to_have_attribute("aria-pressed", "true")
    expect(second).to_be_focused()
    assert len(notebook.cells()) == 4


def test_a_panel_whose_kernel_was_restarted_says_so_and_shows_its_copy(lab):
    notebook = lab.notebook(TRAINING)
    notebook.run()
    panel = panel_of(notebook, 0)
    press(panel, "Start")
    trains(panel)
    notebook.restart()
    expect(panel.locator(".kit-lost")).to_contain_text("The kernel was restarted")
    expect(panel.locator("button").first).to_be_hidden()
    expect(notebook.show(0).locator(".kit-static")).to_be_visible()
    panel.screenshot(path=lab.screenshots / "panel-lost.png")


def test_one_draws_by_mouse_and_by_keyboard(lab):
    notebook = lab.notebook(SETUP, PANELS["Sketch"])
    notebook.run()
    panel = panel_of(notebook, 1)
    sheet = panel.locator("canvas")
    box = sheet.bounding_box()
    mouse, keyboard = notebook.page.mouse, notebook.page.keyboard
    mouse.move(box["x"] + 80, box["y"] + 60)
    mouse.down()
    for x, y in ((200, 60), (200, 220), (80, 220)):
        mouse.move(box["x"] + x, box["y"] + y, steps=5)
    mouse.up()
    expect(status(panel)).to_contain_text(re.compile(r"net: .+ \d+%; twin: .+ \d+%"))
    assert sheet.bounding_box() == box  # the answer did not push the sheet from under the pen
    panel.screenshot(path=lab.screenshots / "panel-sketch-drawn.png")
    press(panel, "Clear")
    expect(status(panel)).to_have_text("The sheet is empty: draw something.")
    sheet.focus()
    keyboard.press("Space")
    for _ in range(8):
        keyboard.press("ArrowDown")
    keyboard.press("Space")
    expect(sheet).to_have_attribute("aria-label", re.compile("column 15, row 23"))
    expect(status(panel)).to_contain_text("net: ")
    keyboard.press("Delete")
    expect(status(panel)).to_have_text("The sheet is empty: draw something.")


def jpeg(width, height, **settings):
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(noise).save(content, "JPEG", **settings)
    return content.getvalue()


def test_a_photo_of_any_size_is_answered_and_what_is_none_is_said(lab):
    notebook = lab.notebook(SETUP, PANELS["Photo"])
    notebook.run()
    panel = panel_of(notebook, 1)
    field = panel.locator("input[type=file]")
    large = jpeg(8000, 5000, quality=80)
    assert len(large) > 11_000_000  # more than a message to the kernel may hold
    field.set_input_files({"name": "camera.jpg", "mimeType": "image/jpeg", "buffer": large})
    expect(status(panel)).to_contain_text("net: ")
    field.set_input_files({"name": "empty.png", "mimeType": "image/png", "buffer": b""})
    expect(panel.locator(".kit-alert")).to_contain_text("0 bytes")
    field.set_input_files({"name": "words.png", "mimeType": "image/png", "buffer": b"no picture"})
    expect(panel.locator(".kit-alert")).to_contain_text("no picture that can be read")
    field.set_input_files({"name": "small.jpg", "mimeType": "image/jpeg", "buffer": jpeg(60, 40)})
    expect(status(panel)).to_contain_text("net: ")
    expect(panel.locator(".kit-alert")).to_be_empty()
    assert lab.outside == []


@pytest.mark.parametrize("theme", ["JupyterLab Dark"])
def test_in_a_dark_theme_text_stays_readable(lab, theme):
    notebook = lab.notebook(TRAINING)
    notebook.page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
    notebook.run()
    panel = panel_of(notebook, 0)
    press(panel, "Start")
    trains(panel)
    press(panel, "Stop")
    expect(status(panel)).to_contain_text("stopped")
    assert notebook.axe('.jp-Cell[data-cell="0"] .kit-panel') == []
    panel.screenshot(path=lab.screenshots / "panel-dark.png")


def test_a_prediction_is_committed_by_keyboard_and_shown_beside_the_measurement(lab):
    notebook = lab.notebook(
        'import kit\nbet = kit.widgets.Predict("How many times faster?", unit="×")\nbet', "bet.reveal(1.02)"
    )
    notebook.run(0)
    panel = panel_of(notebook, 0)
    answer, keyboard = panel.get_by_label("Answer"), notebook.page.keyboard
    for typed in ("ten", "10"):
        answer.fill(typed)
        keyboard.press("Tab")
        keyboard.press("Enter")
        if typed == "ten":
            expect(panel.locator(".kit-alert")).to_contain_text("expected a number")
    expect(status(panel)).to_have_text("Committed: 10×.")
    expect(answer).to_be_disabled()
    notebook.run(1)
    expect(status(panel)).to_have_text("You said 10×; it is 1.02×: 9.8× too high.")
    assert notebook.axe('.jp-Cell[data-cell="0"] .kit-panel') == []
    notebook.show(1).screenshot(path=lab.screenshots / "panel-predict-revealed.png")
    assert [set(o["data"]) for o in notebook.outputs(1)] == [
        {"text/html", "text/plain"},
        {"image/png", "text/plain"},
    ]
