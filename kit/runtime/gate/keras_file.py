"""A .keras file: layers of Keras itself, and weights in an HDF5 file without links."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kit.errors import ModelError, UnsafeModelError
from kit.runtime.gate import archives

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST = 64 * 2**20  # bytes of configuration
_ENTRIES = {"metadata.json", "config.json", "model.weights.h5"}
_FORBIDDEN = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__lambda__"}
_MODULES = ("keras", "builtins", "keras_hub")


def check(path: Path) -> None:
    """Accept a model of Keras' own layers.

    Raises:
        ModelError: when its configuration is damaged.
        UnsafeModelError: when a layer holds code or comes from another library, or other files are in it.
    """
    names = archives.check(path)
    if strange := set(names) - _ENTRIES:
        raise UnsafeModelError(f"{path} holds {min(strange)!r:.80}, which no Keras model does")
    try:
        config = json.loads(archives.read(path, "config.json", _LARGEST))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: config.json is no JSON: {error}; save the model again") from None
    waiting = [config]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            _check_object(path, item)
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
    _check_weights(path)


def _check_object(path: Path, item: dict[str, Any]) -> None:
    name, module = item.get("class_name"), item.get("module")
    if name in _FORBIDDEN:
        raise UnsafeModelError(
            f"{path} holds a {name}, which runs code or reads files; use Keras' other layers"
        )
    if module is not None and str(module).split(".")[0] not in _MODULES:
        raise UnsafeModelError(
            f"{path} takes {name!r:.40} from {module!r:.60}, which is not Keras; do not load it"
        )
    if module == "builtins" and name not in {
        "function",
        "tuple",
        "list",
        "dict",
        "str",
        "int",
        "float",
        "bool",
        "slice",
    }:
        raise UnsafeModelError(f"{path} takes {name!r:.40} from Python itself; do not load it")
    if module is not None and str(module).startswith(
        ("keras.src.utils", "keras.utils", "keras.src.saving", "keras.saving")
    ):
        raise UnsafeModelError(
            f"{path} calls {name!r:.40} of {module!r:.60}, which is no layer; do not load it"
        )


def _check_weights(path: Path) -> None:
    """Look into the HDF5 file: no link to another file, no tensor larger than what is stored of it."""
    import io

    from kit.errors import require

    h5py = require("h5py", "formats")
    content = archives.read(path, "model.weights.h5", 2**31)
    bad: list[str] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            stored = item.id.get_storage_size()
            if item.external or item.is_virtual or item.nbytes > 4 * stored + 65_536 or item.dtype.hasobject:
                bad.append(f"{name} {item.shape}")
        else:
            bad.extend(k for k in item if not isinstance(item.get(k, getlink=True), h5py.HardLink))

    try:
        with h5py.File(io.BytesIO(content), "r") as weights:
            visit("/", weights)
            weights.visititems(visit)
    except (OSError, RuntimeError, KeyError) as error:
        raise ModelError(f"{path}: its weights are damaged: {error}; save the model again") from None
    if bad:
        raise UnsafeModelError(
            f"{path}: {bad[0]!r:.80} is a link to another file, or far larger than what is stored of it"
        )
