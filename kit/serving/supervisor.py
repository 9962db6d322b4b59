"""The supervisor: holds the listening socket, keeps a worker alive, and takes all with it when it ends.

Since the socket is its own, clients that connect while a worker begins again wait instead of being refused.
"""

from __future__ import annotations

import argparse
import os
import selectors
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from kit.errors import KitError
from kit.serving.jobs import Jobs
from kit.serving.place import Place

UNABLE = 3  # as the worker says it
_GRACE = 8.0  # seconds for a worker to end when told to
_LONGEST = 30.0  # seconds between two attempts
_SOUND = 20.0  # seconds: a worker that lived longer may begin again at once
_TICK = 0.1
_LOOK = 0.3  # seconds between two looks for jobs
_TIMES = 2  # that a job's process may die


class Keeper:
    """Keeps one process running.

    Args:
        command: what to run; `again` is added from the second time on.
        descriptors: what it inherits.
    """

    def __init__(self, command: list[str], descriptors: tuple[int, ...]) -> None:
        self._command, self._descriptors = command, descriptors
        self._process: subprocess.Popen[bytes] | None = None
        self._began = self._next = 0.0
        self._wait = 0.0
        self._times = 0

    def tend(self) -> int | None:
        """Start the process if it is not there and its time has come.

        Returns:
            Its exit code when its first life ended because it could not begin; else None.
        """
        now = time.monotonic()
        if self._process is not None and self._process.poll() is not None:
            lived, code = now - self._began, self._process.returncode
            if self._times == 1 and (code == UNABLE or (code > 0 and lived < _SOUND)):
                return UNABLE
            self._wait = 0.0 if lived > _SOUND else min(_LONGEST, 2 * self._wait or 0.25 * (self._times > 2))
            self._next, self._process = now + self._wait, None
        if self._process is None and now >= self._next:
            again = ["--again"] if self._times else []
            self._process = subprocess.Popen(
                [*self._command, *again], pass_fds=self._descriptors, stdin=subprocess.DEVNULL
            )
            self._began, self._times = now, self._times + 1
        return None

    def end(self) -> None:
        """End the process: asked first, then not asked."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class Labour:
    """Works off jobs, one at a time, each in a process of its own that dies with this one.

    A job whose process dies goes on from its checkpoint, twice at most; a worker that dies touches none.

    Args:
        place: the service's folder.
        lifeline: descriptor that closes when this process ends.
    """

    def __init__(self, place: Place, lifeline: int) -> None:
        self._place, self._lifeline = place, lifeline
        self._jobs = Jobs(place.jobs)
        self._process: subprocess.Popen[bytes] | None = None
        self._next = 0.0
        self._deaths: Counter[str] = Counter()
        for job in self._jobs.interrupted():  # with the supervisor before this one
            self._jobs.move(job, "running", "queued")

    def tend(self) -> None:
        """Start the next job if none is at work."""
        if self._process is not None:
            if self._process.poll() is None:
                return
            self._process = None
            self._again()
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _LONGEST  # should the database fail
        job = self._jobs.waiting()
        self._next = time.monotonic() + _LOOK
        if job is not None and self._jobs.move(job, "queued", "running"):
            command = [*(sys.executable, "-m", "kit.serving.trainer", str(self._place.folder), job)]
            self._process = subprocess.Popen(
                [*command, "--lifeline", str(self._lifeline)],
                pass_fds=(self._lifeline,),
                stdin=subprocess.DEVNULL,
            )

    def end(self) -> None:
        """End the process; its job goes on when the service begins again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _again(self) -> None:
        """Queue again what is marked as running though its process has ended; not for ever."""
        for job in self._jobs.interrupted():
            self._deaths[job] += 1
            if self._deaths[job] > _TIMES:
                died = f"its process died {self._deaths[job]} times; the console tells more"
                self._jobs.move(job, "running", "failed", message=died)
            else:
                self._jobs.move(job, "running", "queued")


def main() -> int:
    """Keep a service running until told to end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--socket", type=int, required=True)
    options = parser.parse_args()
    place = Place(options.folder)
    try:
        with place.held():
            return _keep(place, options.socket)
    except KitError as error:
        print(f"kit: {error}", file=sys.stderr, flush=True)  # noqa: T201 -- the console is how it tells
        return UNABLE


def _keep(place: Place, descriptor: int) -> int:
    """Watch over the worker; return when told to end, or when the worker cannot even begin."""
    woken, waking = os.pipe()
    os.set_blocking(waking, False)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: told.append(received))
    signal.signal(signal.SIGCHLD, lambda *_: None)  # only wakes the selector
    lifeline, _held_open = os.pipe()
    flags = ["--socket", str(descriptor), "--lifeline", str(lifeline)]
    worker = Keeper(
        [sys.executable, "-m", "kit.serving.worker", str(place.folder), *flags], (descriptor, lifeline)
    )
    labour = Labour(place, lifeline)
    with selectors.DefaultSelector() as selector:
        selector.register(woken, selectors.EVENT_READ)
        while True:
            failed = worker.tend()
            if failed:
                return failed
            _tend(labour)
            if selector.select(_TICK):
                os.read(woken, 4096)
            if told:
                labour.end()
                worker.end()
                return 0


def _tend(labour: Labour) -> None:
    """Tend to the jobs; models are served even when the disk is full and no job can be noted."""
    try:
        labour.tend()
    except sqlite3.OperationalError as error:
        print(f"kit: no job can be noted: {error}", file=sys.stderr, flush=True)  # noqa: T201 -- as above


if __name__ == "__main__":
    sys.exit(main())
