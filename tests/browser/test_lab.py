"""What `kit lab` opens, in a real browser."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import psutil
import pytest
from playwright.sync_api import Error, expect


def drawn(picture):
    """Wait until a picture has been loaded and drawn."""
    picture.page.wait_for_function("image => image.naturalWidth > 100", arg=picture.element_handle())


def test_the_server_listens_to_this_machine_only_and_asks_for_its_token(server):
    listening = {
        connection.laddr.ip
        for connection in psutil.Process(server.process.pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == server.port
    }
    assert listening == {"127.0.0.1"}
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{server.url}/api/contents")
    assert "notebooks" in json.dumps(server.ask("api/contents"))


def test_the_readme_is_the_first_page_and_its_links_open_notebooks(lab):
    page = lab.page("")
    page.wait_for_url("**/lab/tree/README.md*")
    readme = page.locator(".jp-MarkdownViewer")
    expect(readme.get_by_role("heading", name="maaskit", exact=True)).to_be_visible()
    expect(page.locator(".Toastify__toast")).to_have_count(0)
    drawn(readme.locator("img").first)
    page.screenshot(path=lab.screenshots / "readme.png")
    readme.get_by_role("link", name="02_prune").click()
    expect(page.locator(".jp-Notebook")).to_be_visible()
    page.get_by_role("tab", name="Table of Contents").click()
    expect(page.locator(".jp-TableOfContents-tree").get_by_text("Exercises")).to_be_visible()


def test_cells_run_and_widgets_work_with_the_keyboard(lab):
    notebook = lab.notebook(
        "import ipywidgets as W\n"
        "slider = W.IntSlider(value=3, description='n')\n"
        "label = W.Label('n is 3')\n"
        "slider.observe(lambda change: setattr(label, 'value', f'n is {change.new}'), 'value')\n"
        "W.VBox([slider, label])",
        "import os, sys, kit\nprint(kit.fast(), sys.executable, os.environ['HOME'])",
        "1 / 0",
    )
    notebook.run()
    assert notebook.text(1).split() == ["True", lab.server.python, str(lab.folder.parent)]
    assert notebook.errors() == [(2, "ZeroDivisionError", "division by zero")]
    handle = notebook.show(0).locator(".noUi-handle")
    handle.press("ArrowRight")
    notebook.see(0, "n is 4")
    assert any("aria-input-field-name" in line for line in notebook.axe())  # a bare slider has no name


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
    for address in ("https://example.org/x", "http://192.0.2.1/y"):
        with pytest.raises(Error, match="Failed to fetch"):
            page.evaluate("address => fetch(address)", address)
    assert lab.outside == ["https://example.org/x", "http://192.0.2.1/y"]
    lab.outside.clear()


def test_the_tour_runs_to_its_end(lab):
    notebook = lab.open("notebooks/00_tour.ipynb")
    notebook.run(seconds=600)
    assert notebook.errors() == []
    assert all(cell["execution_count"] for cell in notebook.cells() if cell["cell_type"] == "code")
    saved = notebook.save()
    assert sum("image/png" in out.get("data", {}) for c in saved.cells for out in c.get("outputs", [])) >= 2


def test_without_a_kernel_the_pictures_are_there(lab):
    notebook = lab.open("notebooks/00_tour.ipynb", kernel=False)
    shown = [i for i, c in enumerate(notebook.cells()) if "image/png" in json.dumps(c.get("outputs", []))]
    assert len(shown) >= 2
    for cell in shown:
        drawn(notebook.show(cell).locator(".jp-OutputArea-output img").first)
    expect(notebook.page.get_by_text("Error displaying widget")).to_have_count(0)
