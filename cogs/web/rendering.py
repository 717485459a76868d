"""Templates → responses. Everything that people wrote is escaped by Jinja; pages are never cached."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from cogs.web.directory import Visitor
from cogs.web.gate import Session

PAGES = (("/", "Overview"), ("/recall", "Recall"), ("/mine", "Your words"))
MANAGER_PAGES = (*PAGES, ("/judged", "Judged"), ("/manage", "Management"))
_environment = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
)


def page(
    template: str,
    title: str,
    *,
    visitor: Visitor | None = None,
    session: Session | None = None,
    here: str = "",
    said: str = "",
    status: HTTPStatus = HTTPStatus.OK,
    **values: Any,
) -> HTMLResponse:
    """Return a page.

    Args:
        template: The name of the template.
        title: The heading, and the window's title.
        visitor: Who is signed in, for the menu.
        session: Their session, for the secret in the forms.
        here: The path of this page, marked in the menu.
        said: A sentence above the content.
        status: The HTTP status.
        values: What the template needs beside these.
    """

    def csrf() -> Markup:
        secret = "" if session is None else session.csrf
        return Markup('<input type="hidden" name="csrf" value="{}">').format(secret)

    html = _environment.get_template(template).render(
        title=title,
        visitor=visitor,
        here=here,
        said=said,
        csrf=csrf,
        pages=MANAGER_PAGES if visitor is not None and visitor.manager else PAGES,
        **values,
    )
    return HTMLResponse(html, status, {"Cache-Control": "no-store"})


def sorry(sentence: str, status: HTTPStatus) -> HTMLResponse:
    """Return a page with one sentence."""
    return page("sorry.html", "Sorry", status=status, sentence=sentence)
