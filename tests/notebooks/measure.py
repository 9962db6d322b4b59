"""Measure the notebooks against the style they should have; with --time also run each in fast mode."""

from __future__ import annotations

import ast
import statistics
import sys
from pathlib import Path

import nbformat

from kit import device
from kit.exercises import exercises
from kit.workshop import prove

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
COLUMNS = {
    "notebook": "",
    "cells": "20–45",
    "code lines": "50–130",
    "lines a cell (median)": "3–6",
    "longest": "≤ 25",
    "asserts": "≥ 5",
    "plots": "2–5",
    "words a code line": "",
    "exercises": "≥ 2",
    "seconds": "≤ 60",
}


def measure(path: Path, *, timed: bool) -> dict[str, object]:
    """Return one row; exercises count as cells, but not their code as lines."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    told = [c for c in code if not {"solution", "check"} & set(c.metadata.get("tags", []))]
    lengths = [len(cell.source.strip().splitlines()) for cell in told]
    words = sum(len(cell.source.split()) for cell in notebook.cells if cell.cell_type == "markdown")
    asserts = sum(isinstance(n, ast.Assert) for c in told for n in ast.walk(ast.parse(c.source)))
    plots = sum("image/png" in out.get("data", {}) for c in code for out in c.outputs)
    values = (
        path.stem,
        len(notebook.cells),
        sum(lengths),
        statistics.median(lengths),
        max(lengths),
        asserts,
        plots,
        round(words / sum(lengths), 1),
        len(exercises(notebook)),
        round(prove(notebook, path.name)) if timed else "–",
    )
    return dict(zip(COLUMNS, values, strict=True))


def main(*, timed: bool) -> None:
    """Print the table and the machine."""
    rows = [COLUMNS | {"notebook": "aim"}]
    for path in NOTEBOOKS:
        print(f"{path.stem} …", file=sys.stderr, flush=True)
        rows.append(measure(path, timed=timed))
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row.values()))} |")
    if timed:
        total = sum(int(str(row["seconds"])) for row in rows[1:])
        print(f"\n{total} s in all, every exercise tried unsolved and solved, on {device.describe()}")


if __name__ == "__main__":
    main(timed="--time" in sys.argv[1:])
