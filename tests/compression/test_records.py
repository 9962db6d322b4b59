"""The records' recipe, in small: its files fit, and its table says what was reached."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


def recipe():
    """Import the script that `make bench` runs."""
    spec = importlib.util.spec_from_file_location(
        "records", Path(__file__).parents[1] / "benchmarks" / "records.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["records"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def records():
    return recipe()


@pytest.mark.slow
def test_the_recipe_in_small_and_what_a_stopped_run_keeps(fashion, records, tmp_path, capsys):
    goals = (records.Goal(150, 40.0, "a paper"), records.Goal(300, 1.0))
    first, small = (records.Recipe(goals[:n], dense=2, squeeze=8) for n in (1, 2))
    data, how = fashion.subset(2000, 500, 500), {"copies": 1, "epochs": 1, "widths": (4, 8, 8)}

    def run(seeds, recipe, **more):
        return records.records("lenet_300_100", seeds, data, recipe, tmp_path, **more, **how)

    run(1, first)
    kept = (tmp_path / "figures.jsonl").read_text()
    table = run(2, small)
    assert [ratio >= goal.ratio for (ratio, _), goal in zip(table, goals, strict=True)] == [True, True]
    assert table[0][1] < 40
    assert (tmp_path / "figures.jsonl").read_text().startswith(kept)
    printed = capsys.readouterr().out
    assert "| a paper | 150× at 40.0 % |" in printed
    assert printed.count("| no |") == 1
    assert run(1, first, penalties=(True, False)) != []
    assert "| 150× | " in capsys.readouterr().out
    lines = (tmp_path / "figures.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 2 * (len(goals) + 1) + 1  # teacher, two seeds, one file without the penalty
    assert (tmp_path / "lenet_300_100-0-150-no-penalty.kit").stat().st_size <= 1_066_440 // 150
