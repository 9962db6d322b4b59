"""Every notebook is a lesson: a goal, a time, and exercises whose checks help."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from kit.exercises import exercises, problems, student
from kit.workshop import describe

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def test_goal_time_and_what_comes_before(notebook):
    lesson = describe(notebook, "lesson")
    assert 5 <= lesson.minutes <= 60
    assert "**Before this.**" in notebook.cells[0].source


def test_exercises_are_complete(notebook):
    assert problems(notebook) == []
    assert len(exercises(notebook)) >= 2


def test_the_student_edition_gives_nothing_away(notebook):
    edition = student(notebook)
    for exercise in exercises(notebook):
        solution = notebook.cells[exercise.solution].source
        stub = edition.cells[exercise.solution].source
        assert "# YOUR CODE HERE" in stub
        assert len(stub) < len(solution)
    assert not [cell for cell in edition.cells if cell.get("outputs")]
    nbformat.validate(edition)
