"""The web application: pages, REST and metrics behind one guard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from cogs.memory.errors import BadRequest, MnemeError
from cogs.web import api, health, pages
from cogs.web.context import WebContext
from cogs.web.rendering import sorry
from cogs.web.security import Guard

STATIC = Path(__file__).with_name("static")


def build_site(context: WebContext, mounts: Mapping[str, ASGIApp] | None = None) -> ASGIApp:
    """Return the whole site; ``mounts`` are further applications by path, each with a ``lifespan`` of its own."""
    mounted = dict(mounts or {})

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for inner in mounted.values():
                router = getattr(inner, "router", None)
                if router is not None:
                    await stack.enter_async_context(router.lifespan_context(inner))
            yield

    app = FastAPI(
        title="Mneme",
        version="1",
        description="What a server's members may recall, as the page and MCP offer it.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.context = context
    app.include_router(health.router)
    app.include_router(api.router)
    app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for path, inner in mounted.items():
        app.mount(path, inner)
    app.add_exception_handler(MnemeError, _told)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    return Guard(app, context.hosts, context.requests_per_second)


async def _told(request: Request, error: Exception) -> Response:
    """Say in a sentence what a person can mend."""
    status = HTTPStatus.BAD_REQUEST if isinstance(error, BadRequest) else HTTPStatus.SERVICE_UNAVAILABLE
    return _answer(request, status, str(error))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = _answer(request, HTTPStatus(error.status_code), str(error.detail))
    response.headers.update(error.headers or {})
    return response


async def _malformed(request: Request, error: Exception) -> Response:
    """Say which field is wrong; what was sent is not repeated."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = str(first["loc"][-1]) if first["loc"] else "the request"
    return _answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, f"{field}: {first['msg']}.")


def _answer(request: Request, status: HTTPStatus, sentence: str) -> Response:
    if request.url.path.startswith("/api/"):
        return JSONResponse({"detail": sentence}, status)
    return sorry(sentence, status)
