"""Sealed model folders: encrypted and authenticated at rest, proven genuine before they are parsed.

A file is a header and chunks of a tar file, each encrypted with AES-256-GCM under its own nonce. The nonce
counts the chunks and the last one is marked, so none can be changed, moved, left out or cut off.

Source: V. Hoang et al., "Online authenticated-encryption and its nonce-reuse misuse-resistance", 2015.
"""

from __future__ import annotations

import os
import secrets
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from kit.errors import ArgumentError, CorruptFileError, ModelError, StorageError, require
from kit.files import atomic, scratch

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC = b"KITSEAL1"
_SALT, _TAG = 16, 16
_CHUNK = 2**20
_LEAST = 12  # characters of a passphrase


def new_secret(path: str | Path) -> Path:
    """Write 32 random bytes to a file of this user's alone, to seal with; who has it can unseal.

    Raises:
        StorageError: when the file is there already: what it sealed could not be opened any more.
    """
    target = Path(path)
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise StorageError(f"cannot write {target}: {error.strerror}; choose another name") from None
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_bytes(32))
    return target


def seal(folder: str | Path, file: str | Path, *, secret: str | Path) -> Path:
    """Encrypt a model folder into one file.

    Args:
        folder: what `kit.save` wrote. It stays as it is.
        file: where to.
        secret: a file that `new_secret` wrote (a `Path`), or a passphrase (a `str`).

    Raises:
        ModelError: when it is no model folder.
        ArgumentError: when the passphrase is short, or the secret's file holds less than 32 bytes.

    Example: `kit.seal("runs/convnet", "convnet.sealed", secret=Path("secret.key"))`
    """
    root = Path(folder)
    if not (root / "card.json").is_file():
        raise ModelError(f"{root} is no model folder: it has no card.json; kit.save writes one")
    head = _MAGIC + secrets.token_bytes(_SALT)
    cipher = _cipher(secret, head)
    with tempfile.TemporaryFile() as plain:
        with tarfile.open(fileobj=plain, mode="w") as archive:
            archive.add(root, arcname=".")
        plain.seek(0)
        with atomic(file) as temporary, temporary.open("wb") as target:
            target.write(head)
            for number, (chunk, last) in enumerate(_chunks(plain, _CHUNK)):
                target.write(cipher.encrypt(_nonce(number, last=last), chunk, head))
    return Path(file)


def unseal(file: str | Path, *, secret: str | Path, folder: str | Path | None = None) -> Path:
    """Decrypt a sealed file into a model folder.

    Args:
        file: what `seal` wrote.
        secret: what it was sealed with.
        folder: where to; by default a place of this process's own, gone when it ends.

    Raises:
        CorruptFileError: when a byte was changed, or the secret is another; nothing is written then.

    Example: `kit.load(kit.unseal("convnet.sealed", secret=Path("secret.key")))`
    """
    target = Path(folder) if folder is not None else scratch("unsealed")
    if target.exists():
        raise StorageError(f"{target} exists; choose another folder")
    with Path(file).open("rb") as sealed, tempfile.TemporaryFile() as plain:
        head = sealed.read(len(_MAGIC) + _SALT)
        if not head.startswith(_MAGIC) or len(head) < len(_MAGIC) + _SALT:
            raise CorruptFileError(f"{file} is no sealed model; kit.seal writes one")
        _decrypt(sealed, plain, _cipher(secret, head), head, Path(file))
        plain.seek(0)
        target.mkdir(parents=True, mode=0o700)
        with tarfile.open(fileobj=plain) as archive:
            archive.extractall(target, filter="data")
    return target


def _decrypt(sealed: BinaryIO, plain: Any, cipher: Any, head: bytes, file: Path) -> None:
    from cryptography.exceptions import InvalidTag

    for number, (chunk, last) in enumerate(_chunks(sealed, _CHUNK + _TAG)):
        try:
            plain.write(cipher.decrypt(_nonce(number, last=last), chunk, head))
        except InvalidTag:
            raise CorruptFileError(
                f"{file} was changed or cut short, or sealed with another secret; nothing was read from it"
            ) from None


def _chunks(file: Any, size: int) -> Iterator[tuple[bytes, bool]]:
    """Yield chunks, at least one, and whether each is the last."""
    chunk = file.read(size)
    while following := file.read(size):
        yield chunk, False
        chunk = following
    yield chunk, True


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _cipher(secret: str | Path, head: bytes) -> Any:
    """Derive this file's own key: from random bytes by HKDF, from a passphrase by scrypt (some 0.1 s)."""
    require("cryptography", "serve")
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    salt = head[len(_MAGIC) :]
    if isinstance(secret, Path):
        content = secret.read_bytes() if secret.is_file() else b""
        if len(content) < 32:
            raise ArgumentError(f"{secret} holds no 32 bytes; sealed.new_secret writes one")
        return AESGCM(HKDF(SHA256(), 32, salt, b"maaskit sealed model").derive(content))
    if len(secret) < _LEAST:
        raise ArgumentError(f"a passphrase takes at least {_LEAST} characters, got {len(secret)}")
    return AESGCM(Scrypt(salt, 32, n=2**15, r=8, p=1).derive(secret.encode()))
