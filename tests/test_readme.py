"""The README's code runs, and what it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import kit

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_code_runs(tmp_path, monkeypatch):
    """As printed, but for the size of the data."""
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    small = code.replace("fashion_mnist()", "fashion_mnist().subset(3000, 1000, 1000)")
    assert small != code
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(small, "README.md", "exec"), names)
    assert len(names["result"].rows) == 3
    loaded = kit.load(tmp_path / "best-model")
    assert loaded.signature == names["data"].signature


def test_links_and_make_targets_exist():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    makefile = (ROOT / "Makefile").read_text()
    for name in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{name}:", makefile, re.MULTILINE), name


def test_every_verb_of_the_table_exists():
    for cell in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", README, re.MULTILINE):
        for verb in re.findall(r"`(\w+)`", cell):
            assert callable(getattr(kit, verb)), verb
