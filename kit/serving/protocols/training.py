"""Training by request: an order in, a job out; its progress, its end, and its model as a folder or served."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kit.errors import unknown
from kit.models import factories
from kit.serving import body
from kit.serving.jobs import BUNDLED, ENDED, Jobs, Order
from kit.serving.protocols.answers import Respond
from kit.serving.refusal import Refusal
from kit.training.choices import OPTIMIZERS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kit.serving.place import Settings
    from kit.serving.registry import Registry

_LOOK = 0.1  # seconds between two looks at a job that somebody waits for
_LONGEST = 3600.0


class TrainingOrder(BaseModel):
    """What to train. Names of models, data sets and optimizers; no code travels."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model_name: str
    data: str
    optimizer: str = "adam"
    learning_rate: Annotated[float | None, Field(gt=0, le=10)] = None
    epochs: Annotated[int, Field(ge=1, le=1000)] = 5
    batch_size: Annotated[int, Field(ge=2, le=65536)] = 128
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    samples: Annotated[int | None, Field(ge=20, le=10**9)] = None


_ASKED = {
    "content": {
        kind: {"schema": TrainingOrder.model_json_schema()}
        for kind in ("application/json", "application/x-www-form-urlencoded")
    }
}


def router(registry: Registry, folder: Path, settings: Settings) -> APIRouter:
    """Return the routes.

    Args:
        registry: where a trained model is served.
        folder: of the jobs.
        settings: the data sets that may be named.
    """
    routes = APIRouter(tags=["train"])
    jobs = Jobs(folder)
    names = [*BUNDLED, *settings.datasets]

    @routes.post(
        "/train_model",
        status_code=202,
        openapi_extra={"requestBody": _ASKED},
        responses={200: {"description": "How it went, if it ended within `wait`"}, **Respond.missing},
    )
    async def train_model(
        request: Request,
        response: Response,
        wait: Annotated[float, Query(ge=0, le=_LONGEST, description="seconds to wait for the end")] = 0,
    ) -> dict[str, Any]:
        """Train a model: the parameters come in the address, as a form or as JSON. Answers with the job."""
        order = await _order(request, names)
        identity = await asyncio.to_thread(jobs.add, order)
        response.headers["Location"] = f"/jobs/{identity}"
        found = await _ended(jobs, identity, wait, request)
        response.status_code = 200 if found["state"] in ENDED else 202
        return found

    @routes.get("/jobs")
    async def every() -> list[dict[str, Any]]:
        """Every job, the newest first."""
        return await asyncio.to_thread(jobs.all)

    @routes.get("/jobs/{job}", responses=Respond.missing)
    async def one(job: str) -> dict[str, Any]:
        """How a job is."""
        return await asyncio.to_thread(jobs.get, job)

    @routes.delete("/jobs/{job}", responses=Respond.missing)
    async def cancel(job: str) -> dict[str, Any]:
        """Ask a job to end."""
        return await asyncio.to_thread(jobs.cancel, job)

    @routes.get("/jobs/{job}/events", responses=Respond.text, response_class=StreamingResponse)
    async def events(job: str, request: Request, after: int = 0) -> StreamingResponse:
        """What happens to a job, as server-sent events, until it has ended."""
        await asyncio.to_thread(jobs.get, job)
        last = request.headers.get("last-event-id", "")
        begin = int(last) if last.isdecimal() and len(last) < 18 else max(-1, min(after, 2**62))
        return StreamingResponse(_stream(jobs, job, begin), media_type="text/event-stream")

    @routes.get("/jobs/{job}/model", responses=Respond.text, response_class=Response)
    async def model(job: str) -> Response:
        """The trained model folder, as a tar file."""
        await _must_be_done(jobs, job)
        packed = await asyncio.to_thread(_packed, folder / job / "model", job)
        return Response(packed, media_type="application/x-tar")

    @routes.post("/jobs/{job}/deploy", responses=Respond.missing)
    async def deploy(job: str, name: str | None = None) -> dict[str, str]:
        """Serve the trained model, as the next version of `name` (by default the model's own name)."""
        found = await _must_be_done(jobs, job)
        wanted = name or found["asked"]["model_name"]
        if not wanted.replace("-", "").replace("_", "").isalnum() or len(wanted) > 80:
            raise Refusal(400, "a model's name takes letters, digits, '-' and '_'")
        version = await registry.load(wanted, str(folder / job / "model"), None, default=True)
        return {"name": wanted, "version": version}

    return routes


async def _order(request: Request, data: list[str]) -> Order:
    """Read an order wherever its parameters stand, and check every name in it."""
    given: dict[str, Any] = {k: v for k, v in request.query_params.items() if k != "wait"}
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind in {"application/x-www-form-urlencoded", "multipart/form-data"}:
        given |= {k: v for k, v in (await request.form(max_files=0, max_fields=20)).items() if k != "wait"}
    elif request.state.call.body:
        document = body.parse(request.state.call.body)
        if not isinstance(document, dict):
            raise Refusal(400, "the body must be a JSON object")
        given |= document
    try:
        asked = TrainingOrder(**given)
    except (ValidationError, TypeError) as error:
        raise Refusal(422, _first(error)) from None
    for what, name, known in (
        ("model", asked.model_name, factories()),
        ("data set", asked.data, data),
        ("optimizer", asked.optimizer, list(OPTIMIZERS)),
    ):
        if name not in known:
            raise Refusal(422, str(unknown(what, name[:80], known)))
    return Order(**asked.model_dump())


def _first(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return "the parameters are not named as expected"
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))[:80]}: {first['msg']}"[:300]


async def _ended(jobs: Jobs, identity: str, wait: float, request: Request) -> dict[str, Any]:
    """Return a job when it has ended, when the time is up, or when nobody waits any more."""
    loop = asyncio.get_running_loop()
    end = loop.time() + wait
    while True:
        found = await asyncio.to_thread(jobs.get, identity)
        if found["state"] in ENDED or loop.time() >= end or await request.is_disconnected():
            return found
        await asyncio.sleep(_LOOK)


async def _stream(jobs: Jobs, identity: str, after: int) -> AsyncIterator[str]:
    """Yield events as they come; a client that goes away ends this."""
    while True:
        state = (await asyncio.to_thread(jobs.get, identity))["state"]
        for event in await asyncio.to_thread(jobs.events, identity, after):
            after = event["id"]
            yield f"id: {after}\nevent: {event['kind']}\ndata: {json.dumps(event)}\n\n"
        if state in ENDED:
            return
        await asyncio.sleep(_LOOK)


async def _must_be_done(jobs: Jobs, identity: str) -> dict[str, Any]:
    found = await asyncio.to_thread(jobs.get, identity)
    if found["state"] != "done":
        raise Refusal(409, f"job {identity} is {found['state']}, not done")
    return found


def _packed(folder: Path, name: str) -> bytes:
    """Return a folder as a tar file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(folder, arcname=name)
    return buffer.getvalue()
