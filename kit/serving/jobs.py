"""Jobs: what was asked to be trained, how far it is and what came of it; in SQLite, so nothing is lost.

A job is queued, running, then done, failed or cancelled. Whoever changes a state names the one it must have
been in, so that no two processes ever take the same job.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from kit.serving.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUNDLED = ("fashion_mnist", "mnist")  # data sets of kit.data that may be named
ENDED = ("done", "failed", "cancelled")
_MOST = 100  # jobs that may wait
_TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY, id TEXT UNIQUE, state TEXT, asked TEXT, result TEXT, message TEXT,
    cancel INTEGER DEFAULT 0, begun INTEGER DEFAULT 0, made REAL, changed REAL);
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY, job TEXT, time REAL, kind TEXT, content TEXT);
CREATE INDEX IF NOT EXISTS events_of_job ON events (job, number);
"""


@dataclass(frozen=True)
class Order:
    """What to train: names and numbers only, no code travels."""

    model_name: str
    data: str
    optimizer: str = "adam"
    learning_rate: float | None = None
    epochs: int = 5
    batch_size: int = 128
    seed: int = 0
    samples: int | None = None


class Jobs:
    """The jobs of one service; every process opens its own.

    Args:
        folder: where the database and a folder for each job are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with self._open() as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.executescript(_TABLES)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Open the database for one transaction."""
        with closing(sqlite3.connect(self.folder / "jobs.db", timeout=20)) as database:
            database.row_factory = sqlite3.Row
            with database:
                yield database

    def add(self, order: Order) -> str:
        """Queue a job; when this returns it is on disk.

        Raises:
            Refusal: 503 when too many wait.
        """
        identity = secrets.token_hex(6)
        with self._open() as database:
            [waiting] = database.execute("SELECT count(*) FROM jobs WHERE state = 'queued'").fetchone()
            if waiting >= _MOST:
                raise Refusal(503, f"{waiting} jobs wait already", {"Retry-After": "60"})
            asked, now = json.dumps(asdict(order)), time.time()
            database.execute(
                "INSERT INTO jobs (id, state, asked, made, changed) VALUES (?, 'queued', ?, ?, ?)",
                (identity, asked, now, now),
            )
            _note(database, identity, "queued", {})
        return identity

    def get(self, identity: str) -> dict[str, Any]:
        """Return a job.

        Raises:
            Refusal: 404 when there is none.
        """
        with self._open() as database:
            row = database.execute("SELECT * FROM jobs WHERE id = ?", (identity,)).fetchone()
        if row is None:
            raise Refusal(404, f"no job {identity[:40]!r}; /jobs lists them")
        return _told(row)

    def all(self) -> list[dict[str, Any]]:
        """Return every job, the newest first."""
        with self._open() as database:
            return [_told(row) for row in database.execute("SELECT * FROM jobs ORDER BY number DESC")]

    def order(self, identity: str) -> Order:
        """Return what a job is to train."""
        return Order(**self.get(identity)["asked"])

    def events(self, identity: str, after: int = 0) -> list[dict[str, Any]]:
        """Return what happened to a job since event number `after`, oldest first."""
        query = "SELECT * FROM events WHERE job = ? AND number > ? ORDER BY number LIMIT 1000"
        with self._open() as database:
            rows = database.execute(query, (identity, after)).fetchall()
        return [
            {"id": r["number"], "time": r["time"], "kind": r["kind"], **json.loads(r["content"])}
            for r in rows
        ]

    def note(self, identity: str, kind: str, content: dict[str, Any]) -> None:
        """Add an event."""
        with self._open() as database:
            _note(database, identity, kind, content)

    def move(
        self,
        identity: str,
        before: str,
        state: str,
        *,
        message: str = "",
        result: dict[str, Any] | None = None,
    ) -> bool:
        """Change a job's state, if it is in the state `before`; return whether it was."""
        with self._open() as database:
            changed = database.execute(
                "UPDATE jobs SET state = ?, message = ?, result = ?, changed = ?, begun = begun + ? "
                "WHERE id = ? AND state = ?",
                (
                    *(state, message, json.dumps(result) if result else None, time.time()),
                    *(state == "running", identity, before),
                ),
            ).rowcount
            if changed:
                _note(database, identity, state, {"message": message} if message else {})
        return bool(changed)

    def cancel(self, identity: str) -> dict[str, Any]:
        """Ask a job to end; one that waits is cancelled at once."""
        self.get(identity)
        with self._open() as database:
            database.execute("UPDATE jobs SET cancel = 1 WHERE id = ?", (identity,))
        self.move(identity, "queued", "cancelled")
        return self.get(identity)

    def is_cancelled(self, identity: str) -> bool:
        """Tell whether somebody asked a job to end."""
        with self._open() as database:
            [asked] = database.execute("SELECT cancel FROM jobs WHERE id = ?", (identity,)).fetchone()
        return bool(asked)

    def waiting(self) -> str | None:
        """Return the job that has waited longest."""
        query = "SELECT id FROM jobs WHERE state = 'queued' ORDER BY number LIMIT 1"
        with self._open() as database:
            row = database.execute(query).fetchone()
        return row and str(row["id"])

    def interrupted(self) -> list[str]:
        """Return the jobs that are marked as running."""
        with self._open() as database:
            rows = database.execute("SELECT id FROM jobs WHERE state = 'running'").fetchall()
        return [str(row["id"]) for row in rows]


def _note(database: sqlite3.Connection, identity: str, kind: str, content: dict[str, Any]) -> None:
    database.execute(
        "INSERT INTO events (job, time, kind, content) VALUES (?, ?, ?, ?)",
        (identity, time.time(), kind, json.dumps(content)),
    )


def _told(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "job": row["id"],
        "state": row["state"],
        "asked": json.loads(row["asked"]),
        "message": row["message"] or "",
        "result": json.loads(row["result"]) if row["result"] else None,
        "made": row["made"],
        "changed": row["changed"],
    }
