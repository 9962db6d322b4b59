"""`RemoteJob`: a training that runs at a service, seen from here."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kit.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kit.serving.client import Client

_STEP = 0.2  # seconds between two looks


class RemoteJob:
    """A training job of a service.

    Attributes:
        id: of the job.
    """

    def __init__(self, client: Client, identity: str) -> None:
        self._client, self.id = client, identity

    def status(self) -> dict[str, Any]:
        """Return its state, what was asked, and what came of it."""
        found: dict[str, Any] = self._client.ask("GET", f"/jobs/{self.id}")
        return found

    def wait(self, seconds: float = 3600.0) -> Self:
        """Wait for its end.

        Raises:
            ServiceError: when it failed or was cancelled, or did not end in time.
        """
        end = time.monotonic() + seconds
        while (found := self.status())["state"] not in {"done", "failed", "cancelled"}:
            if time.monotonic() > end:
                raise ServiceError(f"job {self.id} is {found['state']} after {seconds:g} s")
            time.sleep(_STEP)
        if found["state"] != "done":
            raise ServiceError(f"job {self.id} {found['state']}: {found['message']}")
        return self

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield what happens to it, as it happens, until it has ended."""
        with self._client.stream(f"/jobs/{self.id}/events") as lines:
            for line in lines:
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def cancel(self) -> None:
        """Ask it to end."""
        self._client.ask("DELETE", f"/jobs/{self.id}")

    def deploy(self, name: str | None = None) -> str:
        """Serve its model; return the version."""
        where = f"/jobs/{self.id}/deploy" + (f"?name={name}" if name else "")
        return str(self._client.ask("POST", where)["version"])

    def fetch(self, folder: str | Path) -> Path:
        """Bring its model folder here, to `folder`, which must not be there yet."""
        content = self._client.send("GET", f"/jobs/{self.id}/model").content
        target = Path(folder)
        with tempfile.TemporaryDirectory(dir=target.parent) as room:
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                archive.extractall(room, filter="data")
            (Path(room) / self.id).rename(target)
        return target
