"""The error tree: each message says what was given, what was expected and what to do next."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType


class KitError(Exception):
    """Any error that maaskit raises on purpose."""


class DataError(KitError, ValueError):
    """Data has the wrong shape, dtype, labels or split."""


class CorruptFileError(DataError):
    """A file is truncated or its checksum differs from the one that was recorded."""


class MissingDataError(DataError, FileNotFoundError):
    """Data is not on this machine; the message says how to get it."""


class ArgumentError(KitError, ValueError):
    """An argument is outside its range, or a name is unknown."""


class ModelError(KitError, ValueError):
    """A model does not fit the data or the operation asked of it."""


class DivergedError(KitError, ArithmeticError):
    """The loss became NaN or infinite during training."""


class CheckpointError(KitError):
    """No checkpoint could be read."""


class ExportError(KitError):
    """A model could not be converted; the message names the operator and the layer."""


class ParityError(ExportError):
    """A converted model opens but answers differently from its original."""


class UnsafeModelError(KitError):
    """A model file asks for something that a model file must not do."""


class TamperedFileError(CorruptFileError, UnsafeModelError):
    """A file of a model differs from what its card recorded: damaged, or changed by somebody."""


class DeviceError(KitError, RuntimeError):
    """A device was asked for that this machine does not have."""


class BusyError(KitError, RuntimeError):
    """Something else is still at work that cannot go on at the same time."""


class ServiceError(KitError):
    """A service answered with an error, or not at all.

    Attributes:
        status: of HTTP; 0 when there was no answer.
        request_id: under which the service's log tells more.
    """

    def __init__(self, message: str, status: int = 0, request_id: str = "") -> None:
        super().__init__(message)
        self.status, self.request_id = status, request_id


class StorageError(KitError, OSError):
    """A file could not be written; nothing half-written stays."""


class MissingExtraError(KitError, ImportError):
    """An optional library is not installed; the message names the extra that brings it."""


def nearest(given: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'a' or 'b'?"`, or an empty string when nothing is close.

    >>> nearest("adm", ["adam", "sgd"])
    "; did you mean 'adam'?"
    """
    matches = get_close_matches(given.lower(), list(known), n=2, cutoff=0.5)
    return f"; did you mean {' or '.join(map(repr, matches))}?" if matches else ""


def unknown(kind: str, given: object, known: Iterable[str]) -> ArgumentError:
    """Build the error for a name that is not among `known`, with the near misses first."""
    names = sorted(known)
    return ArgumentError(f"unknown {kind} {given!r}{nearest(str(given), names)} Known: {', '.join(names)}.")


def require(module: str, extra: str) -> ModuleType:
    """Import an optional library.

    Raises:
        MissingExtraError: when it is not installed; the message names the extra.
    """
    try:
        return import_module(module)
    except ImportError as error:
        if error.name and error.name.split(".")[0] != module.split(".", maxsplit=1)[0]:
            raise
        raise MissingExtraError(
            f"{module} is not installed; run: pip install -c constraints.txt -e '.[{extra}]'", name=module
        ) from None
