from __future__ import annotations

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from kit import exercises
from kit.errors import ArgumentError


def code(source, *tags):
    return new_code_cell(source, metadata={"tags": list(tags)} if tags else {})


def lesson(*cells):
    return new_notebook(cells=[new_markdown_cell("# A lesson"), code("whole = 8"), *cells])


def exercise(solution="half = whole / 2", check="assert half == 4, 'half of 8 is 4'"):
    statement = new_markdown_cell("Halve it.", metadata={"tags": ["exercise"]})
    return [statement, code(solution, "solution"), code(check, "check")]


def stub(source, *wanted):
    return exercises.unsolved(source, frozenset(wanted))


def test_only_the_names_that_the_check_needs_stay():
    notebook = lesson(*exercise("step = whole / 4\nhalf = step * 2\nfor rest in range(2):\n    pass"))
    (found,) = exercises.exercises(notebook)
    assert (found.solution, found.checks, found.wanted) == (3, (4,), {"half"})
    edition = exercises.student(notebook)
    assert edition.cells[3].source == "# YOUR CODE HERE\nhalf = ..."
    assert notebook.cells[3].source.startswith("step"), "the lesson itself is untouched"


def test_a_function_keeps_its_signature_and_docstring():
    source = (
        'def halve(x: float, *, twice: bool = False) -> float:\n    """Return half of x."""\n    return x / 2'
    )
    text = stub(source, "halve")
    assert "def halve(x: float, *, twice: bool=False) -> float:" in text
    assert '"""Return half of x."""' in text
    assert "return" not in text.replace("Return half", "")
    names: dict = {}
    exec(text, names)
    assert names["halve"](3) is None


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("squares = [i * i for i in range(3)]", {"squares"}),
        ("a, (b, *c) = 1, (2, 3)", {"a", "b", "c"}),
        ("import numpy as np\nfrom os import path", {"np", "path"}),
        ("with open('x') as file:\n    text = file.read()", {"file", "text"}),
        ("run = await start()\n%matplotlib inline", {"run"}),
        ("if (n := 3) > 2:\n    big = lambda m: m", {"n", "big"}),
    ],
)
def test_every_way_to_define_a_name(source, kept):
    text = stub(source, *kept, "never")
    assert text.splitlines()[0] == "# YOUR CODE HERE"
    assert set(text.splitlines()[1:]) == {f"{name} = ..." for name in kept}


def test_regions_between_nbgraders_marks():
    source = (
        "def halve(x):\n    ### BEGIN SOLUTION\n    y = x / 2\n    return y\n    ### END SOLUTION\n"
        "print('kept')\n### BEGIN SOLUTION\nhalf = halve(8)\n### END SOLUTION"
    )
    assert stub(source, "half", "halve") == (
        "def halve(x):\n    # YOUR CODE HERE\n    ...\nprint('kept')\n# YOUR CODE HERE\nhalf = ..."
    )


@pytest.mark.parametrize(
    "marks",
    [
        "### BEGIN SOLUTION\na = 1",
        "a = 1\n### END SOLUTION",
        "### BEGIN SOLUTION\n### BEGIN SOLUTION\na = 1\n### END SOLUTION",
    ],
)
def test_marks_that_do_not_pair_up(marks):
    with pytest.raises(ArgumentError, match="do not pair up"):
        stub(marks, "a")


def test_a_cell_that_is_not_python():
    with pytest.raises(ArgumentError, match="not Python"):
        exercises.problems(lesson(*exercise("half = = 4")))


def test_the_student_edition_shows_nothing_and_locks_its_checks():
    notebook = lesson(*exercise())
    notebook.cells[1].outputs = [{"output_type": "stream", "name": "stdout", "text": "8"}]
    notebook.cells[1].execution_count = 1
    edition = exercises.student(notebook)
    assert edition.metadata.maaskit.edition == "student"
    assert edition.cells[1].outputs == []
    assert edition.cells[1].execution_count is None
    assert edition.cells[4].metadata.editable is False
    assert "whole / 2" not in str(edition)


def test_the_instructor_edition_is_marked_for_nbgrader():
    edition = exercises.instructor(lesson(*exercise(), *exercise()))
    assert edition.cells[3].source == "### BEGIN SOLUTION\nhalf = whole / 2\n### END SOLUTION"
    ids = [cell.metadata.nbgrader.grade_id for cell in edition.cells if "nbgrader" in cell.metadata]
    assert ids == ["exercise-1", "exercise-1-check-1", "exercise-2", "exercise-2-check-1"]
    assert [cell.metadata.nbgrader.get("points") for cell in edition.cells[3:5]] == [None, 1]


def test_the_student_edition_of_the_instructor_edition_is_the_same():
    notebook = lesson(*exercise())
    again = exercises.student(exercises.instructor(notebook))
    assert [c.source for c in again.cells] == [c.source for c in exercises.student(notebook).cells]


def test_a_sound_lesson_has_no_problems():
    assert exercises.problems(lesson(*exercise(), *exercise("half = 4"))) == []


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (exercise()[1:], "no Markdown cell tagged 'exercise'"),
        (exercise()[:2], "no cell tagged 'check'"),
        (exercise(check="assert whole == 8, 'eight'"), "uses nothing that the solution defines"),
        (exercise(check="assert half == 4"), "an assert without a message: assert half == 4"),
        ([*exercise(), code("print(half)")], "cell 5 needs its half"),
        ([code("assert whole, 'eight'", "check")], "cell 2 is tagged 'check' but follows no solution"),
    ],
)
def test_what_keeps_an_exercise_from_working_is_told(cells, told):
    (problem,) = exercises.problems(lesson(*cells))
    assert told in problem


def run(notebook):
    """Run the code of a notebook here, return what it printed."""
    import contextlib
    import io

    printed = io.StringIO()
    names: dict = {}
    with contextlib.redirect_stdout(printed):
        for cell in notebook.cells:
            if cell.cell_type == "code":
                exec(cell.source, names)
    return printed.getvalue()


def test_the_proof_tries_each_exercise_unsolved_and_solved():
    notebook = lesson(*exercise(), *exercise("third = whole / 3", "assert third != ..., 'set third'"))
    attempt = exercises.proof(notebook)
    assert len(attempt.cells) == len(notebook.cells) + 6
    assert run(attempt) == 4 * exercises.FAILS


def test_the_proof_sees_a_check_that_accepts_anything():
    """Once it fails: where the student edition asks whether the name is set."""
    assert run(exercises.proof(lesson(*exercise(check="assert half, 'set half'")))) == exercises.FAILS


def test_the_proof_sees_a_solution_that_fails():
    with pytest.raises(AssertionError, match="half of 8 is 4"):
        run(exercises.proof(lesson(*exercise("half = 3"))))


def test_the_proof_sees_a_check_that_breaks_instead_of_helping():
    """A stub that returns None must not meet `None + 1` before an assert."""
    halve = exercise("def halve(x):\n    return x / 2", "assert halve(8) + 1 == 5, 'half of 8 is 4'")
    with pytest.raises(TypeError):
        run(exercises.proof(lesson(*halve)))


def test_the_student_is_first_asked_for_what_is_missing():
    source = "def halve(x):\n    return x / 2\nhalf = halve(8)"
    notebook = lesson(*exercise(source, "assert halve(4) == half / 2, 'no'"))
    check = exercises.student(notebook).cells[4].source
    assert check == (
        'assert half is not ..., "half is not set yet: do the exercise above"\n'
        "assert halve(4) == half / 2, 'no'"
    )
