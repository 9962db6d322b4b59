from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from kit import workshop
from kit.__main__ import main
from kit.errors import ArgumentError, ModelError
from kit.workshop import Lesson

HEAD = "# Halves\n\n**Goal.** Halve `whole` & see.\n\n**Time.** {minutes} minutes. **Before this.** Nothing."


def lesson(solution="half = whole / 2", check="assert half == 4, 'half of 8 is 4'", minutes=40):
    def code(source, *tags):
        return new_code_cell(source, metadata={"tags": list(tags)})

    return new_notebook(
        cells=[
            new_markdown_cell(HEAD.format(minutes=minutes)),
            code("import os\nwhole = 8"),
            new_markdown_cell("Halve it.", metadata={"tags": ["exercise"]}),
            code(solution, "solution"),
            code(check, "check"),
            code("os.environ['KIT_FAST']"),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "notebooks").mkdir()
    nbformat.write(lesson(), tmp_path / "notebooks" / "01_halves.ipynb")
    return tmp_path


def run(path):
    """Run a notebook to its end; return which cells failed, and with what."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, allow_errors=True, timeout=60).execute()
    errors = [(n, out) for n, cell in enumerate(notebook.cells) for out in cell.get("outputs", [])]
    return [(n, out.ename, out.evalue) for n, out in errors if out.output_type == "error"]


def test_the_solved_edition_passes_and_the_unsolved_one_fails_exactly_at_its_check(
    folder, capsys, monkeypatch
):
    monkeypatch.setenv("KIT_FAST", "1")
    arguments = ["workshop", "--folder", str(folder / "out"), "--notebooks", str(folder / "notebooks")]
    assert main(arguments) == 0
    out = folder / "out"
    assert run(out / "instructor" / "01_halves.ipynb") == []
    assert run(out / "student" / "01_halves.ipynb") == [
        (4, "AssertionError", "half is not set yet: do the exercise above")
    ]
    assert f"Print {out / 'schedule.html'}" in capsys.readouterr().out
    page = (out / "schedule.html").read_text()
    assert "Halve <code>whole</code> &amp; see." in page
    assert "9:00–9:40" in page
    assert "Computing is one run in fast mode" in page
    assert sorted(path.name for path in out.iterdir()) == ["instructor", "schedule.html", "student"]


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ({"solution": "half = 3"}, "does not run on this machine: .*half of 8 is 4"),
        ({"check": "assert half, 'set half'"}, "accepts an exercise that nobody solved"),
        (
            {"solution": "def half():\n    return 4", "check": "assert half().real == 4, '4'"},
            "no attribute 'real'",
        ),
    ],
)
def test_a_lesson_that_does_not_hold_stops_the_workshop(broken, told):
    with pytest.raises(ModelError, match=f"(?s){told}"):
        workshop.prove(lesson(**broken), "halves")


def test_an_incomplete_exercise_is_told_before_anything_runs(folder):
    notebook = lesson()
    del notebook.cells[4]
    nbformat.write(notebook, folder / "notebooks" / "00_first.ipynb")
    with pytest.raises(ArgumentError, match=r"00_first\.ipynb: exercise 1: no cell tagged 'check'"):
        workshop.workshop(folder / "out", folder / "notebooks")
    assert not (folder / "out").exists()


def test_without_a_run_the_schedule_says_so(folder):
    page = workshop.workshop(folder / "out", folder / "notebooks", run=False, begin="13:30").read_text()
    assert "13:30–14:10" in page
    assert "The time of computing was not measured" in page
    assert "not measured</td>" in page


def test_what_a_workshop_cannot_be(folder):
    with pytest.raises(ArgumentError, match="no notebooks in"):
        workshop.workshop(folder / "out", folder)
    for begin in ("25:00", "9", "9:60", ""):
        with pytest.raises(ArgumentError, match="expected hours and minutes"):
            workshop.workshop(folder / "out", folder / "notebooks", begin=begin)
    with pytest.raises(ArgumentError, match=r"the first cell needs '# title'"):
        workshop.describe(new_notebook(cells=[new_markdown_cell("# Only a title")]), "x")


def test_breaks_keep_class_under_an_hour_and_a_half():
    page = workshop.schedule([Lesson(f"0{n}", f"Lesson {n}", "Learn.", 40, 2, 10.0) for n in range(3)])
    times = ["9:00–9:40", "9:40–10:20", "10:20</td>", "10:35–11:15", "Ends at 11:15"]
    places = [page.index(time) for time in times]
    assert places == sorted(places)
    assert page.count("Break") == 1
    assert "30 s in all" in page
