"""Who stands behind a request: the session of a page, or the token of REST."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException

from cogs.commands.asker import Asker
from cogs.memory.errors import BadRequest
from cogs.web.context import WebContext
from cogs.web.directory import Visitor
from cogs.web.gate import Session

COOKIE = "mneme"
GONE = "You are not on this server any more."


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A visitor as of this request, with their session where they use the page."""

    context: WebContext
    visitor: Visitor
    session: Session | None

    @property
    def asker(self) -> Asker:
        """The visitor as commands know whoever asks."""
        return self.context.asker(self.visitor)


async def by_cookie(request: Request) -> SignedIn:
    """Return who uses the page.

    Raises:
        HTTPException: 303 to the sign-in where nobody is signed in; 403 for whoever left the server.
    """
    context: WebContext = request.app.state.context
    session = context.gate.session(request.cookies.get(COOKIE))
    if session is None:
        raise HTTPException(303, "Sign in first.", {"Location": "/enter"})
    visitor = await context.visitor(session.person)
    if visitor is None:
        context.gate.leave(session)
        raise HTTPException(403, GONE)
    return SignedIn(context, visitor, session)


async def by_token(request: Request) -> SignedIn:
    """Return whom a token is for.

    Raises:
        HTTPException: 401 without a good token; 403 for whoever left the server.
    """
    context: WebContext = request.app.state.context
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    try:
        if scheme.casefold() != "bearer":
            raise BadRequest("Send a token: Authorization: Bearer …")
        person = context.gate.bearer(token.strip())
    except BadRequest as error:
        raise HTTPException(401, str(error), {"WWW-Authenticate": "Bearer"}) from error
    visitor = await context.visitor(person)
    if visitor is None:
        raise HTTPException(403, GONE)
    return SignedIn(context, visitor, None)


OnPage = Annotated[SignedIn, Depends(by_cookie)]
WithToken = Annotated[SignedIn, Depends(by_token)]


async def sent(request: Request, on_page: SignedIn) -> FormData:
    """Return a form of the page itself.

    Raises:
        HTTPException: it lacks the session's secret, so another site sent it.
    """
    form = await request.form(max_files=0, max_fields=30, max_part_size=32 * 1024)
    assert on_page.session is not None
    if not hmac.compare_digest(str(form.get("csrf", "")).encode(), on_page.session.csrf.encode()):
        raise HTTPException(403, "This form is not from this page, or is from another session; load the page again.")
    return form


def text_of(form: FormData, field: str) -> str | None:
    """Return a field's text without spaces around it; ``None`` where nothing was typed."""
    value = form.get(field)
    return (value.strip() or None) if isinstance(value, str) else None


def required(form: FormData, field: str) -> str:
    """Return a field's text.

    Raises:
        BadRequest: nothing was typed.
    """
    value = text_of(form, field)
    if value is None:
        raise BadRequest(f"Say something for {field}.")
    return value
