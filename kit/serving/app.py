"""The front of a worker: every request passes it; inference goes straight through, the rest to the pages.

It is a bare ASGI callable, which costs less than a FastAPI route: `tests/benchmarks/serving.py` has both.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from kit.errors import KitError
from kit.serving import body
from kit.serving.call import Answer, Call, told
from kit.serving.log import AccessLog
from kit.serving.protocols import v2
from kit.serving.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from kit.serving.body import Receive
    from kit.serving.guard import Guard
    from kit.serving.metrics import Metrics
    from kit.serving.place import Settings
    from kit.serving.registry import Registry

    Message = MutableMapping[str, Any]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Any, Receive, Send], Awaitable[None]]

_log = logging.getLogger("kit.serving")
_SAFE = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
_GONE = 499  # as nginx notes a client that closed first


class Front:
    """What uvicorn calls.

    Args:
        registry: the models.
        guard: who may ask.
        pages: everything but inference, an ASGI app.
        metrics: what is counted.
        settings: limits.
    """

    def __init__(
        self, registry: Registry, guard: Guard, pages: App, metrics: Metrics, settings: Settings
    ) -> None:
        self._registry, self._guard, self._pages = registry, guard, pages
        self._metrics, self._settings = metrics, settings
        self._access = AccessLog(_log)

    def close(self) -> None:
        """Write what the log still holds back."""
        self._access.flush()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request; whatever happens, it is counted and logged."""
        assert scope["type"] == "http"  # uvicorn is started without web sockets and lifespan
        begin = time.perf_counter()
        call = Call(scope, receive)
        reply = _Reply(send, call.id)
        self._metrics.in_flight.inc()
        try:
            answer = await self._answer(call, scope, reply)
            if answer is not None:
                await reply.whole(answer)
        except body.ClientGoneError:
            reply.status = _GONE
        except Exception as error:  # noqa: BLE001 -- the last resort: told to the log, never to the client
            await self._fail(call, error, reply)
        finally:
            self._metrics.in_flight.dec()
            self._note(call, reply.status, time.perf_counter() - begin)

    async def _answer(self, call: Call, scope: Any, reply: _Reply) -> Answer | None:
        call.key = self._guard.admit(call.path, call.headers)
        limits = self._settings
        call.body = await body.read(
            call.receive, call.headers, limit=limits.body_limit, seconds=limits.seconds
        )
        infers = v2.target(call.path)
        if infers is not None:
            call.protocol = "v2"
            if call.method != "POST":
                raise Refusal(405, "inference takes POST", {"Allow": "POST"})
            return await v2.infer(call, self._registry, *infers)
        scope.setdefault("state", {})["call"] = call
        await self._pages(scope, _replay(call), reply)
        return None

    async def _fail(self, call: Call, error: Exception, reply: _Reply) -> None:
        if reply.started:
            _log.error("broken off", extra={"fields": {"id": call.id}}, exc_info=error)
            return
        await reply.whole(refused(call, error))

    def _note(self, call: Call, status: int, seconds: float) -> None:
        self._metrics.answered(call.model, call.protocol, status, seconds)
        self._access.note(
            event="request",
            id=call.id,
            method=call.method,
            path=call.path[:200],
            status=status,
            ms=round(1e3 * seconds, 3),
            bytes=len(call.body),
            key=call.key,
        )


def refused(call: Call, error: Exception) -> Answer:
    """Return what a client is told of an error: ours in words, anything else by its number in the log."""
    if isinstance(error, Refusal):
        status, message, headers = error.status, str(error), error.headers
    elif isinstance(error, body.ClientGoneError):
        status, message, headers = _GONE, "the client went", {}
    elif isinstance(error, KitError):
        status, message, headers = 400, str(error), {}
    else:
        _log.error("failed", extra={"fields": {"id": call.id}}, exc_info=error)
        status, message, headers = 500, "the service failed on this request; its log tells why", {}
    return told(status, {"error": message, "request_id": call.id}, headers.items())


class _Reply:
    """Sends an answer, adding what every answer carries."""

    def __init__(self, send: Send, identity: str) -> None:
        self._send = send
        self._more = [(b"x-request-id", identity.encode()), *_SAFE]
        self.status = 0
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.started = message["status"], True
            message["headers"] = [*message["headers"], *self._more]
        await self._send(message)

    async def whole(self, answer: Answer) -> None:
        length = (b"content-length", str(len(answer.body)).encode())
        headers = [*answer.headers, length]
        await self({"type": "http.response.start", "status": answer.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": answer.body})


def _replay(call: Call) -> Receive:
    """Return a `receive` that gives the body, which has been read, and then what comes."""
    pending: list[Message] = [{"type": "http.request", "body": call.body, "more_body": False}]

    async def receive() -> Message:
        return pending.pop() if pending else await call.receive()

    return receive
