"""`Service`: the handle on a running service, from the notebook that started it or any other."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kit.errors import ArgumentError, BusyError, ModelError, ServiceError
from kit.serving.client import Client, binary
from kit.serving.place import read_manifest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from kit.serving.place import Place
    from kit.variant import Variant

_BEGINS = 120.0  # seconds for the first worker to open its models
_ENDS = 20.0
_TICK = 0.02
_LOOK = 0.5


class Service:
    """A running service.

    Attributes:
        folder: its own folder.
        address: to call.
        key: the owner's key if the service made it; a key of one's own is not stored anywhere.

    Example: `kit.serve(int8).client().predict("shoe.png")`
    """

    def __init__(self, place: Place, *, process: subprocess.Popen[bytes] | None = None) -> None:
        self._place, self._process = place, process
        self._settings = place.settings()
        self.folder = place.folder
        self.address = self._settings.address
        self.key = place.key()
        self._own: Client | None = None

    def wait(self) -> None:
        """Wait until the models are open; a connection made before waits in the socket's queue.

        Raises:
            ModelError: when one cannot be opened; then nothing runs any more.
        """
        try:
            self._client(_BEGINS, patience=0).send("GET", "/v2/health/ready")
        except ServiceError as error:
            self.stop(keep=True)
            reason = self._place.last_words() if not error.status else str(error)
            if self._settings.temporary:
                shutil.rmtree(self.folder)
            raise ModelError(f"the service could not begin: {reason.removeprefix('kit: ')}") from None

    def health(self) -> str:
        """Return "ready", "unready" (a model cannot be opened), "starting" or "stopped"."""
        if self._place.pid is None:
            return "stopped"
        try:
            self._client(2.0, patience=0).send("GET", "/v2/health/ready")
        except ServiceError as error:
            return "unready" if error.status else "starting"
        return "ready"

    @property
    def models(self) -> dict[str, str]:
        """The models with their default versions."""
        return {name: entry["default"] for name, entry in read_manifest(self._place.models).items()}

    def client(self, key: str | None = None, *, model: str | None = None) -> Client:
        """Return a client of this service.

        Args:
            key: by default the owner's.
            model: which to ask when a call does not say; by default the first.
        """
        return self._client(60.0, patience=15.0, key=key, model=model)

    def _client(
        self, seconds: float, *, patience: float, key: str | None = None, model: str | None = None
    ) -> Client:
        return Client(
            self.address,
            key or self.key,
            model=model or next(iter(self.models), None),
            certificate=self._settings.certificate or None,
            seconds=seconds,
            patience=patience,
        )

    @property
    def _manager(self) -> Client:
        if self._own is None:
            self._own = self.client()
        return self._own

    def load(
        self,
        model: Variant | str | Path,
        *,
        name: str | None = None,
        version: str | None = None,
        default: bool = True,
    ) -> str:
        """Open another model or version while requests flow; return the version.

        Args:
            model: as for `kit.serve`.
            name: what to serve it by: that of a model which is there makes this a version of it.
            version: by default the next number.
            default: whether it answers requests that name no version.

        Raises:
            ServiceError: when it cannot be opened; all stays as it was.
        """
        from kit.serving.serve import as_folder

        own, path = as_folder(self._place, model)
        asked = {"folder": str(path), "version": version, "default": default}
        where = f"/v2/repository/models/{name or own}/load"
        told = self._manager.ask("POST", where, json={"parameters": asked})
        return str(told["version"])

    def unload(self, name: str, version: str | None = None) -> None:
        """Take a version, or a whole model, away after its last answer."""
        asked = {"parameters": {"version": version}}
        self._manager.ask("POST", f"/v2/repository/models/{name}/unload", json=asked)

    def default(self, name: str, version: str) -> None:
        """Let a version answer requests that name none, from the next one on."""
        asked = {"parameters": {"version": version}}
        self._manager.ask("POST", f"/v2/repository/models/{name}/default", json=asked)

    def roll_back(self, name: str | None = None) -> str:
        """Go back to the default version before; return which that is."""
        wanted = name or next(iter(self.models), None)
        if wanted is None:
            raise ArgumentError("this service has no model")
        return str(self._manager.ask("POST", f"/v2/repository/models/{wanted}/default", json={})["version"])

    def add_key(self, name: str, scopes: Iterable[str] = ("predict",), *, rate: float | None = None) -> str:
        """Make a key and return it: this is the only time that it can be seen.

        Args:
            name: whose it is; it stands in the log.
            scopes: of "predict", "manage", "train".
            rate: requests a second; None sets no limit.
        """
        asked = {"name": name, "scopes": list(scopes), "rate": rate}
        return str(self._manager.ask("POST", "/keys", json=asked)["key"])

    def revoke_key(self, name: str) -> None:
        """Let the keys of that name open nothing any more."""
        self._manager.ask("DELETE", f"/keys/{name}")

    def log(self, lines: int = 20) -> str:
        """Return the last lines of the log."""
        return "\n".join(self._place.log.read_text(encoding="utf-8").splitlines()[-lines:])

    def metrics(self) -> str:
        """Return what is counted, in Prometheus' format."""
        return str(self._manager.send("GET", "/metrics").text)

    def request(self, inputs: NDArray[Any], *, model: str | None = None) -> tuple[bytes, int, str]:
        """Return a request in binary as it goes over the wire, the port and the certificate, if any."""
        name = model or next(iter(self.models), "")
        head, content = binary(inputs)
        lines = [
            *(f"POST /v2/models/{name}/infer HTTP/1.1", "Host: 127.0.0.1"),
            f"Content-Length: {len(content)}",
            f"Inference-Header-Content-Length: {head}",
            *([f"Authorization: Bearer {self.key}"] if self.key else []),
        ]
        wire = "\r\n".join(lines).encode() + b"\r\n\r\n" + content
        return wire, self._settings.port, self._settings.certificate

    def watch(self) -> None:
        """Wait until the service ends, or until Ctrl-C or SIGTERM ends this wait.

        Raises:
            ModelError: when it ended of itself.
        """
        told = threading.Event()
        before = signal.signal(signal.SIGTERM, lambda *_: told.set())
        try:
            while not told.wait(_LOOK):
                if self._place.pid is None:
                    raise ModelError(f"the service ended: {self._place.last_words()}")
        finally:
            signal.signal(signal.SIGTERM, before)

    def counted(self, name: str, **labels: str) -> float:
        """Return what one of the metrics says, summed over all that bear these labels.

        Example: `service.counted("kit_requests_total", model="garments", status="200")`
        """
        from prometheus_client.parser import text_string_to_metric_families

        samples = (s for family in text_string_to_metric_families(self.metrics()) for s in family.samples)
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

    @property
    def pid(self) -> int | None:
        """Number of the process that watches over the others; None when it has stopped."""
        return self._place.pid

    def stop(self, *, keep: bool = False) -> None:
        """End the service with everything it started; requests in flight are answered first.

        Args:
            keep: whether a folder that was made for this run stays.

        Raises:
            BusyError: when it does not end.
        """
        pid = self._place.pid
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(_ENDS)
        elif pid is not None:
            os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + _ENDS
        while self._place.pid is not None:
            if time.monotonic() > end:
                raise BusyError(f"the service (process {pid}) does not end")
            time.sleep(_TICK)
        if self._own is not None:
            self._own.close()
        self._place.header.unlink(missing_ok=True)
        if self._settings.temporary and not keep and self.folder.exists():
            shutil.rmtree(self.folder)

    @property
    def curl(self) -> str:
        """A line for a shell that asks about a picture; the key is read from a file, so it is not shown."""
        name = next(iter(self.models), "MODEL")
        header = str(self._place.header).replace(str(Path.home()), "$HOME")
        key = f' -H "@{header}"' if self.key else ""
        trust = f" --cacert {self._settings.certificate}" if self._settings.certificate else ""
        return f"curl{trust}{key} -F file=@picture.png {self.address}/predict/{name}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"Service({self.address}: {self.health()}; {self._list()})\n{self.curl}"

    def _list(self) -> str:
        return (
            ", ".join(f"{name} (version {version})" for name, version in self.models.items()) or "no models"
        )

    def _repr_html_(self) -> str:
        links = " · ".join(
            f'<a href="{self.address}{path}" target="_blank">{text}</a>'
            for path, text in (("/", "try it"), ("/docs", "what can be asked"))
        )
        return (
            f"<p><b>{escape(self.address)}</b>: {self.health()}; {escape(self._list())}<br>{links}</p>"
            f"<pre>{escape(self.curl)}</pre>"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return address, health and models as a dictionary fit for JSON."""
        return {"address": self.address, "health": self.health(), "models": self.models}
