"""The card of a model folder: everything about a model but its weights, as plain JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from kit import media
from kit.errors import CorruptFileError, ModelError
from kit.models import Architecture
from kit.notebook import Readable
from kit.runtime.execution import Execution
from kit.statistics import Measurement
from kit.variant import Preprocess, Signature, Step

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kit.variant import Variant

FORMAT = 1
_LIBRARIES = ("maaskit", "torch", "numpy", "onnx", "onnxruntime", "openvino")
_TASKS = ("classification", "regression", "generation")
_LARGEST = 16 * 2**20  # bytes; a card is a few kilobytes


@dataclass(frozen=True)
class RecordedReport(Readable):
    """What a verb said when the model was made, as read from a card."""

    content: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a dictionary fit for JSON."""
        return dict(self.content)

    def __str__(self) -> str:
        return json.dumps(self.content, indent=1)


@dataclass(frozen=True)
class StoredFile:
    """A file of the folder: its checksum and its size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Card:
    """What `card.json` holds.

    Attributes:
        name, signature, recipe, figures: as of the variant.
        files: each file of the folder but the card, by name.
        architecture: how `kit.models` rebuilds the module; None for other modules and for files.
        execution: how the model is meant to be run.
        report: what the last verb said.
        versions: the libraries that wrote the folder.
    """

    name: str
    signature: Signature
    recipe: tuple[Step, ...]
    files: Mapping[str, StoredFile]
    architecture: Architecture | None = None
    execution: Execution = field(default_factory=Execution)
    report: Mapping[str, Any] | None = None
    figures: Mapping[str, Measurement] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the card as JSON; what JSON cannot hold (NaN, infinity) becomes null."""
        signature = asdict(self.signature) | {"media": media.to_dict(self.signature.media)}
        if signature["media"] is None:
            del signature["media"]
        content = {
            "format": FORMAT,
            "name": self.name,
            "task": signature.pop("task"),
            "classes": signature.pop("classes"),
            "input": {"shape": signature.pop("shape"), "dtype": "float32"},
            **signature,
            "recipe": [{"verb": step.verb, "settings": step.settings} for step in self.recipe],
            "architecture": self.architecture and asdict(self.architecture),
            **self.execution.to_dict(),
            "files": {name: asdict(stored) for name, stored in self.files.items()},
            "figures": {name: figure.to_dict() for name, figure in self.figures.items()},
            "report": self.report,
            "versions": self.versions,
        }
        return json.dumps(_plain(content), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def describe(variant: Variant, **fields: Any) -> Card:
    """Return the card of a variant; `fields` are those that the folder knows better."""
    versions = {name: found for name in _LIBRARIES if (found := _version(name))}
    report = variant.report.to_dict() if variant.report is not None else None
    return Card(
        variant.name,
        variant.signature,
        variant.recipe,
        report=report,
        figures=variant.figures,
        versions=versions,
        **fields,
    )


def read(path: Path) -> Card:
    """Read and validate a card.

    Raises:
        CorruptFileError: when it is no JSON, or a field is missing or of the wrong kind.
        ModelError: when a newer maaskit wrote it.
    """
    if path.stat().st_size > _LARGEST:
        raise CorruptFileError(f"{path} is larger than {_LARGEST:,} bytes, which no card is")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CorruptFileError(f"{path} is no valid JSON: {error}; save the model again") from None
    if isinstance(content, dict) and isinstance(content.get("format"), int) and content["format"] > FORMAT:
        raise ModelError(f"{path} has format {content['format']}, newer than {FORMAT}; update maaskit")
    try:
        return _card(content)
    except KeyError as error:
        raise CorruptFileError(f"{path} lacks the field {error}; save the model again") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise CorruptFileError(f"{path} holds a field of the wrong kind: {error}") from None


def _card(content: dict[str, Any]) -> Card:
    """Build a card from JSON; wrong kinds raise TypeError, missing fields KeyError."""
    preprocess = content["preprocess"]
    scale = float(preprocess["scale"])
    mean, std = (tuple(map(float, preprocess[key])) for key in ("mean", "std"))
    if content["task"] not in _TASKS:
        raise ValueError(f"unknown task {content['task']!r:.60}")
    signature = Signature(
        content["task"],
        tuple(_size(side) for side in _kind(content["input"]["shape"], list)),
        tuple(_kind(name, str) for name in _kind(content["classes"], list)),
        _size(content["outputs"]),
        Preprocess(scale, mean, std),
        media.from_dict(_kind(content.get("media"), dict, type(None))),
    )
    made = content["architecture"]
    return Card(
        name=_kind(content["name"], str),
        signature=signature,
        recipe=tuple(
            Step(_kind(step["verb"], str), _kind(step["settings"], dict)) for step in content["recipe"]
        ),
        files={
            name: StoredFile(_kind(entry["sha256"], str), _size(entry["bytes"]))
            for name, entry in _kind(content["files"], dict).items()
        },
        architecture=made and Architecture(_kind(made["factory"], str), _kind(made["arguments"], dict)),
        execution=Execution(
            content["runtime"],
            content["precision"],
            *(content.get(key) for key in ("threads", "device", "layout", "mode")),
        ),
        report=_kind(content["report"], dict, type(None)),
        figures={name: _figure(entry) for name, entry in _kind(content["figures"], dict).items()},
        versions=_kind(content["versions"], dict),
    )


def _figure(entry: dict[str, Any]) -> Measurement:
    value, low, high = (
        math.nan if entry[key] is None else float(entry[key]) for key in ("value", "low", "high")
    )
    unit, method = _kind(entry["unit"], str), _kind(entry["method"], str)
    return Measurement(value, low, high, _size(entry["n"]), unit, method)


def _kind(value: Any, *kinds: type) -> Any:
    if not isinstance(value, kinds):
        raise TypeError(f"expected {kinds[0].__name__}, got {value!r:.60}")
    return value


def _size(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"expected a number from 0, got {value!r:.60}")
    return value


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _plain(value: Any) -> Any:
    """Turn tuples and numpy's numbers into JSON's own kinds."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
