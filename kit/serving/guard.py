"""The guard: who may do what, how often, and from which pages."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from base64 import b64decode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kit.errors import ArgumentError, unknown
from kit.files import atomic
from kit.serving.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SCOPES = ("predict", "manage", "train")
_OPEN = {"/", "/docs", "/openapi.json", "/v2/health/live", "/v2/health/ready"}
_LEAST = 20  # characters of a key of one's own: a key is no password, it cannot be guessed
LOCAL = ("127.0.0.1", "localhost", "::1")
_NAMES = {"127.0.0.1", "localhost", "[::1]"}


@dataclass
class Key:
    """A key at rest: its salted SHA-256, what it may do, and how many requests a second.

    A fast hash will do, since keys are long and random: nothing can be found by trying.
    """

    name: str
    salt: str
    sha256: str
    scopes: tuple[str, ...] = SCOPES
    rate: float | None = None
    left: float = field(default=0.0, compare=False)  # of the bucket
    seen: float = field(default=0.0, compare=False)

    @classmethod
    def of(
        cls, text: str, *, name: str = "owner", scopes: Iterable[str] = SCOPES, rate: float | None = None
    ) -> Key:
        """Hash a key.

        Raises:
            ArgumentError: when it is too short, a scope is unknown or the rate is not positive.
        """
        if len(text) < _LEAST or not text.isascii() or not text.isprintable() or " " in text:
            raise ArgumentError(f"a key takes at least {_LEAST} printable ASCII characters without spaces")
        wrong = [scope for scope in scopes if scope not in SCOPES]
        if wrong:
            raise unknown("scope", wrong[0], SCOPES)
        if rate is not None and not rate > 0:
            raise ArgumentError(f"rate is requests a second and must be positive, got {rate!r}")
        salt = secrets.token_hex(16)
        return cls(name, salt, _hash(salt, text), tuple(scopes), rate)

    def to_dict(self) -> dict[str, Any]:
        """Return what is stored."""
        return {
            "name": self.name,
            "salt": self.salt,
            "sha256": self.sha256,
            "scopes": list(self.scopes),
            "rate": self.rate,
        }


def new_key() -> str:
    """Return a fresh key of 256 random bits."""
    return f"kit-{secrets.token_urlsafe(32)}"


def write_keys(path: Path, keys: Iterable[Key]) -> None:
    """Store keys, hashed, readable by this user alone."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps([key.to_dict() for key in keys], indent=1))
    path.chmod(0o600)


def read_keys(path: Path) -> list[Key]:
    """Read what `write_keys` stored; no file means no keys."""
    if not path.is_file():
        return []
    return [Key(**entry | {"scopes": tuple(entry["scopes"])}) for entry in json.loads(path.read_text())]


class Guard:
    """Decides on each request before its body is read.

    Args:
        path: where the keys are stored.
        local: whether only this machine is served: then other names for it are refused (DNS rebinding).
    """

    def __init__(self, path: Path, *, local: bool) -> None:
        self._path, self._local = path, local
        self._keys = read_keys(path)
        self._known: dict[str, Key] = {}

    def add(self, name: str, scopes: Iterable[str], rate: float | None) -> str:
        """Make a key, store its hash and return it.

        Raises:
            Refusal: 409 when there is one of that name, or the service asks for no keys.
        """
        if not self._keys or any(key.name == name for key in self._keys):
            raise Refusal(409, f"there is a key {name!r} already, or this service asks for none")
        text = new_key()
        self._store([*self._keys, Key.of(text, name=name, scopes=scopes, rate=rate)])
        return text

    def revoke(self, name: str) -> None:
        """Take a key away.

        Raises:
            Refusal: 404 when there is none of that name, 409 for the owner's.
        """
        if name == "owner":
            raise Refusal(409, "the owner's key cannot be revoked; stop the service")
        if all(key.name != name for key in self._keys):
            raise Refusal(404, f"no key {name[:80]!r}")
        self._store([key for key in self._keys if key.name != name])

    def _store(self, keys: list[Key]) -> None:
        write_keys(self._path, keys)
        self._keys, self._known = keys, {}

    def admit(self, path: str, headers: Mapping[bytes, bytes]) -> str:
        """Return the name of the key that a request comes with.

        Raises:
            Refusal: 401 without a valid key, 403 for what it may not do, 429 when it asks too often.
        """
        host = headers.get(b"host", b"").decode("latin-1")
        if self._local and host.rpartition(":")[0] not in _NAMES and host not in _NAMES:
            raise Refusal(403, f"this service does not go by the name {host[:80]!r}")
        origin = headers.get(b"origin")
        if origin is not None and origin.partition(b"://")[2] != host.encode("latin-1"):
            raise Refusal(403, "pages from elsewhere may not use this service")
        if path in _OPEN or not self._keys:
            return ""
        key = self._identify(_presented(headers))
        needed = scope_of(path)
        if needed not in key.scopes:
            raise Refusal(403, f"this key may not {needed}; its scopes: {', '.join(key.scopes)}")
        if key.rate is not None:
            _draw(key, key.rate)
        return key.name

    def _identify(self, text: str) -> Key:
        """Find a key, in the same time whichever it is; a text seen before is not hashed again for each."""
        found = self._known.get(text)
        if found is None:
            for key in self._keys:
                if hmac.compare_digest(_hash(key.salt, text), key.sha256):
                    found = key
            if found is None:
                raise Refusal(
                    401, "a valid key is needed: Authorization: Bearer …", {"WWW-Authenticate": "Bearer"}
                )
            self._known[text] = found
        return found


def scope_of(path: str) -> str:
    """Return what a key must be good for to use a path."""
    if path.startswith(("/train_model", "/jobs")):
        return "train"
    if path.startswith(("/v2/repository", "/metrics", "/keys", "/log")):
        return "manage"
    return "predict"


def _presented(headers: Mapping[bytes, bytes]) -> str:
    """Return the key in a request: a bearer token, a basic password (`http://:KEY@host`) or X-API-Key."""
    kind, _, text = headers.get(b"authorization", b"").partition(b" ")
    if kind.lower() == b"basic":
        try:
            text = b64decode(text, validate=True).partition(b":")[2]
        except ValueError:
            text = b""
    return (text.strip() or headers.get(b"x-api-key", b"")).decode("latin-1")


def _draw(key: Key, rate: float) -> None:
    """Take one from a key's bucket, which holds a second's worth and fills at its rate."""
    now, most = time.monotonic(), max(1.0, rate)
    key.left = min(most, key.left + (now - key.seen) * rate) if key.seen else most
    key.seen = now
    if key.left < 1:
        wait = (1 - key.left) / rate
        raise Refusal(
            429, f"this key may ask {rate:g} times a second", {"Retry-After": str(-int(-wait // 1))}
        )
    key.left -= 1


def _hash(salt: str, text: str) -> str:
    return hashlib.sha256(salt.encode() + text.encode()).hexdigest()
