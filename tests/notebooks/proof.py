"""Write the notebooks with each exercise tried unsolved before it is solved, for nbval to compare."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat

from kit.exercises import proof

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def write(folder: Path) -> None:
    """Write one proof a notebook; what an earlier call left there goes."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.ipynb"):
        path.unlink()
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        nbformat.write(proof(nbformat.read(path, as_version=4)), folder / path.name)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
