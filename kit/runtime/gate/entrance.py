"""What kind of file is this? Told by its first bytes; then the rules for that kind are applied."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from kit.errors import ModelError, UnsafeModelError
from kit.runtime.gate import archives, flatbuffer, ir, keras_file, onnx_file, pickles, programs, saved_model

if TYPE_CHECKING:
    from collections.abc import Callable

_WRAPPERS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstandard",
    b"\x04\x22\x4d\x18": "lz4",
    **dict.fromkeys((b"x\x01", b"x\x5e", b"x\x9c", b"x\xda"), "zlib"),
}
_NUMPY = b"\x93NUMPY"
_PEEK = 4096  # bytes; a pickle's first instructions
_LOOKED_AT = 100  # entries of a zip archive that is no model


def inspect(path: str | Path) -> str:
    """Return the format of a model file or folder that may be opened.

    Returns:
        "onnx", "pt2", "state_dict", "openvino", "tflite", "keras" or "saved_model".

    Raises:
        ModelError: when it is none of these, or damaged.
        UnsafeModelError: when it could run code, read other files, or need far more memory than its size.

    Example: `gate.inspect("net.tflite")`
    """
    file = Path(path)
    kind = identify(file)
    _RULES[kind](file)
    return kind


def identify(path: str | Path) -> str:
    """Return the format that the content of a file or folder shows, whatever its name.

    Raises:
        ModelError: when no format is recognised.
        UnsafeModelError: when it is a pickle, or wrapped in an archive that no model file is.
    """
    file = Path(path)
    if file.is_dir():
        if (file / "saved_model.pb").is_file():
            return "saved_model"
        raise ModelError(
            f"{file} is no model folder: it has neither card.json (kit.save writes one) nor saved_model.pb"
        )
    if not file.is_file():
        raise ModelError(f"{file} does not exist; expected a model file or a model folder")
    with file.open("rb") as stream:
        head = stream.read(_PEEK)
    _refuse_wrapped(file, head)
    if head[4:8] == b"TFL3":
        return "tflite"
    if head.startswith(b"PK") or zipfile.is_zipfile(file):
        return _kind_of_zip(file)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "openvino"
    if head.startswith(b"\x89HDF"):
        raise ModelError(f"{file} is an HDF5 file; save the Keras model as .keras")
    if file.suffix != ".onnx":
        raise ModelError(
            f"{file} is no .onnx, .pt2, .pt, .xml, .tflite or .keras file; "
            "kit.open takes these, SavedModels and model folders"
        )
    return "onnx"


def _refuse_wrapped(file: Path, head: bytes) -> None:
    """Refuse pickles, and what may hold one."""
    if pickles.looks_like_one(head):
        raise UnsafeModelError(f"{file} is a pickle, which runs code when it is opened; {pickles.ADVICE}")
    for magic, name in _WRAPPERS.items():
        if head.startswith(magic):
            raise UnsafeModelError(f"{file} is packed with {name}, which no model format is; unpack it first")
    if _is_tar(file):
        raise UnsafeModelError(f"{file} is a tar archive, which no model format is; unpack it first")
    if head.startswith(_NUMPY):
        raise UnsafeModelError(f"{file} is a numpy file, which may hold a pickle; {pickles.ADVICE}")


def _is_tar(file: Path) -> bool:
    try:
        with tarfile.open(file, "r:") as archive:
            return archive.next() is not None
    except (tarfile.TarError, OSError, ValueError):
        return False


def _kind_of_zip(file: Path) -> str:
    names = archives.check(file)
    if "config.json" in names and "model.weights.h5" in names:
        return "keras"
    if any(name.endswith("/archive_format") or "/models/" in name for name in names):
        return "pt2"
    if any(name.endswith("data.pkl") for name in names):
        return "state_dict"
    with zipfile.ZipFile(file) as archive:
        for name in names[:_LOOKED_AT]:
            with archive.open(name) as stream:
                first = stream.read(_PEEK)
            if first.startswith(_NUMPY) or pickles.looks_like_one(first):
                raise UnsafeModelError(
                    f"{file} holds {name!r:.80}, which is a pickle or may hold one; {pickles.ADVICE}"
                )
    raise ModelError(f"{file} is a zip archive of no known model format; expected .pt2, .pt or .keras")


_RULES: dict[str, Callable[[Path], object]] = {
    "onnx": onnx_file.check,
    "pt2": programs.check,
    "state_dict": pickles.check,
    "openvino": ir.check,
    "tflite": flatbuffer.check,
    "keras": keras_file.check,
    "saved_model": saved_model.check,
}
