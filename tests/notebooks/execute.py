"""Execute notebooks in place and normalise them, so that a difference in git is a difference in meaning."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE = {"name": "python"}


def normalise(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Keep ids, counts, outputs and tags; drop timestamps, widget state and editors' own keys."""
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": LANGUAGE})
    for cell in notebook.cells:
        kept = {key: value for key, value in cell.metadata.items() if key in {"tags", "jupyter"}}
        cell.metadata = nbformat.from_dict(kept)
        for output in cell.get("outputs", []):
            output.get("metadata", {}).clear()
    return notebook


def execute(path: Path) -> float:
    """Run every cell in a fresh kernel, write the notebook back, return the seconds it took."""
    notebook = nbformat.read(path, as_version=4)
    begin = time.perf_counter()
    here = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=here).execute()
    nbformat.write(normalise(notebook), path)
    return time.perf_counter() - begin


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(f"{name}: {execute(Path(name)):.0f} s", flush=True)
