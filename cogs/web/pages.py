"""The pages: sign-in, overview, recall looked into, one's own words, what was judged, and management."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from cogs.commands import administration, own_words
from cogs.commands.asker import managed_guild
from cogs.commands.own_words import OwnWords
from cogs.commands.recall import RecallCommand
from cogs.memory.errors import BadRequest
from cogs.memory.recall.limits import checked_query
from cogs.memory.text.status_lines import status_lines
from cogs.web import charts, looking
from cogs.web.context import WebContext
from cogs.web.gate import SESSION_SECONDS
from cogs.web.rendering import page
from cogs.web.signed_in import COOKIE, OnPage, SignedIn, required, sent, text_of

router = APIRouter(include_in_schema=False)
DAYS = 60
CHANNELS = 20
OPTIONS = ("channel", "author", "after", "before", "has", "label")


# -- signing in ----------------------------------------------------------------------------------------------------


@router.get("/enter")
async def enter(request: Request, link: str = "") -> Response:
    """Show the way in; a link is used up only by the button, because chat clients fetch links to preview them."""
    context: WebContext = request.app.state.context
    if link:
        context.gate.check_link(link)
    return page("enter.html", "Sign in", link=link, oauth=False)


@router.post("/enter")
async def enter_with(request: Request, link: Annotated[str, Form(max_length=1000)]) -> Response:
    """Open a session."""
    context: WebContext = request.app.state.context
    person = context.gate.check_link(link)
    if await context.visitor(person) is None:
        raise BadRequest("You are not on this server any more.")
    session = context.gate.enter(link)
    response = RedirectResponse("/", 303)
    response.set_cookie(
        COOKIE,
        session.id,
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
        path="/",
    )
    return response


@router.post("/leave")
async def leave(request: Request, on_page: OnPage) -> Response:
    """End the session."""
    await sent(request, on_page)
    assert on_page.session is not None
    on_page.context.gate.leave(on_page.session)
    response = RedirectResponse("/enter", 303)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response


# -- overview ------------------------------------------------------------------------------------------------------


@router.get("/")
async def overview(on_page: OnPage) -> Response:
    """Show how much is remembered of what the visitor may read, and how the memory fares."""
    service, visitor = on_page.context.service, on_page.visitor
    status = await service.status(visitor.person.guild_id)
    reach = await service.reach(visitor.scope)
    days = await service.insight.by_day(visitor.scope, on_page.context.now(), DAYS)
    channels = await service.insight.by_channel(visitor.scope, CHANNELS)
    figures = [
        ("Messages that you can read", f"{reach.messages:,}", f"in {reach.channels:,} channels and threads"),
        ("Waiting to be embedded", f"{status.queue:,}", ""),
        ("Profile", status.profile, status.device),
        ("Reranker", status.reranker or "none", status.embedder),
    ]
    if visitor.manager:
        measured = await service.insight.figures()
        size, degraded = measured.database_bytes / 2**20, sum(measured.degraded.values())
        figures += [
            ("Database", f"{size:,.1f} MB", f"{measured.index_bytes / 2**20:,.1f} MB of vectors in memory"),
            ("Answers not in the reranker's order", f"{degraded:,}", "since the start, in all servers"),
        ]
    lines = [*status_lines(status), *on_page.context.notes(visitor.person.guild_id)] if visitor.manager else []
    kept = await looking.remembered(service, visitor.scope)
    return _page(
        on_page,
        "overview.html",
        "Overview",
        "/",
        figures=figures,
        days=charts.columns(days, "messages"),
        channels=charts.bars(channels, "messages"),
        latency=sorted(status.latency.items()),
        lines=lines,
        kept=kept,
    )


# -- recall --------------------------------------------------------------------------------------------------------


@router.get("/recall")
async def ask(on_page: OnPage) -> Response:
    """Show the form."""
    return await _recall_page(on_page, {}, "", None)


@router.post("/recall")
async def answer(request: Request, on_page: OnPage) -> Response:
    """Search as the visitor, and show every stage. The question is sent in the body, so that no log has it."""
    form = await sent(request, on_page)
    typed = {name: text_of(form, name) or "" for name in ("query", "beside", *OPTIONS)}
    try:
        command = _command(typed)
        looked = await looking.look(on_page.context.service, on_page.asker, command, typed["beside"] or None)
    except BadRequest as error:
        return await _recall_page(on_page, typed, str(error), None)
    return await _recall_page(on_page, typed, "", looked)


@router.post("/judge")
async def judge(request: Request, on_page: OnPage) -> Response:
    """Record whether a hit was right, for the server's own evaluation set; then show the same search again."""
    form = await sent(request, on_page)
    managed_guild(on_page.asker)
    query, message = checked_query(required(form, "query")), required(form, "message")
    mark = {"right": True, "wrong": False}.get(required(form, "mark"))
    if mark is None or not message.isascii() or not message.isdigit():
        raise BadRequest("Say whether the message is right or wrong.")
    await on_page.context.service.insight.judge(
        on_page.visitor.scope, query, int(message), mark, on_page.visitor.person.user_id
    )
    typed = {name: text_of(form, name) or "" for name in ("query", "beside", *OPTIONS)}
    looked = await looking.look(on_page.context.service, on_page.asker, _command(typed), typed["beside"] or None)
    return await _recall_page(on_page, typed, f"Noted: {'right' if mark else 'wrong'}.", looked)


async def _recall_page(on_page: SignedIn, typed: dict[str, str], said: str, looked: looking.Looked | None) -> Response:
    return _page(
        on_page,
        "recall.html",
        "Recall, looked into",
        "/recall",
        said=said,
        typed={name: typed.get(name, "") for name in ("query", "beside", *OPTIONS)},
        looked=looked,
        rerankers=on_page.context.service.insight.rerankers() if on_page.visitor.manager else [],
    )


def _command(typed: dict[str, str]) -> RecallCommand:
    return RecallCommand(
        query=typed["query"],
        channel=(typed["channel"],) if typed["channel"] else (),
        author=typed["author"] or None,
        after=typed["after"] or None,
        before=typed["before"] or None,
        has=typed["has"] or None,
        label=typed["label"] or None,
    )


# -- one's own words -----------------------------------------------------------------------------------------------


@router.get("/mine")
async def mine(on_page: OnPage) -> Response:
    """Show what is stored of the visitor."""
    return await _mine_page(on_page, "")


@router.post("/mine/{act}")
async def mine_act(request: Request, on_page: OnPage, act: str) -> Response:
    """Export, opt out or in, erase, or make a token: what ``/privacy`` does, by the same code."""
    await sent(request, on_page)
    service, asker, options = on_page.context.service, on_page.asker, OwnWords()
    if act == "export":
        data = await own_words.export(service, asker, options)
        return Response(
            json.dumps(data, ensure_ascii=False, indent=1),
            media_type="application/json",
            headers={"Content-Disposition": 'attachment; filename="mneme-export.json"', "Cache-Control": "no-store"},
        )
    if act == "token":
        token = on_page.context.gate.token(on_page.visitor.person)
        return await _mine_page(on_page, "", token)
    if act == "forget":
        erasure = await own_words.forget_me(service, asker, options)
        return _page(
            on_page,
            "confirm.html",
            "Erase?",
            "/mine",
            question=erasure.question,
            action="/mine/forgotten",
            button=erasure.button,
            fields={},
        )
    acts = {"opt-out": own_words.opt_out, "opt-in": own_words.opt_in}
    if act == "forgotten":
        said = await (await own_words.forget_me(service, asker, options)).erase()
    elif act in acts:
        said = await acts[act](service, asker, options)
    else:
        raise BadRequest("There is no such button.")
    return await _mine_page(on_page, said)


async def _mine_page(on_page: SignedIn, said: str, token: str | None = None) -> Response:
    lines = (await own_words.show(on_page.context.service, on_page.asker, OwnWords())).splitlines()
    return _page(on_page, "mine.html", "Your words", "/mine", said=said, lines=lines, token=token)


# -- judged, and management ------------------------------------------------------------------------------------------


@router.get("/judged")
async def judged(on_page: OnPage) -> Response:
    """List the questions that were judged."""
    managed_guild(on_page.asker)
    found = await on_page.context.service.insight.judged(on_page.visitor.scope)
    return _page(on_page, "judged.html", "Judged", "/judged", found=found)


@router.get("/manage")
async def manage(on_page: OnPage) -> Response:
    """Show what a manager decides."""
    return await _manage_page(on_page, "")


@router.post("/manage")
async def manage_act(request: Request, on_page: OnPage) -> Response:
    """Do what a manager decided: what ``/memory`` does, by the same code."""
    form = await sent(request, on_page)
    service, asker = on_page.context.service, on_page.asker
    managed_guild(asker)
    act = required(form, "act")
    if act == "include":
        _, said = await administration.include_channel(service, asker, required(form, "channel"))
    elif act == "exclude":
        said = await administration.exclude_channel(service, asker, required(form, "channel"))
    elif act == "retention":
        days = required(form, "days")
        if not days.isascii() or not days.isdigit() or len(days) > 4 or int(days) > administration.MAX_RETENTION:
            raise BadRequest(f"Days are a number from 0 to {administration.MAX_RETENTION}.")
        said = await administration.retention(service, asker, administration.RetentionCommand(days=int(days)))
    elif act == "forget":
        fields = {name: text_of(form, name) for name in ("channel", "author", "message")}
        erasure = await administration.forget(service, asker, administration.ForgetCommand(**fields))
        again = {"act": "forget", "sure": "yes", **{name: value for name, value in fields.items() if value}}
        if erasure.question is not None and form.get("sure") != "yes":
            return _page(
                on_page,
                "confirm.html",
                "Erase?",
                "/manage",
                question=erasure.question,
                action="/manage",
                button=erasure.button,
                fields=again,
            )
        said = await erasure.erase()
    else:
        raise BadRequest("There is no such button.")
    return await _manage_page(on_page, said)


async def _manage_page(on_page: SignedIn, said: str) -> Response:
    service, asker = on_page.context.service, on_page.asker
    lists = {
        "Channels": await administration.channels(service, asker),
        "Labels": await administration.labels(service, asker),
        "Profiles": await administration.profiles(service, asker),
    }
    return _page(
        on_page,
        "manage.html",
        "Management",
        "/manage",
        said=said,
        lists=[(name, text.splitlines()) for name, text in lists.items()],
    )


def _page(on_page: SignedIn, template: str, title: str, here: str, *, said: str = "", **values: Any) -> Response:
    return page(template, title, visitor=on_page.visitor, session=on_page.session, here=here, said=said, **values)
