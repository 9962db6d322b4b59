"""`Refusal`: an answer other than the one asked for, with the status that HTTP has for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.errors import KitError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Refusal(KitError):  # noqa: N818 -- an answer; most are no error of anyone's
    """Raised anywhere below a route; the client gets its status and its message, and nothing else.

    Args:
        status: of HTTP, 4xx for what the client may change and 5xx for what it may not.
        message: what was given, what was expected, what to do.
        headers: more headers, such as Retry-After.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
