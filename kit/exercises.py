"""Exercises in notebooks: what makes one, and the editions for students, for instructors, and for proof.

An exercise is a Markdown cell tagged `exercise`, a code cell tagged `solution`, and code cells tagged `check`
whose asserts say what is missing. Parts of a solution may stand between nbgrader's marks
`### BEGIN SOLUTION` and `### END SOLUTION`; without them the whole cell is the solution.
"""

from __future__ import annotations

import ast
import copy
import textwrap
from dataclasses import dataclass
from typing import Any

from kit.errors import ArgumentError

BEGIN, END, STUB = "### BEGIN SOLUTION", "### END SOLUTION", "# YOUR CODE HERE"
FAILS = "fails and says why: True\n"
EDITIONS = ("lesson", "student", "instructor")
Notebook = Any  # an nbformat.NotebookNode, which carries no types


@dataclass(frozen=True)
class Exercise:
    """Where an exercise stands: the number of its solution cell and of its check cells, counted from 0."""

    solution: int
    checks: tuple[int, ...]
    wanted: frozenset[str]
    """The names that the checks need and the solution defines."""


def exercises(notebook: Notebook) -> list[Exercise]:
    """Find the exercises of a notebook, in order."""
    found = []
    cells = notebook.cells
    for number, cell in enumerate(cells):
        if "solution" in tags(cell):
            following = range(number + 1, len(cells))
            end = next((n for n in following if "check" not in tags(cells[n])), len(cells))
            checks = tuple(range(number + 1, end))
            used = set().union(*(_names(cells[n].source, ast.Load) for n in checks))
            wanted = frozenset(used & _defined(cell.source))
            found.append(Exercise(number, checks, wanted))
    return found


def tags(cell: Any) -> list[str]:
    """Return the tags of a cell."""
    return list(cell.metadata.get("tags", []))


def problems(notebook: Notebook) -> list[str]:
    """Tell what keeps the exercises of a notebook from working; an empty list means they can."""
    cells, found = notebook.cells, exercises(notebook)
    told = []
    for count, exercise in enumerate(found, start=1):
        before = cells[exercise.solution - 1]
        if before.cell_type != "markdown" or "exercise" not in tags(before):
            told.append(f"exercise {count}: no Markdown cell tagged 'exercise' before its solution")
        if not exercise.checks:
            told.append(f"exercise {count}: no cell tagged 'check' after its solution")
        elif not exercise.wanted:
            told.append(f"exercise {count}: its check uses nothing that the solution defines")
        told += [
            f"exercise {count}: an assert without a message: {ast.unparse(node)}"
            for number in exercise.checks
            for node in ast.walk(_parse(cells[number].source))
            if isinstance(node, ast.Assert) and node.msg is None
        ]
        last = max(exercise.checks, default=exercise.solution)
        for number, cell in enumerate(cells):
            plain = number > last and cell.cell_type == "code" and not {"solution", "check"} & set(tags(cell))
            if plain and (names := _defined(cells[exercise.solution].source) & _names(cell.source, ast.Load)):
                told.append(f"exercise {count}: cell {number} needs its {', '.join(sorted(names))}")
    owned = {number for exercise in found for number in exercise.checks}
    stray = [n for n, cell in enumerate(cells) if "check" in tags(cell) and n not in owned]
    return told + [f"cell {number} is tagged 'check' but follows no solution" for number in stray]


def unsolved(source: str, wanted: frozenset[str]) -> str:
    """Return a solution cell as a student gets it: signatures stay, other `wanted` names become `...`.

    >>> print(unsolved("half = 0.5 * whole", frozenset({"half"})))
    # YOUR CODE HERE
    half = ...
    """
    if BEGIN not in source and END not in source:
        return _stub(source, wanted)
    kept: list[str] = []
    region: list[str] | None = None
    for line in source.splitlines():
        mark = line.strip()
        if mark == BEGIN and region is None:
            region = []
        elif mark == END and region is not None:
            indent = line[: len(line) - len(line.lstrip())]
            stub = f"{STUB}\n..." if indent else _stub(textwrap.dedent("\n".join(region)), wanted)
            kept.append(textwrap.indent(stub, indent))
            region = None
        elif mark in {BEGIN, END}:
            break
        else:
            (kept if region is None else region).append(line)
    else:
        if region is None:
            return "\n".join(kept)
    raise ArgumentError(
        f"{BEGIN} and {END} do not pair up in this cell; each needs a line of its own:\n{source}"
    )


def guarded(check: str, solution: str, wanted: frozenset[str]) -> str:
    """Return a check cell that first asks for the names which `unsolved` left as `...`.

    >>> print(guarded("assert half == 4, 'no'", "half = 4", frozenset({"half"})))
    assert half is not ..., "half is not set yet: do the exercise above"
    assert half == 4, 'no'
    """
    names = sorted(wanted - {node.name for node in _parse(solution).body if isinstance(node, _FUNCTIONS)})
    asked = [f'assert {name} is not ..., "{name} is not set yet: do the exercise above"' for name in names]
    return "\n".join([*asked, check])


def student(notebook: Notebook) -> Notebook:
    """Return the notebook without solutions and outputs; its check cells are locked."""
    edition = _derived(notebook, "student")
    for exercise in exercises(notebook):
        cell = edition.cells[exercise.solution]
        cell.source = unsolved(cell.source, exercise.wanted)
        for number in exercise.checks:
            check = edition.cells[number]
            check.source = guarded(check.source, notebook.cells[exercise.solution].source, exercise.wanted)
            check.metadata.update(editable=False, deletable=False)
    for cell in edition.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return edition


def instructor(notebook: Notebook) -> Notebook:
    """Return the notebook with its outputs, the solutions marked as nbgrader marks them, a point a check."""
    edition = _derived(notebook, "instructor")
    for count, exercise in enumerate(exercises(notebook), start=1):
        cell = edition.cells[exercise.solution]
        if BEGIN not in cell.source:
            cell.source = f"{BEGIN}\n{cell.source}\n{END}"
        grader = {"schema_version": 3, "task": False}
        cell.metadata["nbgrader"] = grader | {
            "grade_id": f"exercise-{count}",
            "solution": True,
            "grade": False,
            "locked": False,
        }
        for part, number in enumerate(exercise.checks, start=1):
            edition.cells[number].metadata["nbgrader"] = grader | {
                "grade_id": f"exercise-{count}-check-{part}",
                "solution": False,
                "grade": True,
                "locked": True,
                "points": 1,
            }
    return edition


def proof(notebook: Notebook) -> Notebook:
    """Return the notebook with each exercise tried unsolved first: its check must fail with a message.

    It must also fail without the question whether the names are set: a check that accepts anything is none.
    Run it and compare what it shows with what it stores: that proves lesson, solutions and checks.
    """
    from nbformat.v4 import new_code_cell, new_output

    edition = copy.deepcopy(notebook)
    for exercise in reversed(exercises(notebook)):
        solution = notebook.cells[exercise.solution].source
        stub, shown = unsolved(solution, exercise.wanted), {"tags": ["nbval-ignore-output"]}
        cells = [new_code_cell(stub, metadata=shown, execution_count=1)]
        for number in exercise.checks:
            check = notebook.cells[number].source
            for source, error in (
                (check, "Exception"),
                (guarded(check, solution, exercise.wanted), "AssertionError"),
            ):
                attempt = (
                    f"try:\n{textwrap.indent(source, '    ')}\n"
                    f"except {error} as reason:\n    print('fails and says why:', bool(str(reason)))"
                )
                output = new_output("stream", name="stdout", text=FAILS)
                tagged = {"tags": ["must-fail"]}
                cells.append(new_code_cell(attempt, metadata=tagged, execution_count=1, outputs=[output]))
        edition.cells[exercise.solution : exercise.solution] = cells
    return edition


def _derived(notebook: Notebook, edition: str) -> Notebook:
    derived = copy.deepcopy(notebook)
    derived.metadata["maaskit"] = {"edition": edition}
    return derived


def _parse(source: str) -> ast.Module:
    """Parse a cell: `await` at its top level and IPython's own syntax are fine."""
    from IPython.core.inputtransformer2 import TransformerManager

    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    try:
        tree = compile(
            TransformerManager().transform_cell(source), "<cell>", "exec", flags, dont_inherit=True
        )
    except SyntaxError as error:
        raise ArgumentError(f"a cell is not Python ({error.msg}, line {error.lineno}):\n{source}") from None
    assert isinstance(tree, ast.Module)
    return tree


def _names(source: str, context: type[ast.expr_context]) -> set[str]:
    nodes = ast.walk(_parse(source))
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, context)}


def _defined(source: str) -> set[str]:
    """Names that a cell leaves behind, without those inside its functions and comprehensions."""
    names = set()
    for node in _outer(_parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*_FUNCTIONS, ast.ClassDef, ast.Lambda)
_LOOPS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def _outer(node: ast.AST) -> list[ast.AST]:
    children = [] if isinstance(node, (*_SCOPES, *_LOOPS)) else list(ast.iter_child_nodes(node))
    return [node, *(inner for child in children for inner in _outer(child))]


def _stub(code: str, wanted: frozenset[str]) -> str:
    parts, defined = [STUB], set()
    for node in _parse(code).body:
        if isinstance(node, _FUNCTIONS) and node.name in wanted:
            text = ast.get_docstring(node, clean=False) is not None
            node.body = [*(node.body[:1] if text else []), ast.Expr(ast.Constant(...))]
            parts.append(ast.unparse(node))
            defined.add(node.name)
    rest = sorted((wanted & _defined(code)) - defined)
    return "\n".join(parts + [f"{name} = ..." for name in rest])
