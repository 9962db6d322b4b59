from __future__ import annotations

import ctypes
import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

from kit import lessons
from kit.__main__ import main
from kit.errors import ArgumentError, StorageError

ROOT = Path(__file__).parents[1]


def tree(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def protect(folder):
    """Make a folder read-only, as an administrator installs it."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def bound_by_permissions():
    """Let root meet a read-only file as others do: drop CAP_DAC_OVERRIDE before the program starts."""
    if os.geteuid() == 0:
        assert ctypes.CDLL(None).prctl(24, 1, 0, 0, 0) == 0


def kit(package, home, *arguments):
    """Run the command line of another installation in another home."""
    home.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "kit", *arguments],
        env=os.environ | {"PYTHONPATH": str(package), "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=home,
        preexec_fn=bound_by_permissions,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("lessons")


@pytest.fixture(scope="module")
def wheel(place):
    """The package as its wheel installs it, read-only."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place / "dist")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (file,) = (place / "dist").glob("*.whl")
    zipfile.ZipFile(file).extractall(place / "site")
    protect(place / "site")
    return place / "site"


def links(page):
    """Relative links of a Markdown page, without code blocks."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    return [page.parent / target for target in re.findall(r"\]\((?!http)([^)#]+)\)", text)]


def test_a_repository_one_may_write_to_is_its_own_workplace():
    before = tree(ROOT / "notebooks")
    assert lessons.workplace() == ROOT
    assert tree(ROOT / "notebooks") == before


def test_an_installed_package_copies_its_lessons_once(wheel, place):
    home = place / "ann"
    result = kit(wheel, home, "lab", "--copy-only")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"The lessons are in {home / 'maaskit'}\n"
    mine = home / "maaskit" / "notebooks" / "00_tour.ipynb"
    assert mine.read_bytes() == (ROOT / "notebooks" / "00_tour.ipynb").read_bytes()
    assert stat.S_IMODE(mine.stat().st_mode) & 0o600 == 0o600, "the copy is the user's own"
    assert [str(target) for target in links(home / "maaskit" / "README.md") if not target.exists()] == []
    mine.write_text("my work")
    (home / "maaskit" / "notebooks" / "02_prune.ipynb").unlink()
    assert kit(wheel, home, "lab", "--copy-only").returncode == 0
    assert mine.read_text() == "my work"
    assert (home / "maaskit" / "notebooks" / "02_prune.ipynb").exists()


def test_two_users_of_one_installation_do_not_meet(wheel, place):
    before = tree(wheel)
    for name in ("bob", "eve"):
        result = kit(wheel, place / name, "lab", "--copy-only", "--student")
        assert result.returncode == 0, result.stderr
    first, second = (tree(place / name / "maaskit-workshop") for name in ("bob", "eve"))
    assert len(first) == len(second) > 10
    assert not set(first) & set(second)
    assert tree(wheel) == before


def test_a_repository_that_one_may_only_read_is_copied(place):
    checkout, home = place / "checkout", place / "joe"
    shutil.copytree(ROOT / "kit", checkout / "kit", ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("notebooks", "README.md", "data/README.md"):
        (checkout / part).parent.mkdir(exist_ok=True)
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copyfile
        copy(ROOT / part, checkout / part)
    protect(checkout)
    result = kit(checkout, home, "lab", "--copy-only")
    assert result.stdout == f"The lessons are in {home / 'maaskit'}\n", result.stderr


def test_a_home_that_cannot_be_written_is_one_line(wheel, place):
    home = place / "full"
    home.mkdir()
    protect(home)
    result = kit(wheel, place / "any", "lab", "--copy-only", "--folder", str(home / "lessons"))
    assert result.returncode == 1
    assert result.stdout == ""
    assert re.fullmatch(r"kit: cannot write .*; choose another folder\n", result.stderr)


def test_the_student_edition_is_complete(tmp_path):
    copies = sorted((lessons.workplace(tmp_path, student=True) / "notebooks").glob("*.ipynb"))
    assert [path.name for path in copies] == sorted(
        path.name for path in (ROOT / "notebooks").glob("*.ipynb")
    )
    for path in copies:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        assert notebook.metadata.maaskit.edition == "student"


def test_reset_brings_back_the_original_and_keeps_the_old_ones(tmp_path, capsys):
    notebook = lessons.workplace(tmp_path) / "notebooks" / "02_prune.ipynb"
    original = notebook.read_bytes()
    for count in (1, 2):
        spoilt = nbformat.reads(original.decode(), as_version=4)
        spoilt.cells[0].source = f"# Spoilt {count}"
        nbformat.write(spoilt, notebook)
        assert main(["reset", str(notebook)]) == 0
        kept = notebook.with_name(f"02_prune.bak{count}.ipynb")
        assert capsys.readouterr().out == f"{notebook}: the original is back; the old one is {kept}\n"
        assert f"Spoilt {count}" in kept.read_text()
        assert notebook.read_bytes() == original
    assert sorted(path.name for path in notebook.parent.glob("02*")) == [
        "02_prune.bak1.ipynb",
        "02_prune.bak2.ipynb",
        "02_prune.ipynb",
    ]


def test_a_student_gets_the_student_edition_back(tmp_path):
    notebook = lessons.workplace(tmp_path, student=True) / "notebooks" / "02_prune.ipynb"
    handed_out = notebook.read_bytes()
    notebook.write_text(notebook.read_text().replace("# YOUR CODE HERE", "pass"))
    lessons.reset(notebook)
    assert notebook.read_bytes() == handed_out


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"cells": 3}'])
def test_a_notebook_beyond_reading_needs_its_edition_said(tmp_path, content):
    notebook = tmp_path / "02_prune.ipynb"
    notebook.write_bytes(content)
    with pytest.raises(ArgumentError, match="no readable notebook; say what it was"):
        lessons.reset(notebook)
    assert notebook.read_bytes() == content
    kept = lessons.reset(notebook, kind="lesson")
    assert kept.read_bytes() == content
    assert nbformat.read(notebook, as_version=4).cells


def test_what_reset_cannot_do(tmp_path):
    with pytest.raises(ArgumentError, match="unknown lesson '02_prun'; did you mean '02_prune'"):
        lessons.reset(tmp_path / "02_prun.ipynb", kind="lesson")
    with pytest.raises(ArgumentError, match="unknown edition 'teacher'"):
        lessons.reset(tmp_path / "02_prune.ipynb", kind="teacher")
    with pytest.raises(ArgumentError, match="does not exist"):
        lessons.reset(tmp_path / "02_prune.ipynb")
    assert lessons.reset(tmp_path / "02_prune.ipynb", kind="student") is None
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        lessons.reset(tmp_path / "file" / "02_prune.ipynb", kind="student")
