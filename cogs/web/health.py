"""``/healthz``, ``/readyz`` and ``/metrics``, for whoever runs the bot."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from typing import TYPE_CHECKING

import psutil
from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response

from cogs.web.metrics import Reading, exposition

if TYPE_CHECKING:
    from cogs.web.context import WebContext

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def healthz() -> PlainTextResponse:
    """Say that the process answers."""
    return PlainTextResponse("ok")


@router.get("/readyz")
async def readyz(request: Request) -> PlainTextResponse:
    """Say whether questions can be answered: the models are there and Discord is connected."""
    context: WebContext = request.app.state.context
    gateway = None if context.gateway is None else context.gateway()
    if gateway is not None and not gateway.connected:
        return PlainTextResponse("not connected to Discord", 503)
    return PlainTextResponse("ready")


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Write the figures; from other machines only with the operator's token."""
    context: WebContext = request.app.state.context
    if not _may_read(request, context.metrics_token):
        raise HTTPException(403, "Metrics are for this machine; from others, send MNEME_METRICS_TOKEN.")
    reading = await read(context)
    return Response(await asyncio.to_thread(exposition(lambda: reading)), media_type="text/plain; version=0.0.4")


def _may_read(request: Request, token: str | None) -> bool:
    sent = request.headers.get("authorization", "").removeprefix("Bearer ")
    if token is not None and hmac.compare_digest(sent.encode(), token.encode()):
        return True
    host = request.client.host if request.client is not None else ""
    try:
        return token is None and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def read(context: WebContext) -> Reading:
    """Return the newest figures."""
    figures = await context.service.insight.figures()
    gateway = None if context.gateway is None else context.gateway()
    status = await context.service.status()
    return Reading(
        ready=gateway is None or gateway.connected,
        messages=status.messages,
        queue=status.queue,
        vectors=figures.vectors,
        index_bytes=figures.index_bytes,
        database_bytes=figures.database_bytes,
        process_bytes=psutil.Process().memory_info().rss,
        profile=status.profile,
        embedder=status.embedder,
        reranker=status.reranker or "none",
        uptime=status.uptime,
        stages=figures.stages,
        degraded=figures.degraded,
        gateway_seconds=None if gateway is None else gateway.seconds,
        reconnects=None if gateway is None else gateway.reconnects,
    )
