"""How answers other than the plain 200 are documented."""

from __future__ import annotations

from typing import Any, ClassVar

_ERROR = {
    "type": "object",
    "required": ["error", "request_id"],
    "properties": {"error": {"type": "string"}, "request_id": {"type": "string"}},
}
Responses = dict[int | str, dict[str, Any]]


def errors(*statuses: int) -> Responses:
    """Return the documentation of error answers: each has its text and the request's id."""
    words = {
        400: "It does not fit; the text says why",
        401: "No valid key",
        403: "Not with this key",
        404: "No such model, version or job",
        405: "Not with this method",
        408: "The body came too slowly",
        409: "Not in the state that things are in",
        413: "Too large",
        415: "Not in this form",
        422: "It does not fit; the text says where",
        429: "Too often",
        499: "The client went",
        500: "The model failed; the log says why",
        503: "Too much waits already, or a model is away; ask again",
        504: "No answer in time",
    }
    return {
        status: {"description": words[status], "content": {"application/json": {"schema": _ERROR}}}
        for status in statuses
    }


_USUAL = (400, 401, 403, 413, 422, 429)


class Respond:
    """The answers of kinds of routes."""

    usual: ClassVar[Responses] = errors(*_USUAL)
    missing: ClassVar[Responses] = errors(*_USUAL, 404, 409, 503)
    unready: ClassVar[Responses] = errors(503)
    predictions: ClassVar[Responses] = errors(*_USUAL, 404, 408, 415, 500, 503, 504)
    text: ClassVar[Responses] = {
        200: {"description": "Text", "content": {"text/plain": {}}},
        **errors(*_USUAL),
    }
