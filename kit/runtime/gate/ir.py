"""OpenVINO's IR: an .xml of layers, and a .bin beside it whose bytes they name."""

from __future__ import annotations

import io
import os
import stat
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from kit.errors import ModelError, UnsafeModelError

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST = 64 * 2**20  # bytes of text
_MOST = 500_000  # elements
_TYPES = {"f64": 8, "i64": 8, "u64": 8, "f32": 4, "i32": 4, "u32": 4, "f16": 2, "bf16": 2, "i16": 2, "u16": 2,
          "i8": 1, "u8": 1, "boolean": 1}  # fmt: skip


def check(path: Path) -> None:
    """Accept layers of OpenVINO's own sets whose weights lie inside the .bin beside the file.

    Raises:
        ModelError: when it is no IR, or its .bin is missing.
        UnsafeModelError: when it defines entities, asks for another library, or for bytes that are not there.
    """
    if path.stat().st_size > _LARGEST:
        raise UnsafeModelError(f"{path} has more than {_LARGEST:,} bytes of text; do not open it")
    text = path.read_bytes()
    if b"\0" in text:
        raise UnsafeModelError(f"{path} is written in wide characters, which OpenVINO never does")
    if b"<!" in text.replace(b"<!--", b""):
        raise UnsafeModelError(f"{path} defines entities, which can grow without bound or read files")
    size = _weights(path)
    try:
        for seen, (_, element) in enumerate(ET.iterparse(io.BytesIO(text), ("start",))):  # noqa: S314 -- no entities
            if not seen and element.tag != "net":
                raise ModelError(f"{path} is no OpenVINO model: it begins with <{element.tag:.40}>")
            if seen > _MOST:
                raise UnsafeModelError(f"{path} holds more than {_MOST:,} elements; do not open it")
            _check(path, element, size)
    except ET.ParseError as error:
        raise ModelError(f"{path} is no OpenVINO model, or is cut short: {error}") from None


def _weights(path: Path) -> int:
    """Return the size of the .bin, a plain file."""
    beside = path.with_suffix(".bin")
    try:
        found = os.lstat(beside)
    except OSError:
        raise ModelError(
            f"{path} keeps its weights in {beside.name}, which is missing; put it beside it"
        ) from None
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        raise UnsafeModelError(
            f"{beside} is no file of its own but a link; copy the weights there if you trust it"
        )
    return found.st_size


def _check(path: Path, element: ET.Element, size: int) -> None:
    if element.tag == "layer":
        library = element.get("version", "")
        if not (library.startswith("opset") and library[5:].isdigit()):
            raise UnsafeModelError(
                f"{path} asks for a layer of the library {library!r:.40}, which is unknown"
            )
    elif element.tag == "data" and element.get("offset") is not None:
        try:
            offset, length = int(element.get("offset", "")), int(element.get("size", ""))
            sides = [int(side) for side in element.get("shape", "").replace(" ", "").split(",") if side]
        except ValueError:
            raise UnsafeModelError(f"{path} gives a place that is no number") from None
        count = 1
        for side in sides:
            count *= side
        each = _TYPES.get(element.get("element_type", ""))
        if offset < 0 or length < 0 or offset + length > size or min([0, *sides]) < 0:
            raise UnsafeModelError(
                f"{path} takes bytes {offset:,} to {offset + length:,} of weights that have {size:,}"
            )
        if each and count * each != length:
            raise UnsafeModelError(
                f"{path} declares weights {sides[:8]}, which take {count * each:,} bytes, not {length:,}"
            )
