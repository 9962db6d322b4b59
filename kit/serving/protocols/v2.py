"""The Open Inference Protocol, version 2, over REST: JSON and binary tensors.

Source: https://github.com/kserve/open-inference-protocol; the binary form and the model repository are
extensions of Triton's, which its clients and others use.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import orjson

from kit.serving import body
from kit.serving.call import Answer
from kit.serving.protocols.tensors import DATATYPES, from_json, from_raw, to_json, to_raw
from kit.serving.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kit.serving.call import Call
    from kit.serving.registry import Registry, Version
    from kit.serving.servable import Servable, TensorSpec

    Tensors = Mapping[str, NDArray[Any]]

_HEADER = b"inference-header-content-length"
_RAW = (b"content-type", b"application/octet-stream")
_SIDES = 16  # dimensions of a tensor at most


def target(path: str) -> tuple[str, str | None] | None:
    """Return model and version of an infer path, or None for any other path."""
    match path.split("/"):
        case ["", "v2", "models", name, "infer"]:
            return name, None
        case ["", "v2", "models", name, "versions", version, "infer"]:
            return name, version
    return None


async def infer(call: Call, registry: Registry, name: str, version: str | None) -> Answer:
    """Answer one inference request.

    Raises:
        Refusal: 4xx for anything that does not fit the model, before a runtime sees it.
        ClientGoneError: when the client closes before the answer.
    """
    found = registry.find(name, version)
    call.model = name
    document, raw = _split(call)
    inputs = _inputs(document, raw, found.servable)
    wanted = _wanted(document, found.servable)
    outputs = await answered(call, found, inputs)
    return _answer(found, document.get("id"), outputs, wanted)


async def answered(call: Call, found: Version, inputs: Tensors) -> Tensors:
    """Queue the inputs and wait for the outputs; a slow model does not compute for a client that has gone."""
    rows = len(next(iter(inputs.values()))) if found.servable.rowwise else 1
    future = found.batcher.submit(inputs, rows)
    if found.servable.short:
        return await future
    gone = asyncio.ensure_future(call.receive())
    try:
        await asyncio.wait((future, gone), return_when=asyncio.FIRST_COMPLETED)
        if not future.done():
            raise body.ClientGoneError
        return future.result()
    finally:
        gone.cancel()
        future.cancel()


def _split(call: Call) -> tuple[dict[str, Any], memoryview]:
    """Return the JSON part of a request, and what follows it."""
    length = call.headers.get(_HEADER)
    content = memoryview(call.body)
    if length is None:
        document, raw = body.parse(content), content[:0]
    elif not length.isdigit() or int(length) > len(content):
        raise Refusal(
            400, f"Inference-Header-Content-Length is no length within the body of {len(content):,} bytes"
        )
    else:
        document, raw = body.parse(content[: int(length)]), content[int(length) :]
    if not isinstance(document, dict):
        raise Refusal(400, "the body must be a JSON object with inputs")
    if not isinstance(document.get("id", ""), str):
        raise Refusal(400, "id must be a string")
    return document, raw


def _inputs(document: dict[str, Any], raw: memoryview, servable: Servable) -> dict[str, NDArray[Any]]:
    """Return the tensors of a request in the model's own order, each checked against what the model takes."""
    given: dict[str, NDArray[Any]] = {}
    specs = {spec.name: spec for spec in servable.inputs}
    for entry in _entries(document, "inputs"):
        name = entry["name"]
        if name not in specs:
            raise Refusal(400, f"no input {name[:80]!r}; the model takes {', '.join(specs)}")
        if name in given:
            raise Refusal(400, f"input {name!r} is given twice")
        shape = _shape(entry, specs[name])
        given[name], raw = _tensor(entry, specs[name], shape, raw)
    if len(raw):
        raise Refusal(400, f"{len(raw):,} bytes follow the last input")
    missing = [name for name in specs if name not in given]
    if missing:
        raise Refusal(400, f"the input {missing[0]!r} is missing")
    _check_rows(given, servable)
    return {name: given[name] for name in specs}


def _tensor(
    entry: dict[str, Any], spec: TensorSpec, shape: list[int], raw: memoryview
) -> tuple[NDArray[Any], memoryview]:
    """Return one input, and what is left of the bytes behind the document."""
    size = _parameters(entry).get("binary_data_size")
    if size is None:
        return from_json(spec.name, spec.datatype, shape, entry.get("data")), raw
    if type(size) is not int or not 0 <= size <= len(raw) or "data" in entry:
        raise Refusal(
            400, f"input {spec.name!r}: binary_data_size is no size within the data, or data is there too"
        )
    return from_raw(spec.name, spec.datatype, shape, raw[:size]), raw[size:]


def _check_rows(given: Tensors, servable: Servable) -> None:
    if servable.rowwise:
        rows = {len(array) for array in given.values()}
        if len(rows) != 1 or 0 in rows:
            raise Refusal(400, f"inputs must have the same number of rows, at least one; got {sorted(rows)}")
    if servable.signature is not None:
        check_finite(given["input"])


def check_finite(array: NDArray[Any]) -> None:
    """Raise Refusal if an input holds NaN or infinity: no net of this kit has an answer to that."""
    if not math.isfinite(float(array.sum())) and not bool((abs(array) < math.inf).all()):
        raise Refusal(400, "the input holds NaN or infinity")


def _entries(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = document.get(key)
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("name"), str) for entry in entries
    ):
        raise Refusal(400, f"{key} must be a list of objects, each with a name")
    return entries


def _shape(entry: dict[str, Any], spec: TensorSpec) -> list[int]:
    """Return the shape that an input says it has.

    Raises:
        Refusal: 400 when datatype or shape are not those that the model takes.
    """
    datatype, shape = entry.get("datatype"), entry.get("shape")
    if datatype != spec.datatype:
        known = "" if isinstance(datatype, str) and datatype in DATATYPES else ", a datatype nobody knows"
        raise Refusal(400, f"input {spec.name!r} takes {spec.datatype}, got {str(datatype)[:40]!r}{known}")
    if not isinstance(shape, list) or not all(type(n) is int and 0 <= n < 2**31 for n in shape[:_SIDES]):
        raise Refusal(400, f"input {spec.name!r}: shape must be a list of whole numbers")
    fits = len(shape) == len(spec.shape) and all(
        n in {None, m} for n, m in zip(spec.shape, shape, strict=True)
    )
    if not fits:
        wanted = spec.to_dict()["shape"]
        raise Refusal(400, f"input {spec.name!r} takes shape {wanted} (-1: any number), got {shape[:_SIDES]}")
    return shape


def _parameters(entry: dict[str, Any]) -> dict[str, Any]:
    found = entry.get("parameters", {})
    if not isinstance(found, dict):
        raise Refusal(400, "parameters must be an object")
    return found


def _wanted(document: dict[str, Any], servable: Servable) -> list[tuple[TensorSpec, bool]]:
    """Return which outputs are asked for, and whether each as bytes."""
    raw = _parameters(document).get("binary_data_output") is True
    if document.get("outputs") is None or document["outputs"] == []:
        return [(spec, raw) for spec in servable.outputs]
    specs = {spec.name: spec for spec in servable.outputs}
    wanted = []
    for entry in _entries(document, "outputs"):
        if entry["name"] not in specs:
            raise Refusal(400, f"no output {entry['name'][:80]!r}; the model gives {', '.join(specs)}")
        settings = _parameters(entry)
        if "classification" in settings:
            raise Refusal(
                400, "the classification extension is not spoken here; /predict/{model} gives labels"
            )
        wanted.append((specs[entry["name"]], bool(settings.get("binary_data", raw))))
    return wanted


def _answer(
    found: Version, identity: str | None, outputs: Tensors, wanted: list[tuple[TensorSpec, bool]]
) -> Answer:
    told: list[dict[str, Any]] = []
    parts: list[bytes] = []
    for spec, raw in wanted:
        array = outputs[spec.name]
        entry: dict[str, Any] = {"name": spec.name, "datatype": spec.datatype, "shape": array.shape}
        if raw:
            parts.append(to_raw(spec.datatype, array))
            entry["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            entry["data"] = to_json(spec.name, spec.datatype, array)
        told.append(entry)
    document: dict[str, Any] = {"model_name": found.model, "model_version": found.version, "outputs": told}
    if identity:
        document["id"] = identity
    head = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    if not parts:
        return Answer(200, head)
    return Answer(200, b"".join((head, *parts)), [_RAW, (_HEADER, str(len(head)).encode())])
