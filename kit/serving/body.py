"""Bodies: read within limits of size and time, and JSON taken at its word."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson

from kit.serving.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class ClientGoneError(Exception):
    """The client closed the connection; nobody reads an answer."""


async def read(receive: Receive, headers: Mapping[bytes, bytes], *, limit: int, seconds: float) -> bytes:
    """Read a body, counting its bytes as they come: a chunked one does not say how many there will be.

    Raises:
        Refusal: 413 beyond `limit` bytes, 408 when it is not complete after `seconds`, 415 when compressed.
        ClientGoneError: when the client closes first.
    """
    said = headers.get(b"content-length", b"0")
    if not said.isdigit() or int(said) > limit:
        raise Refusal(413, f"the body may have {limit:,} bytes at most", {"Connection": "close"})
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise Refusal(415, "compressed bodies are not taken; send it as it is")
    try:
        async with asyncio.timeout(seconds):
            return await _gather(receive, limit)
    except TimeoutError:
        late = f"the body was not complete after {seconds:g} s"
        raise Refusal(408, late, {"Connection": "close"}) from None


async def _gather(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise Refusal(413, f"the body may have {limit:,} bytes at most", {"Connection": "close"})
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def parse(text: bytes | memoryview) -> Any:
    """Read JSON: UTF-8 only, without NaN, infinity, numbers beyond a double, deep nesting or repeated keys.

    Raises:
        Refusal: 400 otherwise.
    """
    raw = bytes(text)
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, f"the body is no JSON that can be taken: {error.msg:.120}") from None
    quotes = raw.count(b'"') - (raw.replace(b"\\\\", b"").count(b'\\"') if b"\\" in raw else 0)
    if quotes != 2 * _strings(found):
        raise Refusal(400, "the body repeats a key, or mixes strings and numbers in a list")
    return found


def _strings(found: Any) -> int:
    """Count the strings in a document, keys and values: a repeated key leaves fewer than were written."""
    count = 0
    rest = [found]
    while rest:
        part = rest.pop()
        if isinstance(part, str):
            count += 1
        elif isinstance(part, dict):
            count += len(part)
            rest.extend(part.values())
        elif isinstance(part, list) and part and isinstance(part[0], (str, list, dict)):
            rest.extend(part)  # a list of numbers need not be looked through
    return count
