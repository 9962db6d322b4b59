"""The notebooks as they are stored: run, in order, in one form. nbval then compares what they show."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
CODE_LINES = range(50, 151)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_is_one_notebook_a_stage():
    stems = [path.stem for path in NOTEBOOKS]
    assert stems == [
        "00_tour",
        "01_train",
        "02_prune",
        "03_quantize",
        "04_distill",
        "05_export",
        "06_benchmark",
        "07_deep_compression",
        "08_search",
        "09_int8_on_your_processor",
        "10_panels",
        "11_formats",
        "12_text",
        "13_speech",
        "14_serve",
    ]


def test_every_cell_was_run_in_order(notebook):
    """A cell without a count is run but not compared by nbval: wrong code would pass."""
    counts = [cell.execution_count for cell in code(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_no_stored_error_and_no_warning(notebook):
    for cell in code(notebook):
        for output in cell.outputs:
            expected = "raises-exception" in cell.metadata.get("tags", [])
            assert output.output_type != "error" or expected, cell.source
            assert output.get("name") != "stderr", cell.source


def test_kernel_and_metadata_are_neutral(notebook):
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert not [cell.id for cell in notebook.cells if set(cell.metadata) - {"tags", "jupyter"}]


def test_form(notebook):
    """Style: 20 to 45 cells, none over 25 lines, a title and a goal first, asserts, plots, exercises last."""
    assert 20 <= len(notebook.cells) <= 45
    lengths = [len(cell.source.strip().splitlines()) for cell in code(notebook)]
    assert max(lengths) <= 25
    assert sum(lengths) in CODE_LINES
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    titles = [cell.source.splitlines()[0] for cell in notebook.cells if cell.cell_type == "markdown"]
    assert len([title for title in titles if title.startswith("# ")]) == 1
    assert any("xercise" in title for title in titles)
    assert sum("assert " in cell.source for cell in code(notebook)) >= 5
    images = [o for cell in code(notebook) for o in cell.outputs if "image/png" in o.get("data", {})]
    assert 2 <= len(images) <= 7


def test_size(notebook):
    assert len(nbformat.writes(notebook)) < 600_000


def test_no_path_of_a_machine(notebook):
    text = nbformat.writes(notebook)
    assert "/home/" not in text
    assert "/root/" not in text
    assert "/work/" not in text
