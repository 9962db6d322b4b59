"""Tensors on the wire of the Open Inference Protocol: JSON or raw bytes, bit-exact in both directions.

Source: https://github.com/kserve/open-inference-protocol, "Inference Protocol/REST" and "Binary Tensor Data".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from kit.serving.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "BYTES": np.dtype(object),
}
_FLOATS = ("FP16", "FP32", "FP64", "BF16")


def from_raw(name: str, datatype: str, shape: Sequence[int], raw: memoryview) -> NDArray[Any]:
    """Return the tensor that stands in `raw`, little-endian and row by row; without a copy but for BYTES.

    Raises:
        Refusal: 400 when the bytes are not exactly those of such a tensor.
    """
    count = math.prod(shape)
    if datatype == "BYTES":
        return _strings(name, raw, count).reshape(shape)
    dtype = DATATYPES[datatype]
    if len(raw) != count * dtype.itemsize:
        raise Refusal(
            400,
            f"input {name!r} has {len(raw):,} bytes of data; {datatype} {list(shape)} "
            f"takes {count * dtype.itemsize:,}",
        )
    if datatype == "BOOL" and count and int(np.frombuffer(raw, np.uint8).max()) > 1:
        raise Refusal(400, f"input {name!r} is BOOL and holds a byte that is neither 0 nor 1")
    return np.frombuffer(raw, dtype).reshape(shape)


def _strings(name: str, raw: memoryview, count: int) -> NDArray[Any]:
    """Return strings that each stand after their length, four bytes; ONNX Runtime takes UTF-8 only."""
    found: list[str] = []
    place = 0
    while place < len(raw) and len(found) <= count:
        end = place + 4 + int.from_bytes(raw[place : place + 4], "little")
        if end > len(raw) or place + 4 > len(raw):
            raise Refusal(400, f"input {name!r}: string {len(found)} reaches past the end of the data")
        try:
            found.append(str(raw[place + 4 : end], "utf-8"))
        except UnicodeDecodeError:
            raise Refusal(400, f"input {name!r}: string {len(found)} is no UTF-8") from None
        place = end
    if len(found) != count or place != len(raw):
        raise Refusal(400, f"input {name!r} does not hold exactly {count} strings, as its shape says")
    array = np.empty(count, object)
    array[:] = found
    return array


def from_json(name: str, datatype: str, shape: Sequence[int], data: Any) -> NDArray[Any]:
    """Return the tensor that a JSON list holds, flat or nested as the shape is.

    Raises:
        Refusal: 400 when values or nesting do not fit.
    """
    if not isinstance(data, list):
        raise Refusal(400, f"input {name!r}: data must be a list, or binary with binary_data_size")
    try:
        given = np.array(data, object) if datatype == "BYTES" else np.array(data)
        if datatype == "UINT64" and given.dtype.kind == "f":  # so numpy reads 1 beside 2⁶³
            exact = np.array(data, object)
            whole = all(type(value) is int and 0 <= value < 2**64 for value in exact.flat)
            given = exact.astype(np.uint64) if whole else given
    except (ValueError, OverflowError):
        raise Refusal(400, f"input {name!r}: its lists differ in length or are nested too deep") from None
    if given.size != math.prod(shape) or (given.ndim != 1 and given.shape != tuple(shape)):
        raise Refusal(
            400, f"input {name!r} says shape {list(shape)}, and its data has {list(given.shape)[:16]}"
        )
    return _cast(name, datatype, given).reshape(shape)


def _cast(name: str, datatype: str, given: NDArray[Any]) -> NDArray[Any]:
    """Return JSON's values in a datatype; none is rounded to an integer, cut off or made infinite."""
    wrong = Refusal(400, f"input {name!r}: its data holds a value that {datatype} cannot hold")
    if given.size == 0:
        return given.astype(DATATYPES[datatype])
    dtype, kind = DATATYPES[datatype], given.dtype.kind
    if datatype == "BYTES":
        if not all(isinstance(value, str) for value in given.flat):
            raise wrong
        return given
    if datatype == "BOOL":
        if kind != "b":
            raise wrong
        return given
    if datatype in _FLOATS:
        if kind not in "iuf":
            raise wrong
        with np.errstate(over="ignore"):
            cast = given.astype(dtype)
        if not np.isfinite(cast.astype(np.float64)).all():
            raise wrong
        return cast
    limits = np.iinfo(dtype)
    if kind not in "iu" or int(given.min()) < limits.min or int(given.max()) > limits.max:
        raise wrong
    return given.astype(dtype)


def to_raw(datatype: str, array: NDArray[Any]) -> bytes:
    """Return a tensor as the bytes that `from_raw` reads."""
    if datatype != "BYTES":
        return np.ascontiguousarray(array, DATATYPES[datatype]).tobytes()
    parts = []
    for value in array.reshape(-1):
        text = str(value).encode()
        parts += [len(text).to_bytes(4, "little"), text]
    return b"".join(parts)


def to_json(name: str, datatype: str, array: NDArray[Any]) -> Any:
    """Return a tensor as something that orjson writes exactly: a flat array or a list of strings.

    Raises:
        Refusal: 500 when JSON has no word for a value.
    """
    flat = array.reshape(-1)
    if datatype == "BYTES":
        return [str(value) for value in flat]
    if datatype not in _FLOATS:
        return np.ascontiguousarray(flat)
    if not np.isfinite(flat.astype(np.float32) if datatype == "BF16" else flat).all():
        raise Refusal(500, f"output {name!r} holds NaN or infinity, which JSON cannot; ask for binary_data")
    wide = flat.astype(np.float32) if datatype in {"FP16", "BF16"} else flat
    return np.ascontiguousarray(wide)
