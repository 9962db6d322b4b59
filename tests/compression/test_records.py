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


@pytest.mark.slow
def test_the_recipe_in_small(fashion, capsys):
    records = recipe()
    goals = (records.Goal(150, 40.0), records.Goal(300, 1.0))
    small = records.Recipe(goals, dense=2, squeeze=8, keep={})
    table = records.records(
        "lenet_300_100", 2, fashion.subset(2000, 500, 500), small, copies=1, epochs=1, widths=(4, 8, 8)
    )
    assert [ratio >= goal.ratio for (ratio, _), goal in zip(table, goals, strict=True)] == [True, True]
    assert table[0][1] < 40
    printed = capsys.readouterr().out
    assert "| 150× at 40.0 %" in printed
    assert "| no |" in printed.splitlines()[-1]
