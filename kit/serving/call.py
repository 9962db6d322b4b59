"""`Call`: one request on its way through the service, and the answer to it."""

from __future__ import annotations

import itertools
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kit.serving.body import Receive

JSON = (b"content-type", b"application/json")
_numbers = itertools.count()
_start = secrets.token_hex(6)  # so that ids of two workers differ


@dataclass(slots=True)
class Answer:
    """Status, headers and body."""

    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]] = field(default_factory=lambda: [JSON])


class Call:
    """One request.

    Attributes:
        headers: by name in lower case.
        id: of the request: the client's own X-Request-Id if it is a plain word, else a fresh one.
        body: once it has been read.
        receive: what comes after the body: that the client has gone.
        model, protocol: for metrics and the log, once they are known.
        key: the name of the key it came with.
    """

    __slots__ = ("body", "headers", "id", "key", "method", "model", "path", "protocol", "receive")

    def __init__(self, scope: dict[str, Any], receive: Receive) -> None:
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.receive = receive
        self.body = b""
        self.model = self.key = ""
        self.protocol = "http"
        given = self.headers.get(b"x-request-id", b"")
        plain = 0 < len(given) <= 64 and given.replace(b"-", b"").isalnum()
        self.id = given.decode() if plain else f"{_start}-{next(_numbers):x}"


def told(status: int, content: Any, headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """Return an answer in JSON."""
    more = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    return Answer(status, orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), [JSON, *more])
