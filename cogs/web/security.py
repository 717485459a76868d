"""What stands before every request: known hosts, bounded bodies, limited rates, and headers that keep a page alone.

The site listens on loopback unless told otherwise, and every web page that a person opens can send requests there: so a
host that is not named is refused (DNS rebinding), forms carry a secret, and cookies are ``SameSite=Strict``.
"""

from __future__ import annotations

from collections.abc import Iterable

from limits import RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from config import logs

BODY_BYTES = 64 * 1024
"""The largest body that is read; a query has at most 1,000 characters."""
URL_BYTES = 8 * 1024
HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"x-robots-tag", b"noindex"),
)
PER_SECOND = 20
SIGN_IN = RateLimitItemPerMinute(10)
SIGN_IN_PATHS = ("/enter", "/oauth")


class Guard:
    """The outermost layer of the site.

    Args:
        app: What is guarded.
        hosts: The names (without port) under which the site may be asked.
        per_second: How many requests of one client are answered in a second.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], per_second: int = PER_SECOND) -> None:
        self._app = app
        self._hosts = frozenset(host.casefold() for host in hosts)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._per_client = RateLimitItemPerSecond(per_second)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what may not come in; else pass it on with a bounded body and add the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = await self._refusal(scope)
        if refusal is not None:
            await PlainTextResponse(refusal[1], refusal[0])(scope, receive, _with_headers(send))
            return
        with logs.belonging_to():
            await self._app(scope, _Bounded(receive).receive, _with_headers(send))

    async def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = dict(scope["headers"])
        if _host(headers.get(b"host", b"").decode("latin-1")) not in self._hosts:
            return 421, "This host is not one of the page's own; see MNEME_WEB_HOSTS."
        if len(scope["raw_path"]) + len(scope["query_string"]) > URL_BYTES:
            return 414, "The address is too long."
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > BODY_BYTES:
            return 413, f"At most {BODY_BYTES // 1024} kB can be sent at once."
        client = scope["client"][0] if scope.get("client") else "local"
        if not await self._limiter.hit(self._per_client, "all", client):
            return 429, "Too many requests; wait a second."
        if (
            scope["method"] == "POST"
            and scope["path"].startswith(SIGN_IN_PATHS)
            and not await self._limiter.hit(SIGN_IN, "enter", client)
        ):
            return 429, "Too many attempts to sign in; wait a minute."
        return None


def _host(header: str) -> str:
    if header.startswith("["):
        return header.partition("]")[0].removeprefix("[").casefold()
    return header.partition(":")[0].casefold()


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *HEADERS]
        await send(message)

    return sending


class _Bounded:
    """A body that ends the request where it is larger than it said or than is allowed."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._left = BODY_BYTES

    async def receive(self) -> Message:
        """Pass on the next part."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                return {"type": "http.disconnect"}
        return message
