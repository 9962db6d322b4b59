"""The OpenAPI document, with the inference route that FastAPI does not see, and a page that shows it."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any

from kit.serving.protocols.answers import errors
from kit.serving.protocols.tensors import DATATYPES

if TYPE_CHECKING:
    from fastapi import FastAPI

_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype", "data"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"type": "string", "enum": list(DATATYPES)},
        "data": {"type": "array", "items": {}},
        "parameters": {"type": "object"},
    },
}
_REQUEST = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "inputs": {"type": "array", "items": _TENSOR},
        "outputs": {
            "type": "array",
            "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
        },
    },
}
_RESPONSE = {
    "type": "object",
    "required": ["model_name", "outputs"],
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "outputs": {"type": "array", "items": _TENSOR},
    },
}


def describe(app: FastAPI) -> None:
    """Complete the app's document: inference, how to give a key."""
    made = app.openapi

    def document() -> dict[str, Any]:
        found = made()
        for path in ("/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"):
            found["paths"].setdefault(path, {"post": _infer(path)})
        found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"key": []}]
        return found

    app.openapi = document  # type: ignore[method-assign]


def _infer(path: str) -> dict[str, Any]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return {
        "tags": ["v2"],
        "summary": "Infer",
        "description": "Run a model on tensors, in JSON or with the binary tensor data extension.",
        "operationId": f"infer_{'_'.join(names)}",
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _REQUEST}}},
        "responses": {
            "200": {"description": "The outputs", "content": {"application/json": {"schema": _RESPONSE}}},
            **{str(k): v for k, v in errors(400, 401, 403, 404, 408, 413, 415, 429, 500, 503, 504).items()},
        },
    }


def html(document: dict[str, Any]) -> str:
    """Return the document as a page that needs no script and no network."""
    parts = []
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            answers = "".join(
                f"<li><b>{escape(status)}</b> {escape(answer['description'])}</li>"
                for status, answer in told["responses"].items()
            )
            schema = json.dumps(told.get("requestBody", {}).get("content", {}), indent=1)
            asked = f"<h3>Body</h3><pre>{escape(schema)}</pre>" if schema != "{}" else ""
            parts.append(
                f"<details><summary><code>{method.upper()} {escape(path)}</code> {escape(told['summary'])}"
                f"</summary><p>{escape(told.get('description', ''))}</p>{asked}<h3>Answers</h3>"
                f"<ul>{answers}</ul></details>"
            )
    style = (
        "body{font:16px/1.5 system-ui,sans-serif;max-width:54rem;margin:2rem auto;padding:0 1rem}"
        "details{border-top:1px solid #ccc;padding:.5rem 0}"
        "pre{overflow:auto;background:#f4f4f4;padding:.5rem}"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>maaskit: what can be asked</title>'
        f"<style>{style}</style><h1>What can be asked</h1><p>A key goes into the header "
        "<code>Authorization: Bearer …</code>. The same as a document for programs: "
        f'<a href="/openapi.json">openapi.json</a>. <a href="/">Try a model</a>.</p>{"".join(parts)}</html>'
    )
