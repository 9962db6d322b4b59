"""Pickles: a program, not a file format. Only the few instructions that name tensors may be in one."""

from __future__ import annotations

import io
import pickletools
from typing import TYPE_CHECKING

from kit.errors import ModelError, UnsafeModelError
from kit.runtime.gate import archives

if TYPE_CHECKING:
    from pathlib import Path

ADVICE = "save weights as a model folder (kit.save), or with torch.save(module.state_dict(), path)"
_LARGEST = 32 * 2**20  # bytes of instructions; the numbers lie beside them
_MOST = 500_000  # instructions
_STORAGES = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_ALLOWED = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "torch._tensor _rebuild_from_type_v2",
    "torch Size",
    "torch Tensor",
    "torch.nn.parameter Parameter",
    *(f"torch {kind}Storage" for kind in _STORAGES),
    *(f"torch {kind}" for kind in ("float32", "float16", "bfloat16", "int8", "uint8", "int64")),
}
_CODE = {"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID"}


def looks_like_one(head: bytes) -> bool:
    """Tell whether these first bytes of a file are a pickle's, or legacy formats' that wrap one.

    >>> import pickle
    >>> looks_like_one(pickle.dumps([1])), looks_like_one(pickle.dumps([1], 0)), looks_like_one(b"GIF89a")
    (True, True, False)
    """
    if head[:1] == b"\x80" and head[1:2] in {b"\0", b"\1", b"\2", b"\3", b"\4", b"\5"}:
        return True
    # Older ones have no mark: do the bytes read as instructions up to one that calls, or to the end?
    try:
        for number, (code, _argument, _place) in enumerate(pickletools.genops(io.BytesIO(head))):
            if code.name in {"GLOBAL", "INST", "STOP"} or number > 50:
                return True
    except (ValueError, IndexError, EOFError):
        pass
    return False


def check(path: Path) -> None:
    """Accept a file of `torch.save(module.state_dict(), path)`.

    Raises:
        ModelError: when it is damaged.
        UnsafeModelError: when its pickle names anything but tensors, or is far larger than one of these.
    """
    names = [name for name in archives.check(path) if name.endswith(".pkl")]
    if len(names) != 1 or names[0].split("/")[-1] != "data.pkl":
        raise UnsafeModelError(f"{path} holds the pickles {names[:3]}, expected data.pkl alone; {ADVICE}")
    scan(path, archives.read(path, names[0], _LARGEST))


def scan(path: Path, content: bytes) -> None:
    """Read a pickle's instructions without running them.

    Raises:
        ModelError: when it is cut short.
        UnsafeModelError: when one of them could call something.
    """
    try:
        for number, (code, argument, _place) in enumerate(pickletools.genops(content)):
            if number > _MOST:
                raise UnsafeModelError(f"{path} holds more than {_MOST:,} pickle instructions; {ADVICE}")
            if code.name == "GLOBAL" and argument not in _ALLOWED:
                raise UnsafeModelError(f"{path} holds a pickle that calls {argument!r:.80}; {ADVICE}")
            if code.name in _CODE:
                raise UnsafeModelError(f"{path} holds a pickle that calls code ({code.name}); {ADVICE}")
    except ValueError as error:
        raise ModelError(f"{path} holds a damaged pickle: {error}; save the model again") from None
