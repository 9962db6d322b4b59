"""Tensors of an ONNX file: as many bytes as their shape says, here or in a plain file beside the model.

The cases are those of the onnx package's own rules (https://onnx.ai/onnx/repo-docs/Security.html).
"""

from __future__ import annotations

import os
import stat
from math import prod
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from kit.errors import ModelError, UnsafeModelError

if TYPE_CHECKING:
    from onnx import TensorProto

_KEYS = {"location", "offset", "length", "checksum", "basepath"}
_TYPED = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


def check_tensor(file: Path, tensor: TensorProto) -> None:
    """Refuse a tensor whose shape its bytes do not fill, or whose bytes lie where they must not.

    Raises:
        ModelError: when its side file is missing.
        UnsafeModelError: when the rest does not hold.
    """
    if tensor.data_location != tensor.EXTERNAL and not tensor.external_data:
        _check_shape(file, tensor, None)
        return
    entries = [(entry.key, entry.value) for entry in tensor.external_data]
    values = dict(entries)
    if len(values) < len(entries) or not set(values) <= _KEYS:
        raise UnsafeModelError(
            f"{file}: {tensor.name!r:.60} says where its weights lie in a way that no exporter writes"
        )
    name = values.get("location", "")
    target = _beside(file, name)
    offset, length = (_number(file, tensor, values.get(key)) for key in ("offset", "length"))
    size = target.stat().st_size
    if (offset or 0) + (length or 0) > size:
        raise UnsafeModelError(
            f"{file}: {tensor.name!r:.60} takes bytes {offset or 0:,} to {(offset or 0) + (length or 0):,} "
            f"of {name!r:.60}, which has {size:,}"
        )
    _check_shape(file, tensor, size - (offset or 0) if length is None else length)


def _beside(file: Path, name: str) -> Path:
    """Return the side file, a plain one inside the model's folder."""
    folder = file.resolve().parent
    inside = PurePosixPath(name)
    strange = not name or "\\" in name or "\0" in name or ":" in name or "*" in name
    if strange or inside.is_absolute() or ".." in inside.parts:
        raise UnsafeModelError(
            f"{file} asks for weights in {name!r:.120}, outside its own folder; do not run this file"
        )
    target = folder
    for part in inside.parts:
        target /= part
        if target.is_symlink():
            raise UnsafeModelError(
                f"{file} asks for weights in {name!r:.120}, a link that may lead outside its own folder; "
                "copy the file there if you trust it"
            )
    try:
        found = os.lstat(target)
    except OSError:
        raise ModelError(
            f"{file} keeps weights in the side file {name!r:.120}, which is missing; put it beside the model"
        ) from None
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        raise UnsafeModelError(
            f"{file} asks for weights in {name!r:.120}, which is no file of its own (a device, a folder or a "
            "second name of another file); copy the file there if you trust it"
        )
    return target


def _number(file: Path, tensor: TensorProto, text: str | None) -> int | None:
    if text is None or text == "":
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise UnsafeModelError(
            f"{file}: {tensor.name!r:.60} has {text!r:.40} where a number of bytes is expected"
        )
    return int(text)


def _check_shape(file: Path, tensor: TensorProto, stored: int | None) -> None:
    """Compare the declared shape with the bytes that are there: `stored` outside, or those in the message."""
    from onnx import TensorProto, helper

    if any(side < 0 for side in tensor.dims):
        raise UnsafeModelError(f"{file}: {tensor.name!r:.60} has a negative side: {list(tensor.dims)[:8]}")
    count = prod(tensor.dims)
    if tensor.data_type == TensorProto.STRING or stored is None:
        typed = max(len(getattr(tensor, kind)) for kind in _TYPED)
        if typed or not tensor.raw_data:
            _require(file, tensor, count, typed or 0, "numbers", exact=False)
            return
        stored = len(tensor.raw_data)
    try:
        each = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, ValueError, TypeError):
        raise UnsafeModelError(f"{file}: {tensor.name!r:.60} is of unknown type {tensor.data_type}") from None
    half = {TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT4E2M1}
    quarter = {getattr(TensorProto, kind, -1) for kind in ("INT2", "UINT2")}
    share = 2 if tensor.data_type in half else 4 if tensor.data_type in quarter else 1
    wanted = -(-count // share) if share > 1 else count * each
    _require(file, tensor, wanted, stored, "bytes", exact=True)


def _require(file: Path, tensor: TensorProto, wanted: int, found: int, unit: str, *, exact: bool) -> None:
    # Typed fields may pack two numbers into one (complex, 4 bits): then more or fewer are right.
    right = wanted == found if exact else found * 4 >= wanted
    if not right:
        raise UnsafeModelError(
            f"{file}: {tensor.name!r:.60} is declared {list(tensor.dims)[:8]}, which takes {wanted:,} "
            f"{unit}; it has {found:,}"
        )
