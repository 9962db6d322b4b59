"""A service's own folder: settings, models, keys, log and lock; readable by this user alone."""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import IO, TYPE_CHECKING, Any, Self

from kit.errors import BusyError, CorruptFileError
from kit.files import atomic, cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_PATIENCE, _STEP = 1.0, 0.02  # seconds: who only looks whether a service runs holds the lock for a moment


@dataclass(frozen=True)
class Settings:
    """What a service was started with; kept so that a worker which died begins again as it was.

    Attributes:
        host, port: where it listens.
        certificate, private_key: for TLS; empty for none.
        batch: rows computed together at most; None: as many as are worth it.
        waiting: requests that may wait for one model.
        seconds: a request may take, its body included.
        body_limit: bytes of one body.
        datasets: folders of pictures to train on, by name.
        temporary: whether the folder goes when the service stops.
    """

    host: str = "127.0.0.1"
    port: int = 0
    certificate: str = ""
    private_key: str = ""
    batch: int | None = None
    waiting: int = 256
    seconds: float = 30.0
    body_limit: int = 16 * 2**20
    datasets: dict[str, str] = field(default_factory=dict)
    temporary: bool = False

    @property
    def address(self) -> str:
        """The address to call."""
        host = "127.0.0.1" if self.host == "0.0.0.0" else self.host  # noqa: S104 -- compared, not bound
        host = f"[{host}]" if ":" in host else host
        return f"http{'s' if self.certificate else ''}://{host}:{self.port}"


class Place:
    """The folder of one service.

    Attributes:
        folder: itself.
        keys, models, log, console, header, jobs: files and folders in it, each told in its line below.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.keys = self.folder / "keys.json"  # hashed
        self.models = self.folder / "models.json"  # which folder is which version, and the default
        self.log = self.folder / "service.log"
        self.console = self.folder / "console.log"  # what the processes print
        self.header = self.folder / "header"  # the owner's key as a header, for curl, while the service runs
        self.jobs = self.folder / "jobs"
        self._settings, self._lock, self._pid = (
            self.folder / name for name in ("settings.json", "lock", "pid")
        )

    def make(self) -> Self:
        """Make the folder if it is not there."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self

    def write(self, settings: Settings) -> None:
        """Store the settings."""
        with atomic(self._settings) as temporary:
            temporary.write_text(json.dumps(asdict(settings), indent=1))

    def settings(self) -> Settings:
        """Read the settings.

        Raises:
            CorruptFileError: when there are none, or they are not a service's.
        """
        try:
            return Settings(**json.loads(self._settings.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise CorruptFileError(f"{self.folder} is no service's folder: {error}") from None

    def write_header(self, key: str) -> None:
        """Store the owner's key for curl's `-H @file` and for handles that are found again."""
        handle = os.open(self.header, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(f"Authorization: Bearer {key}\n")

    def key(self) -> str | None:
        """Return the owner's key if the service made it itself."""
        return self.header.read_text().split()[-1] if self.header.is_file() else None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock that tells others that this process is the service; it goes with the process.

        Raises:
            BusyError: when another process holds it.
        """
        with self._lock.open("a+") as file:
            end = time.monotonic() + _PATIENCE
            while not _taken(file):
                if time.monotonic() > end:
                    raise BusyError(f"a service is at work in {self.folder} already; stop it first")
                time.sleep(_STEP)
            self._pid.write_text(str(os.getpid()))
            yield

    @property
    def pid(self) -> int | None:
        """The process that holds the lock; None when no service runs."""
        try:
            with self._lock.open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return None
        except BlockingIOError:
            return int(self._pid.read_text() or 0) or None
        return None

    def last_words(self) -> str:
        """Return the last line that a process of this service printed."""
        lines = self.console.read_text(errors="replace").split("\n") if self.console.is_file() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "nothing was printed")


def _taken(file: IO[str]) -> bool:
    """Try to take a lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def services_folder() -> Path:
    """Return where services without a folder of their own are kept."""
    return cache_folder() / "services"


def read_manifest(path: Path) -> dict[str, Any]:
    """Return what a service holds: `{name: {"versions": {version: folder}, "default": …, "before": […]}}`."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return found


def write_manifest(path: Path, models: dict[str, Any]) -> None:
    """Store it, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(models, indent=1))
