"""`kit workshop`: what a course needs, made from the lessons and proven on this machine.

student/       the notebooks without solutions and outputs; each exercise ends in a check that helps
instructor/    the notebooks with solutions and outputs, marked as nbgrader expects them
schedule.html  a timetable to print, with the time that each notebook took to run
"""

from __future__ import annotations

import datetime as dt
import html
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from string import Template

from kit import __version__, device
from kit.errors import ArgumentError, ModelError
from kit.exercises import FAILS, Notebook, exercises, problems, proof, tags
from kit.files import atomic, scratch
from kit.lessons import edition, installed

CLASS, BREAK = 90, 15  # minutes: the longest stretch of class, and the break after it


@dataclass(frozen=True)
class Lesson:
    """One notebook as the schedule shows it: `minutes` is the author's budget, `seconds` a measured run."""

    name: str
    title: str
    goal: str
    minutes: int
    exercises: int
    seconds: float | None = None


def workshop(folder: Path, notebooks: Path | None = None, *, run: bool = True, begin: str = "9:00") -> Path:
    """Write the student edition, the instructor edition and the schedule.

    Args:
        folder: where to write.
        notebooks: a folder of lessons; the kit's own when not given.
        run: run every notebook in fast mode first. Each solution must pass its check, and each exercise left
            unsolved must fail there with a message.
        begin: when the course begins, as hours:minutes.

    Returns:
        The schedule.

    Raises:
        ArgumentError: when an exercise lacks a part, or a time is not understood.
        ModelError: when a notebook, a solution or a check does not do what it should on this machine.
    """
    import nbformat

    start = _clock(begin)
    paths = sorted((notebooks or installed() / "notebooks").glob("*.ipynb"))
    if not paths:
        raise ArgumentError(f"no notebooks in {notebooks}; give a folder that holds lessons")
    lessons = []
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        if wrong := problems(notebook):
            raise ArgumentError(f"{path}: {'; '.join(wrong)}")
        print(f"{path.stem}: {'running …' if run else 'not run'}", end=" ", flush=True)
        seconds = prove(notebook, path.name) if run else None
        print(f"{seconds:.0f} s" if seconds is not None else "", flush=True)
        lessons.append(describe(notebook, path.stem, seconds))
        for kind in ("student", "instructor"):
            with atomic(folder / kind / path.name) as temporary:
                temporary.write_bytes(edition(path, kind))
    with atomic(folder / "schedule.html") as temporary:
        temporary.write_text(schedule(lessons, begin=start), encoding="utf-8")
    return folder / "schedule.html"


def prove(notebook: Notebook, name: str) -> float:
    """Run a notebook in fast mode, each exercise first unsolved, then solved; return the seconds it took.

    Raises:
        ModelError: when a cell fails, or a check accepts an exercise that nobody solved.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    attempt = proof(notebook)
    place = scratch("workshop")
    place.mkdir()
    client = NotebookClient(
        attempt, timeout=1200, kernel_name="python3", resources={"metadata": {"path": str(place)}}
    )
    begin = time.perf_counter()
    try:
        client.execute(env=os.environ | {"KIT_FAST": "1", "JUPYTER_PREFER_ENV_PATH": "1"})
    except CellExecutionError as error:
        raise ModelError(f"{name} does not run on this machine: {error}") from None
    for cell in attempt.cells:
        if "must-fail" in tags(cell) and [out.get("text") for out in cell.outputs] != [FAILS]:
            raise ModelError(f"{name}: a check accepts an exercise that nobody solved:\n{cell.source}")
    return time.perf_counter() - begin


def describe(notebook: Notebook, name: str, seconds: float | None = None) -> Lesson:
    """Read a lesson's title, goal and time budget from its first cell.

    Raises:
        ArgumentError: when one of them is missing.
    """
    head = notebook.cells[0].source
    title = re.search(r"^# (.+)", head)
    goal = re.search(r"\*\*Goal\.\*\* (.+)", head)
    minutes = re.search(r"\*\*Time\.\*\* (\d+) minutes", head)
    if not (title and goal and minutes):
        raise ArgumentError(
            f"{name}: the first cell needs '# title', '**Goal.** …' and '**Time.** N minutes'"
        )
    return Lesson(name, title[1], goal[1], int(minutes[1]), len(exercises(notebook)), seconds)


def schedule(lessons: list[Lesson], *, begin: int = 9 * 60) -> str:
    """Return the timetable as one HTML page that prints on A4; `begin` is in minutes since midnight."""
    rows, now, sitting = [], begin, 0
    for lesson in lessons:
        if sitting and sitting + lesson.minutes > CLASS:
            rows.append(f'<tr class="break"><td>{_time(now)}</td><td colspan="4">Break</td></tr>')
            now, sitting = now + BREAK, 0
        computing = "not measured" if lesson.seconds is None else f"{lesson.seconds:.0f} s"
        rows.append(
            f"<tr><td>{_time(now)}–{_time(now + lesson.minutes)}</td>"
            f"<th scope='row'>{_text(lesson.title)}<br><code>{lesson.name}.ipynb</code></th>"
            f"<td>{_text(lesson.goal)}</td><td>{computing}</td><td>{lesson.exercises}</td></tr>"
        )
        now, sitting = now + lesson.minutes, sitting + lesson.minutes
    page = Template((Path(__file__).parent / "jupyter" / "schedule.html").read_text(encoding="utf-8"))
    return page.substitute(rows="\n".join(rows), end=_time(now), measured=_measured(lessons))


def _measured(lessons: list[Lesson]) -> str:
    if any(lesson.seconds is None for lesson in lessons):
        return "The time of computing was not measured: make the schedule without <code>--no-run</code>."
    total = sum(lesson.seconds or 0 for lesson in lessons)
    today = dt.datetime.now(dt.UTC).date()
    return (
        "Computing is one run in fast mode (<code>KIT_FAST=1</code>) with every exercise tried unsolved and "
        f"solved, start of the kernel included: {total:.0f} s in all, {today}, maaskit {__version__}, "
        f"{html.escape(device.describe())}."
    )


def _clock(text: str) -> int:
    match = re.fullmatch(r"(\d{1,2}):(\d{2})", text)
    if not match or int(match[1]) > 23 or int(match[2]) > 59:
        raise ArgumentError(f"begin is {text!r}; expected hours and minutes, as 9:00")
    return int(match[1]) * 60 + int(match[2])


def _time(minutes: int) -> str:
    return f"{minutes // 60 % 24}:{minutes % 60:02d}"


def _text(markdown: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(markdown))
