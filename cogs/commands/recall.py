"""What ``/recall`` means, and "Find similar", whoever asks."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast, get_args

from cogs.commands.asker import Asker
from cogs.commands.lookups import resolve_author, resolve_channel, resolve_label, visible_channels
from cogs.commands.options import option, options_of
from cogs.memory.errors import BadRequest
from cogs.memory.recall.dates import parse_when
from cogs.memory.recall.limits import MAX_LIMIT, checked_query
from cogs.memory.records import Filters, Has, JsonObject, Order, RecallRequest, RecallResult, Scope
from cogs.memory.text import presentation

if TYPE_CHECKING:
    from cogs.memory.service import MemoryService

_HOST = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63}){1,5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallCommand:
    """``/recall`` as it was typed. A field is an option of all three doors, and its ``help`` is what they show."""

    query: str = option(
        "What to look for, in your own words; without it, what the filters leave is listed", positional=True, default=""
    )
    channel: tuple[str, ...] = option("Only in this channel and its threads", complete="channel", repeated=True)
    author: str | None = option("Only what this person wrote, even if they left", complete="author")
    before: str | None = option("Only before this day: 2026-03-01, last tuesday")
    after: str | None = option("Only from this day on: 2026-03-01, two weeks ago")
    during: str | None = option("Only in this span: 2026-03, last week, yesterday")
    has: str | None = option("Only messages with such a thing", kind="choice", choices=get_args(Has))
    mentions: str | None = option("Only messages that mention this person", complete="author")
    file_type: str | None = option("Only messages with a file of this type: pdf, png", length=10)
    host: str | None = option("Only messages with a link to this site: example.org", length=100)
    author_type: str | None = option("Only what people, or bots, wrote", kind="choice", choices=("people", "bots"))
    sort: str | None = option("How the results are ordered", kind="choice", choices=get_args(Order))
    label: str | None = option("Only messages with this label", complete="label")
    limit: int = option(f"How many results, 1 to {MAX_LIMIT}", kind="number", low=1, high=MAX_LIMIT, default=10)


@dataclass(frozen=True, slots=True)
class Understood:
    """What of a command is clear without the memory: the words, and the span of time. ``before`` is exclusive."""

    query: str
    after: dt.datetime | None
    before: dt.datetime | None


@dataclass(frozen=True, slots=True)
class RecallAnswer:
    """What is answered to ``/recall``; every door renders it.

    ``query`` is empty for "Find similar". ``scope`` is what was searched, and ``result.reach`` counts its messages.
    ``span`` says in words which time was understood, or is ``None``.
    """

    query: str
    result: RecallResult
    scope: Scope
    asked_at: dt.datetime
    span: str | None = None

    def pages(
        self, names: Mapping[int, str] | None = None, rendered: presentation.HitViews | None = None
    ) -> tuple[presentation.PageView, ...]:
        """Return the pages to show, at least one; it takes a while, so call it off the event loop.

        ``names`` are those of mentioned members, roles and channels; ``rendered`` holds the hits as they were before.
        """
        return presentation.result_pages(
            self.result, self.query, self.asked_at, names=names, rendered=rendered, span=self.span
        )

    def as_text(self) -> str:
        """Return the whole answer as plain text."""
        return presentation.as_text(self.result, self.query, self.asked_at, span=self.span)

    def as_json(self) -> JsonObject:
        """Return the answer as one JSON object: ids as strings, times ISO 8601 in UTC, seconds as numbers."""
        reach = self.result.reach
        return {
            "profile": self.result.profile,
            "reranker": self.result.reranker,
            "degraded": self.result.degraded,
            "order": self.result.order,
            "span": self.span,
            "reach": {
                "messages": reach.messages,
                "channels": reach.channels,
                "since": None if reach.since is None else reach.since.isoformat(),
            },
            "seconds": {stage: round(value, 6) for stage, value in self.result.seconds.items()},
            "hits": [
                {
                    "id": str(hit.message.id),
                    "guild_id": str(hit.message.guild_id),
                    "channel_id": str(hit.message.channel_id),
                    "channel": hit.message.channel_name,
                    "author_id": str(hit.message.author_id),
                    "author": hit.message.author_name,
                    "timestamp": hit.message.created_at.isoformat(),
                    "content": hit.message.content,
                    "jump_url": hit.message.jump_url,
                    "fused_score": hit.fused_score,
                    "rerank_score": hit.rerank_score,
                    "evidence": hit.evidence,
                }
                for hit in self.result.hits
            ],
        }


def understand(command: RecallCommand, now: dt.datetime, zone: dt.tzinfo = dt.UTC) -> Understood:
    """Return what a command means before the memory is asked; some wordings of dates take a second.

    Raises:
        BadRequest: the query is empty or too long, a date cannot be read, or nothing lies between the two.
    """
    filtered = any(
        getattr(command, name) not in (None, ()) for name in options_of(RecallCommand) if name not in ("query", "limit")
    )
    query = checked_query(command.query) if command.query.strip() or not filtered else ""
    if command.sort == "best" and not query:
        raise BadRequest("The best of what? Say what to look for, or sort by newest or oldest.")
    after = None if command.after is None else parse_when(command.after, now, tz=zone)
    before = None if command.before is None else parse_when(command.before, now, tz=zone)
    if command.during is not None:
        if after is not None or before is not None:
            raise BadRequest("Say either “during”, or “after” and “before”.")
        after, before = (parse_when(command.during, now, end_of, zone) for end_of in (False, True))
    if after is not None and before is not None and after >= before:
        raise BadRequest("Nothing lies between these dates: “after” must be earlier than “before”.")
    return Understood(query, after, before)


async def recall(
    service: MemoryService, asker: Asker, command: RecallCommand, *, explain: bool = False
) -> RecallAnswer:
    """Search what the asker may read; ``explain`` brings the order of every stage along.

    Raises:
        BadRequest: something in the command cannot be understood, or names what is not there.
        StorageError: the database cannot be read.
    """
    meant = await asyncio.to_thread(understand, command, asker.now, asker.zone)
    scope = asker.scope
    authors = None if command.author is None else await resolve_author(service, command.author, scope)
    label = None if command.label is None else await resolve_label(service, command.label, scope)
    if command.channel:
        visible = await visible_channels(service, scope)
        scope = scope.narrowed(frozenset().union(*(resolve_channel(name, visible) for name in command.channel)))
    filters = Filters(
        author_ids=authors,
        after=meant.after,
        before=meant.before,
        has=cast("Has | None", command.has),
        label=label,
        mentions=None if command.mentions is None else await resolve_author(service, command.mentions, scope),
        host=_host(command.host),
        file_type=_file_type(command.file_type),
        author_kind={"people": "person", "bots": "bot", None: None}[command.author_type],
    )
    order = cast("Order", command.sort or ("best" if meant.query else "newest"))
    if meant.query:
        request = RecallRequest(meant.query, scope, filters, command.limit, asked_at=asker.now, explain=explain)
        result = _sorted(await service.recall(request), order)
    else:
        result = await service.browsing.listed(scope, filters, order, command.limit)
    span = presentation.span_sentence(meant.after, meant.before, asker.now, asker.zone)
    return await _answer(service, RecallAnswer(meant.query, result, scope, asker.now, span))


def _sorted(result: RecallResult, order: Order) -> RecallResult:
    """Return the best hits in another order."""
    if order == "best":
        return result
    hits = sorted(result.hits, key=lambda hit: hit.message.id, reverse=order == "newest")
    return replace(result, hits=tuple(hits), order=order)


def _host(text: str | None) -> str | None:
    """Return the host of a site, given as such or as an address.

    Raises:
        BadRequest: it is none.
    """
    if text is None:
        return None
    host = text.casefold().removeprefix("https://").removeprefix("http://").removeprefix("www.").partition("/")[0]
    if not _HOST.fullmatch(host):
        raise BadRequest("That is not the name of a site; write it like example.org.")
    return host


def _file_type(text: str | None) -> str | None:
    """Return the ending of a file's name without its dot.

    Raises:
        BadRequest: it is none.
    """
    if text is None:
        return None
    ending = text.casefold().removeprefix("*").removeprefix(".")
    if not ending.isalnum():
        raise BadRequest("That is not a type of file; write it like pdf.")
    return ending


async def similar(service: MemoryService, asker: Asker, message_id: int) -> RecallAnswer:
    """Find what says something like one message, within what the asker may read.

    Raises:
        BadRequest: the message is not remembered, or the asker may not read it; both read the same.
    """
    result = await service.similar(message_id, asker.scope)
    return await _answer(service, RecallAnswer("", result, asker.scope, asker.now))


async def still_readable(service: MemoryService, asker: Asker, answer: RecallAnswer) -> RecallAnswer:
    """Return an answer with only those hits that exist and that the asker may read now, as they are now."""
    found = {m.id: m for m in await service.messages([hit.message.id for hit in answer.result.hits], asker.scope)}
    hits = []
    for hit in answer.result.hits:
        message = found.get(hit.message.id)
        if message is not None:
            same = message.content == hit.message.content
            hits.append(replace(hit, message=message, evidence=hit.evidence if same else None))
    scope = asker.scope.narrowed(answer.scope.channel_ids)
    result = replace(answer.result, hits=tuple(hits))
    return await _answer(service, replace(answer, result=result, scope=scope, asked_at=asker.now))


async def _answer(service: MemoryService, answer: RecallAnswer) -> RecallAnswer:
    """Return an answer whose reach counts what was searched, hits or none."""
    return replace(answer, result=replace(answer.result, reach=await service.reach(answer.scope)))
