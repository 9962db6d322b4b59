"""Everything but inference: a FastAPI app of routes, and the two pages for a browser."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

import kit
from kit.errors import KitError
from kit.serving.app import refused
from kit.serving.body import ClientGoneError
from kit.serving.protocols import documentation, management, plain, training
from kit.serving.refusal import Refusal

if TYPE_CHECKING:
    from kit.serving.call import Answer
    from kit.serving.guard import Guard
    from kit.serving.metrics import Metrics
    from kit.serving.place import Place, Settings
    from kit.serving.registry import Registry

_HERE = Path(__file__).parent


def make(registry: Registry, place: Place, settings: Settings, metrics: Metrics, guard: Guard) -> FastAPI:
    """Return the app."""
    app = FastAPI(title="maaskit", version=kit.__version__, docs_url=None, redoc_url=None)
    app.include_router(plain.router(registry))
    app.include_router(management.router(registry, place, metrics, guard))
    app.include_router(training.router(registry, place.jobs, settings))
    documentation.describe(app)
    _pages(app)
    for kind in (KitError, ClientGoneError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, _refuse)
    return app


def _pages(app: FastAPI) -> None:
    """Add the page to try the models on, and the one that shows what can be asked."""

    @app.get("/", include_in_schema=False)
    async def try_it() -> HTMLResponse:
        return page((_HERE / "page.html").read_text(encoding="utf-8"))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return page(documentation.html(app.openapi()))


def page(text: str) -> HTMLResponse:
    """Return a page whose own script and style may run and nothing else, from nowhere else."""
    allowed = {}
    for tag in ("script", "style"):
        content = text.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
        sha = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        allowed[tag] = f"'sha256-{sha}'"
    policy = (
        "default-src 'none'; connect-src 'self'; img-src 'self' blob: data:; "
        f"script-src {allowed['script']}; style-src {allowed['style']}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return HTMLResponse(text, headers={"Content-Security-Policy": policy})


async def _refuse(request: Request, error: Exception) -> Response:
    """Answer an error in our own words."""
    answer: Answer = refused(request.state.call, _as_refusal(error))
    headers = {name.decode(): value.decode("latin-1") for name, value in answer.headers}
    return Response(answer.body, answer.status, headers)


def _as_refusal(error: Any) -> Exception:
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return Refusal(422, f"{where}: {first['msg']}"[:300])
    if isinstance(error, HTTPException):
        return Refusal(error.status_code, str(error.detail)[:300], error.headers)
    return error  # type: ignore[no-any-return]
