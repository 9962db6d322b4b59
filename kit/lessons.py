"""The lessons: where this installation keeps them, a user's own copy, and the way back to the original."""

from __future__ import annotations

import json
import os
from pathlib import Path

from kit import exercises
from kit.errors import ArgumentError, MissingDataError, StorageError, unknown
from kit.files import atomic

PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "data/README.md")
PARTS = (*PAGES, "notebooks/*.ipynb", "notebooks/images/*")


def installed() -> Path:
    """Return the folder of this installation that holds the README and the notebooks.

    Raises:
        MissingDataError: when the installation has none.
    """
    package = Path(__file__).parent
    for folder in (package / "bundled", package.parent):
        if (folder / "notebooks").is_dir():
            return folder
    raise MissingDataError(f"no lessons in {package / 'bundled'}; reinstall maaskit")


def workplace(folder: Path | None = None, *, student: bool = False) -> Path:
    """Return the folder to work in, with the lessons in it.

    A writable repository is its own workplace. Otherwise (an installed package, a shared or read-only
    installation, the student edition, or where `folder` says so) the lessons are copied, once: what is there
    already is the user's and stays as it is.

    Args:
        folder: where to copy to; `~/maaskit` (students: `~/maaskit-workshop`) when not given.
        student: the edition without solutions and outputs.

    Raises:
        StorageError: when the folder cannot be written.
    """
    source = installed()
    if (
        folder is None
        and not student
        and source.name != "bundled"
        and os.access(source / "notebooks", os.W_OK)
    ):
        return source
    target = folder or Path.home() / ("maaskit-workshop" if student else "maaskit")
    for path in sorted(found for part in PARTS for found in source.glob(part)):
        place = target / path.relative_to(source)
        if not place.exists():
            content = path.read_bytes()
            if student and path.suffix == ".ipynb":
                content = edition(path, "student")
            with atomic(place) as temporary:
                temporary.write_bytes(content)
    return target


def lesson(name: str) -> Path:
    """Return the installed notebook of that name, as `"02_prune"`.

    Raises:
        ArgumentError: when there is none.
    """
    known = {path.stem: path for path in sorted((installed() / "notebooks").glob("*.ipynb"))}
    if name not in known:
        raise unknown("lesson", name, known)
    return known[name]


def edition(path: Path, kind: str) -> bytes:
    """Return a notebook file: the `"lesson"` itself, or its `"student"` or `"instructor"` edition.

    Raises:
        ArgumentError: for an unknown edition, or when an exercise lacks a part.
    """
    import nbformat

    if kind not in exercises.EDITIONS:
        raise unknown("edition", kind, exercises.EDITIONS)
    if kind == "lesson":
        return path.read_bytes()
    notebook = nbformat.read(path, as_version=4)
    if wrong := exercises.problems(notebook):
        raise ArgumentError(f"{path}: {'; '.join(wrong)}")
    derived = exercises.student(notebook) if kind == "student" else exercises.instructor(notebook)
    return f"{nbformat.writes(derived)}\n".encode()


def reset(path: Path, *, kind: str | None = None) -> Path | None:
    """Put the original of a lesson in the place of a user's notebook; keep what was there.

    Args:
        path: the notebook, under the name of its lesson; it need not exist.
        kind: the edition; when not given, the one that the notebook says it is.

    Returns:
        Where the old notebook was kept (`02_prune.bak1.ipynb`, counting on), or None when there was none.

    Raises:
        ArgumentError: for a name that no lesson has, or a file that does not tell its edition.
        StorageError: when the folder cannot be written; the notebook is then as it was.
    """
    content = edition(lesson(path.stem), kind or _edition_of(path))
    backup = _keep(path) if path.exists() else None
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    return backup


def _edition_of(path: Path) -> str:
    if not path.exists():
        raise ArgumentError(f"{path} does not exist; to write it anew say which: --edition lesson or student")
    try:
        document = json.loads(path.read_bytes())
    except ValueError:  # not JSON, or not even text
        document = None
    match document:
        case {"metadata": {"maaskit": {"edition": str(kind)}}}:
            return kind
        case {"metadata": {}, "cells": [*_]}:
            return "lesson"
    raise ArgumentError(f"{path} is no readable notebook; say what it was: --edition lesson or student")


def _keep(path: Path) -> Path:
    """Copy a file beside itself under the first free number, never over anything."""
    number = 1
    while True:
        backup = path.with_suffix(f".bak{number}{path.suffix}")
        try:
            with backup.open("xb") as file:
                file.write(path.read_bytes())
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError:
            number += 1
        except OSError as error:
            raise StorageError(
                f"cannot keep {path} as {backup}: {error.strerror}; it stays as it is"
            ) from error
        else:
            return backup
