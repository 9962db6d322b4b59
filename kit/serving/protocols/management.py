"""Health, metadata, the model repository, metrics and the log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body, Response
from pydantic import BaseModel, Field

import kit
from kit.serving.protocols.answers import Respond
from kit.serving.refusal import Refusal

if TYPE_CHECKING:
    from kit.serving.guard import Guard
    from kit.serving.metrics import Metrics
    from kit.serving.place import Place
    from kit.serving.registry import Registry

_TAIL = 256 * 1024  # bytes of the log that are looked at


class Parameters(BaseModel):
    """What to load; of Triton's own parameters none is needed.

    Attributes:
        folder: a model folder or .onnx file on the service's machine.
        version: by default the next number.
        default: whether it answers requests that name no version.
    """

    folder: str | None = None
    version: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9._-]{1,40}$")] = None
    default: bool = True


class Loading(BaseModel):
    """The body of a load or unload."""

    parameters: Parameters = Field(default_factory=Parameters)


Optional = Annotated[Loading | None, Body()]


class NewKey(BaseModel):
    """The body that asks for a key."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,40}$")]
    scopes: Annotated[list[str], Field(min_length=1, max_length=3)] = ["predict"]
    rate: Annotated[float | None, Field(gt=0, lt=1e6)] = None  # requests a second


def router(registry: Registry, place: Place, metrics: Metrics, guard: Guard) -> APIRouter:
    """Return the routes."""
    routes = APIRouter()
    _health(routes, registry)
    _repository(routes, registry)
    _keys(routes, guard)

    @routes.get("/metrics", tags=["watch"], response_class=Response, responses=Respond.text)
    async def prometheus() -> Response:
        """Everything that is counted, for Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @routes.get("/log", tags=["watch"], response_class=Response, responses=Respond.text)
    async def log(lines: int = 100) -> Response:
        """The last lines of the log, one JSON object each."""
        with place.log.open("rb") as file:
            file.seek(max(0, place.log.stat().st_size - _TAIL))
            found = file.read().split(b"\n")
        return Response(b"\n".join(found[-max(1, min(lines, 1000)) - 1 :]), media_type="application/x-ndjson")

    return routes


def _health(routes: APIRouter, registry: Registry) -> None:
    @routes.get("/v2/health/live", tags=["v2"])
    async def live() -> dict[str, bool]:
        """Whether the service is there."""
        return {"live": True}

    @routes.get("/v2/health/ready", tags=["v2"], responses=Respond.unready)
    async def ready() -> dict[str, bool]:
        """Whether every model's default version answers."""
        if not registry.ready:
            raise Refusal(503, "a model cannot be opened; /v2/repository/index tells which")
        return {"ready": True}

    @routes.get("/v2", tags=["v2"])
    async def server() -> dict[str, Any]:
        """What this service is and speaks."""
        extensions = ["binary_tensor_data", "model_repository"]
        return {"name": "maaskit", "version": kit.__version__, "extensions": extensions}

    @routes.get("/v2/models/{model}", tags=["v2"], responses=Respond.missing)
    @routes.get("/v2/models/{model}/versions/{version}", tags=["v2"], responses=Respond.missing)
    async def metadata(model: str, version: str | None = None) -> dict[str, Any]:
        """What a model takes and gives."""
        found = registry.find(model, version)
        servable = found.servable
        return {
            "name": model,
            "versions": registry.versions(model),
            "platform": f"{servable.about['runtime']}",
            "inputs": [spec.to_dict() for spec in servable.inputs],
            "outputs": [spec.to_dict() for spec in servable.outputs],
            "classes": list(servable.signature.classes) if servable.signature else [],
        }

    @routes.get("/v2/models/{model}/ready", tags=["v2"], responses=Respond.missing)
    @routes.get("/v2/models/{model}/versions/{version}/ready", tags=["v2"], responses=Respond.missing)
    async def model_ready(model: str, version: str | None = None) -> dict[str, Any]:
        """Whether a model answers."""
        return {"name": registry.find(model, version).model, "ready": True}


def _repository(routes: APIRouter, registry: Registry) -> None:
    @routes.post("/v2/repository/index", tags=["manage"])
    async def index() -> list[dict[str, Any]]:
        """Every version of every model, whether it answers, and which is the default."""
        return list(registry.index())

    @routes.post("/v2/repository/models/{model}/load", tags=["manage"], responses=Respond.missing)
    async def load(model: str, asked: Optional = None) -> dict[str, str]:
        """Open a version beside the others; it answers once it is open, and no request fails meanwhile."""
        wanted = (asked or Loading()).parameters
        if not model.replace("-", "").replace("_", "").replace(".", "").isalnum() or len(model) > 80:
            raise Refusal(400, "a model's name takes letters, digits, '.', '-' and '_'")
        if not wanted.folder:
            raise Refusal(400, 'give {"parameters": {"folder": …}}: a model folder on the service\'s machine')
        path = Path(wanted.folder)
        if "\0" in wanted.folder or not (path.suffix == ".onnx" or (path / "card.json").is_file()):
            raise Refusal(400, "that is no model folder and no .onnx file on the service's machine")
        version = await registry.load(model, str(path.resolve()), wanted.version, default=wanted.default)
        return {"name": model, "version": version}

    @routes.post("/v2/repository/models/{model}/unload", tags=["manage"], responses=Respond.missing)
    async def unload(model: str, asked: Optional = None) -> dict[str, str]:
        """Take a version (without one: the whole model) away after its last answer."""
        await registry.unload(model, (asked or Loading()).parameters.version)
        return {"name": model}

    @routes.post("/v2/repository/models/{model}/default", tags=["manage"], responses=Respond.missing)
    async def default(model: str, asked: Optional = None) -> dict[str, str]:
        """Let a version answer from the next request on; without one, go back to the default before."""
        version = await registry.make_default(model, (asked or Loading()).parameters.version)
        return {"name": model, "version": version}


def _keys(routes: APIRouter, guard: Guard) -> None:
    @routes.post("/keys", tags=["manage"], responses=Respond.missing)
    async def add(asked: NewKey) -> dict[str, str]:
        """Make a key; this answer is the only place where it can be read."""
        return {"name": asked.name, "key": guard.add(asked.name, asked.scopes, asked.rate)}

    @routes.delete("/keys/{name}", tags=["manage"], responses=Respond.missing)
    async def revoke(name: str) -> dict[str, str]:
        """Let a key open nothing any more."""
        guard.revoke(name)
        return {"name": name}
