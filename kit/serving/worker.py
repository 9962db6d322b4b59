"""The worker: the process that holds the models and answers; its supervisor starts it, again if it dies."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import uvicorn
import uvloop

from kit.errors import KitError
from kit.serving import pages
from kit.serving.app import Front
from kit.serving.guard import LOCAL, Guard
from kit.serving.log import open_log
from kit.serving.metrics import Metrics
from kit.serving.place import Place
from kit.serving.registry import Registry

UNABLE = 3  # exit code: began and could not; there is no use in trying again
_GRACE = 5  # seconds for requests in flight when the service stops


def main() -> int:
    """Serve on a socket that the supervisor has opened, until told to end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--socket", type=int, required=True, help="descriptor of the listening socket")
    parser.add_argument(
        "--lifeline", type=int, required=True, help="descriptor that closes with the supervisor"
    )
    parser.add_argument("--again", action="store_true", help="after a death: serve what can be served")
    options = parser.parse_args()
    threading.Thread(target=_follow, args=(options.lifeline,), daemon=True).start()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(Place(options.folder), options.socket, strict=not options.again))
    except KitError as error:
        print(f"kit: {error}", file=sys.stderr, flush=True)  # noqa: T201 -- the console is how it tells
        return UNABLE
    return 0


async def _serve(place: Place, descriptor: int, *, strict: bool) -> None:
    settings = place.settings()
    log = open_log(place.log)
    metrics = Metrics()
    registry = Registry(place, settings, metrics)
    await registry.restore(strict=strict)
    guard = Guard(place.keys, local=settings.host in LOCAL)
    app = Front(registry, guard, pages.make(registry, place, settings, metrics, guard), metrics, settings)
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_GRACE,
        ssl_certfile=settings.certificate or None,
        ssl_keyfile=settings.private_key or None,
    )
    log.info("begins", extra={"fields": {"pid": os.getpid(), "address": settings.address}})
    await uvicorn.Server(config).serve(sockets=[socket.socket(fileno=descriptor)])
    app.close()
    log.info("ends", extra={"fields": {"pid": os.getpid()}})


def _follow(lifeline: int) -> None:
    """End when the supervisor has ended, however it did: its end of the pipe closes with it."""
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_GRACE + 1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
