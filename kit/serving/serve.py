"""`kit.serve`: models in, a running service out."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kit.errors import ArgumentError, BusyError, ModelError, require
from kit.serving.guard import LOCAL, Key, new_key, write_keys
from kit.serving.place import Place, Settings, read_manifest, services_folder, write_manifest
from kit.serving.service import Service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kit.variant import Variant

_OLD = 86_400  # seconds
_BACKLOG = 2048  # connections that wait while a worker begins again


def serve(
    *models: Variant | str | Path,
    host: str = "127.0.0.1",
    port: int = 0,
    key: str | None = "auto",
    tls: Literal["development"] | tuple[str | Path, str | Path] | None = None,
    batch: int | Literal["auto"] = "auto",
    waiting: int = 256,
    seconds: float = 30.0,
    body_limit: int = 16 * 2**20,
    datasets: Mapping[str, str | Path] | None = None,
    folder: str | Path | None = None,
) -> Service:
    """Serve models from a process of its own, which goes on when this one ends.

    The service speaks the Open Inference Protocol v2 (JSON and binary tensors), takes pictures and numbers
    at `/predict/{model}`, has a page to try it at `/` and says what else can be asked at `/docs`.

    Args:
        models: variants, model folders, packed files or bare .onnx files. Several of one name are versions
            1, 2, … of it, and the last is the default. None: what `folder` served before, or nothing yet.
        host: "127.0.0.1" serves this machine alone, "0.0.0.0" whoever reaches it.
        port: 0 takes a free one.
        key: "auto" makes one (`service.key`); a text of 20 characters or more is taken as it is; None lets
            everyone in, and is refused beyond this machine. Keys are stored hashed.
        tls: "development" makes a certificate for 30 days; or the paths of a certificate and its private key.
        batch: how many rows to compute together at most; "auto" measures what is worth it, up to 32, and is 1
            for a model whose rows touch each other. What waits is batched; nothing waits to be batched.
        waiting: requests that may wait for one model; more get 503.
        seconds: a request may take from header to answer.
        body_limit: bytes of a body.
        datasets: folders of pictures that may be trained on by name, beside the bundled sets.
        folder: where settings, keys (hashed), log and jobs are kept; by default a new one, gone when stopped.

    Raises:
        ArgumentError: for values out of range.
        BusyError: when the port is taken, or a service runs in `folder` already.
        ModelError: when a model cannot be opened.
        MissingExtraError: when the extra `serve` is not installed.

    Example:
        ```python
        with kit.serve(int8) as service:
            service.client().predict(data.test[0])
        ```
    """
    require("uvicorn", "serve")
    require("fastapi", "serve")
    _sweep()
    place = Place(Path(folder) if folder else services_folder() / secrets.token_hex(4)).make()
    if place.pid is not None:
        raise BusyError(f"a service runs in {place.folder} already; find it with kit.find_service(folder)")
    given: dict[str, Any] = {"host": host, "waiting": waiting, "seconds": seconds, "body_limit": body_limit}
    _check(given, key, batch)
    manifest = _manifest(place, models)
    listening = _listen(host, port)
    try:
        certificate, private = _certificate(place, tls, host)
        settings = Settings(
            port=listening.getsockname()[1],
            certificate=certificate,
            private_key=private,
            batch=None if batch == "auto" else batch,
            datasets={name: str(Path(path).resolve()) for name, path in (datasets or {}).items()},
            temporary=folder is None,
            **given,
        )
        _store_key(place, key)
        write_manifest(place.models, manifest)
        place.write(settings)
        process = _start(place, listening)
    finally:
        listening.close()
    service = Service(place, process=process)
    service.wait()
    return service


def find_service(folder: str | Path) -> Service:
    """Return the running service of a folder, as after a restart of the kernel.

    Raises:
        ModelError: when none runs there.
    """
    _sweep()
    place = Place(Path(folder))
    if place.pid is None:
        raise ModelError(f"no service runs in {place.folder}")
    return Service(place)


def services() -> list[Service]:
    """Return the running services of this user that were given no folder of their own."""
    found = services_folder().iterdir() if services_folder().is_dir() else ()
    return [Service(place) for place in map(Place, sorted(found)) if place.pid is not None]


def _sweep() -> None:
    """Remove what services left behind that were killed more than a day ago."""
    for place in map(Place, services_folder().glob("*")):
        old = time.time() - place.folder.stat().st_mtime > _OLD
        if old and place.pid is None:
            shutil.rmtree(place.folder)


def _check(given: Mapping[str, Any], key: str | None, batch: int | str) -> None:
    if batch != "auto" and (type(batch) is not int or batch < 1):
        raise ArgumentError(f"batch is 'auto' or a whole number from 1, got {batch!r}")
    for name in ("waiting", "seconds", "body_limit"):
        if not given[name] > 0:
            raise ArgumentError(f"{name} must be positive, got {given[name]!r}")
    if key is None and given["host"] not in LOCAL:
        raise ArgumentError(f"without a key only host='127.0.0.1' is served, got {given['host']!r}")


def _manifest(place: Place, models: tuple[Variant | str | Path, ...]) -> dict[str, Any]:
    """Return which folder is which version of which model; variants are saved first."""
    found: dict[str, Any] = {} if models else read_manifest(place.models)
    for model in models:
        name, path = as_folder(place, model)
        entry = found.setdefault(name, {"versions": {}, "before": [], "default": ""})
        version = str(len(entry["versions"]) + 1)
        entry["versions"][version] = str(path)
        if entry["default"]:
            entry["before"].append(entry["default"])
        entry["default"] = version
    return found


def as_folder(place: Place, model: Variant | str | Path) -> tuple[str, Path]:
    """Return the name to serve a model by and where it stands; a variant is saved in the service's folder.

    Raises:
        ModelError: when there is no model at that path.
    """
    from kit.runtime import card, folder
    from kit.variant import Variant

    if isinstance(model, Variant):
        path = place.folder / "models" / f"{slug(model.name)}-{secrets.token_hex(4)}"
        folder.save(model, path)
        return slug(model.name), path
    path = Path(model).resolve()
    if path.is_dir() and (path / folder.CARD).is_file():
        return slug(card.read(path / folder.CARD).name), path
    if not path.is_file():
        raise ModelError(
            f"{model} is no model folder and no model file; kit.save(variant, folder) writes one"
        )
    return slug(path.stem), path


def slug(name: str) -> str:
    """Return a name fit for an address.

    >>> slug("convnet pruned 50%")
    'convnet-pruned-50'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80] or "model"


def _listen(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or error
        raise BusyError(f"cannot listen on {host}:{port}: {reason}; port=0 takes a free one") from None
    return listening


def _certificate(place: Place, tls: Any, host: str) -> tuple[str, str]:
    if tls is None:
        return "", ""
    if tls == "development":
        from kit.serving.certificate import develop

        certificate, private = develop(place.folder, host)
        return str(certificate), str(private)
    if not isinstance(tls, tuple) or len(tls) != 2:
        raise ArgumentError(f"tls is None, 'development' or (certificate, private key), got {tls!r:.80}")
    for path in tls:
        if not Path(path).is_file():
            raise ArgumentError(f"{path} does not exist; expected a PEM file")
    return str(Path(tls[0]).resolve()), str(Path(tls[1]).resolve())


def _store_key(place: Place, key: str | None) -> None:
    place.header.unlink(missing_ok=True)
    if key is None:
        write_keys(place.keys, [])
        return
    text = new_key() if key == "auto" else key
    write_keys(place.keys, [Key.of(text)])
    if key == "auto":
        place.write_header(text)


def _start(place: Place, listening: socket.socket) -> subprocess.Popen[bytes]:
    """Start the supervisor; it inherits the socket, and prints to the console file."""
    descriptor = listening.fileno()
    with place.console.open("wb") as console:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "kit.serving.supervisor"),
                *(str(place.folder), "--socket", str(descriptor)),
            ],
            pass_fds=(descriptor,),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,  # Ctrl-C in a notebook is not meant for the service
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
