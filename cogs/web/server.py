"""The web server beside the bot: one uvicorn in the same event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.types import ASGIApp

from cogs.memory.errors import BadRequest
from config.settings import Settings

log = logging.getLogger(__name__)
REQUESTS_AT_ONCE = 64


def address_of(web: str) -> tuple[str, int]:
    """Return host and port of ``MNEME_WEB``; a port alone means loopback.

    Raises:
        BadRequest: it is no address.
    """
    host, _, port = web.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not port.isascii() or not port.isdigit() or not 0 <= int(port) < 65536:
        raise BadRequest(f"MNEME_WEB={web!r} is no address; write it like 127.0.0.1:8080.")
    return host, int(port)


def hosts_of(settings: Settings) -> frozenset[str]:
    """Return the names under which the page may be asked: loopback, and those that the operator named."""
    named = {name.strip() for name in settings.web_hosts.split(",") if name.strip()}
    return frozenset({"localhost", "127.0.0.1", "::1", *named})


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, web: str) -> AsyncIterator[str]:
    """Serve an application while the block runs; yields the address that it listens on.

    Raises:
        BadRequest: the address is none, or is taken.
    """
    host, port = address_of(web)
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise BadRequest(f"The page cannot listen on {web} ({error.strerror}); set MNEME_WEB to another.") from error
    # No access log: addresses carry what people asked. No proxy headers: anybody could write them.
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        lifespan="on",
        limit_concurrency=REQUESTS_AT_ONCE,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=3,
        h11_max_incomplete_event_size=16 * 1024,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="page")
    try:
        listening = asyncio.create_task(server.listening.wait())
        await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        if task.done():
            await task
        bound = listener.getsockname()
        shown = f"http://[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"http://{bound[0]}:{bound[1]}"
        log.info("the page is at %s", shown)
        yield shown
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)


class _Server(uvicorn.Server):
    """uvicorn without its own handling of signals: the bot's process handles them."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield
