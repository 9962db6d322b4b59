"""The plain way: post a picture or numbers, get labels and probabilities."""

from __future__ import annotations

import asyncio
from email.message import Message
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from fastapi import APIRouter, Request

from kit.data.pictures import read_picture
from kit.errors import DataError, ModelError
from kit.runtime.pipelines.answers import Labels
from kit.serving import body
from kit.serving.protocols import v2
from kit.serving.protocols.answers import Respond
from kit.serving.refusal import Refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kit.serving.call import Call
    from kit.serving.registry import Registry
    from kit.variant import Signature

_PIXELS = 24_000_000  # of a picture: a small file may hold far more and fill the memory
_AT_ONCE = 2  # pictures decoded at a time

_ASKED = {
    "required": True,
    "content": {
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "string", "format": "binary"}},
            }
        },
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "inputs": {"type": "array", "items": {}, "description": "as the model takes them"},
                    "raw": {"type": "array", "items": {}, "description": "as the data set holds them"},
                },
            },
            "example": {"inputs": [[0.0, 0.5, 1.0]]},
        },
    },
}


def router(registry: Registry) -> APIRouter:
    """Return the routes of the plain protocol."""
    routes = APIRouter(tags=["predict"])
    decoding = asyncio.Semaphore(_AT_ONCE)

    @routes.post("/predict/{model}", openapi_extra={"requestBody": _ASKED}, responses=Respond.predictions)
    async def predict(model: str, request: Request, version: str | None = None) -> Any:
        """Predict from a picture (its bytes, or a form with `file`) or from numbers (`inputs` or `raw`)."""
        call: Call = request.state.call
        call.protocol = "plain"
        found = registry.find(model, version)
        call.model = model
        signature = found.servable.signature
        if signature is None:
            raise Refusal(
                400, f"{model!r} is a bare ONNX file and has no classes; use /v2/models/{model}/infer"
            )
        inputs = await _inputs(request, call, signature, decoding)
        outputs = await v2.answered(call, found, {"input": inputs})
        rows = [_words(signature, row) for row in outputs["output"]]
        return {"model": model, "version": found.version, "predictions": rows}

    return routes


async def _inputs(
    request: Request, call: Call, signature: Signature, decoding: asyncio.Semaphore
) -> NDArray[np.float32]:
    """Return the rows of a request as the model takes them."""
    kind = _media_type(call)
    if kind in {"", "application/json", "text/json"}:
        return _numbers(body.parse(call.body), signature)
    content = call.body
    if kind == "multipart/form-data":
        form = await request.form(max_files=1, max_fields=8)
        file = form.get("file")
        if file is None or isinstance(file, str):
            raise Refusal(400, "the form needs a file in its field 'file'")
        content = await file.read()
    elif not kind.startswith("image/") and kind != "application/octet-stream":
        raise Refusal(415, f"send image/*, multipart/form-data or application/json, not {kind[:60]!r}")
    async with decoding:
        raw = await asyncio.to_thread(_picture, content, signature)
    return np.ascontiguousarray(signature.preprocess(raw[None]).numpy())


def _media_type(call: Call) -> str:
    message = Message()
    message["content-type"] = call.headers.get(b"content-type", b"").decode("latin-1")
    return message.get_content_type() if message["content-type"] else ""


def _picture(content: bytes, signature: Signature) -> torch.Tensor:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = _PIXELS
    try:
        return read_picture(content, signature).raw
    except ModelError as error:
        raise Refusal(400, str(error)) from None
    except DataError:
        raise Refusal(
            400,
            f"this is no picture that can be read, or it has over {_PIXELS:,} pixels; PNG and JPEG are safe",
        ) from None


def _numbers(document: Any, signature: Signature) -> NDArray[np.float32]:
    """Return the numbers of a JSON document: one sample or several, pre-processed or raw."""
    if not isinstance(document, dict) or len({"inputs", "raw"} & set(document)) != 1:
        raise Refusal(
            400, 'expected {"inputs": …} (as the model takes them) or {"raw": …} (as data hold them)'
        )
    [name] = {"inputs", "raw"} & set(document)
    try:
        given = np.array(document[name])
    except (ValueError, OverflowError):
        raise Refusal(400, f"{name}: its lists differ in length or are nested too deep") from None
    if given.dtype.kind not in "iuf":
        raise Refusal(400, f"{name} must hold numbers")
    shape = signature.shape
    rows = given[None] if given.shape == shape else given
    if rows.shape[1:] != shape or rows.ndim != len(shape) + 1 or len(rows) == 0:
        wanted = ", ".join(map(str, shape))
        raise Refusal(400, f"{name} must have the shape ({wanted}) or (N, {wanted}), got {given.shape[:8]}")
    with np.errstate(over="ignore"):
        array = rows.astype(np.float32)
    v2.check_finite(array)
    if name == "raw":
        array = signature.preprocess(torch.from_numpy(array)).numpy()
    return np.ascontiguousarray(array)


def _words(signature: Signature, row: NDArray[np.float32]) -> dict[str, Any]:
    """Return what one row of outputs means: labels with probabilities, or values."""
    if not np.isfinite(row).all():
        raise Refusal(500, "the model answered with NaN or infinity")
    if signature.task != "classification":
        return {"values": row.tolist()}
    found = Labels.of(row.astype(np.float64), signature.classes)
    ranked = {name: round(share, 6) for name, share in found.ranked}
    return {"label": found.label, "probability": ranked[found.label], "probabilities": ranked}
