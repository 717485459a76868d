"""What ``/catchup`` means, whoever asks: what was talked about since they were last active, by conversation."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cogs.commands.asker import Asker
from cogs.commands.lookups import resolve_channel, visible_channels
from cogs.commands.options import option
from cogs.memory.errors import BadRequest
from cogs.memory.recall.dates import parse_when
from cogs.memory.recall.digest import CONVERSATIONS, Digest, digests
from cogs.memory.records import JsonObject
from cogs.memory.text.excerpts import excerpt, excerpt_markdown, fit
from cogs.memory.text.presentation import author_label, counted, message_text, span_sentence, stamp, when_text
from cogs.memory.text.sanitize import one_line

if TYPE_CHECKING:
    from cogs.memory.service import MemoryService

LONGEST = dt.timedelta(days=31)
USUAL = dt.timedelta(days=1)
MESSAGES = 5000
"""Of a longer span the newest are looked at, and the answer says so."""
QUOTED = 200
PEOPLE = 4
HOW = "Quoted are the turns that drew replies, answered questions, mention you or say something new."


@dataclass(frozen=True, slots=True, kw_only=True)
class CatchUpCommand:
    """``/catchup`` as it was typed."""

    since: str | None = option("From when on: yesterday, 2026-03-01. Otherwise since you last wrote", positional=True)
    channel: str | None = option("Only in this channel and its threads", complete="channel")


@dataclass(frozen=True, slots=True)
class CatchUpAnswer:
    """What is answered to ``/catchup``. ``cut`` says that there was more than can be looked at."""

    found: tuple[Digest, ...]
    messages: int
    since: dt.datetime
    asker: Asker
    channels: Mapping[int, str]
    cut: bool = False

    def sections(self, names: Mapping[int, str] | None = None) -> list[tuple[str, str]]:
        """Return a heading and its markdown for each conversation; ``names`` are of mentioned members and channels."""
        return [
            (self._heading(digest), f"{stamp(digest.first.created_at)}\n{self._lines(digest, names, marked=True)}")
            for digest in self.found[:CONVERSATIONS]
        ]

    def summary(self) -> str:
        """Return the sentences above the conversations, plain."""
        span = span_sentence(self.since, None, self.asker.now, self.asker.zone) or ""
        if not self.found:
            return f"{span} Nothing was said in what you can read."
        rest = len(self.found) - CONVERSATIONS
        parts = [
            span,
            f"{counted(self.messages, 'message')} in {counted(len(self.found), 'conversation')}.",
            f"There was more than {MESSAGES:,}; these are the newest." if self.cut else "",
            f"{counted(rest, 'conversation')} with less in {'it' if rest == 1 else 'them'} not shown."
            if rest > 0
            else "",
            HOW,
        ]
        return " ".join(part for part in parts if part)

    def as_text(self) -> str:
        """Return the whole answer as plain text."""
        lines = [self.summary()]
        for digest in self.found[:CONVERSATIONS]:
            when = when_text(digest.first.created_at, self.asker.now)
            lines += ["", f"{self._heading(digest)} · {when}", self._lines(digest, None, marked=False)]
        return "\n".join(lines)

    def as_json(self) -> JsonObject:
        """Return the answer as one JSON object: ids as strings, times ISO 8601 in UTC."""
        return {
            "since": self.since.isoformat(),
            "messages": self.messages,
            "cut": self.cut,
            "conversations": [
                {
                    "channel_id": str(digest.channel_id),
                    "channel": self.channels.get(digest.channel_id, ""),
                    "messages": digest.messages,
                    "people": list(digest.people),
                    "from": digest.first.created_at.isoformat(),
                    "to": digest.last.created_at.isoformat(),
                    "mentions_you": digest.mentions_reader,
                    "turns": [
                        {"author": turn.author_name, "content": turn.content, "jump_url": turn.jump_url}
                        for turn in digest.turns
                    ],
                    "decided": None if digest.decided is None else digest.decided.jump_url,
                    "open": None if digest.open is None else digest.open.jump_url,
                }
                for digest in self.found
            ],
        }

    def _heading(self, digest: Digest) -> str:
        people = [one_line(name, 30) for name in digest.people[:PEOPLE]]
        more = f" and {len(digest.people) - PEOPLE} more" if len(digest.people) > PEOPLE else ""
        mark = "@you · " if digest.mentions_reader else ""
        channel = one_line(self.channels.get(digest.channel_id, ""), 60) or "a channel"
        return f"{mark}#{channel} · {', '.join(people) or 'a bot'}{more} · {counted(digest.messages, 'message')}"

    def _lines(self, digest: Digest, names: Mapping[int, str] | None, *, marked: bool) -> str:
        signs = [(turn, "") for turn in digest.turns]
        shown = {turn.id for turn in digest.turns}
        for message, sign in ((digest.decided, "decided: "), (digest.open, "open: ")):
            if message is not None and message.id in shown:
                signs = [(turn, sign if turn.id == message.id else before) for turn, before in signs]
            elif message is not None:
                signs.append((message, sign))
        lines = []
        for message, sign in signs:
            spans = excerpt(message_text(message), "", None, names=names, width=QUOTED)
            if marked:
                said = excerpt_markdown(spans, QUOTED).replace("\n", " ")
                lines.append(f"{sign}{fit(author_label(message), 40)}: {said} [↗](<{message.jump_url}>)")
            else:
                said = "".join(span.text for span in spans).replace("\n", " ")
                lines.append(f"    {sign}{author_label(message)}: {said} ({message.jump_url})")
        return "\n".join(lines)


async def catch_up(service: MemoryService, asker: Asker, command: CatchUpCommand) -> CatchUpAnswer:
    """Tell what was talked about in what the asker may read.

    Raises:
        BadRequest: the time cannot be read, lies ahead or too far back, or the channel is none that they may read.
        StorageError: the database cannot be read.
    """
    scope, after_id = asker.scope, 0
    if command.channel is not None:
        visible = await visible_channels(service, scope)
        scope = scope.narrowed(resolve_channel(command.channel, visible))
    if command.since is not None:
        since = await asyncio.to_thread(parse_when, command.since, asker.now, False, asker.zone)
        if since >= asker.now:
            raise BadRequest("That time has not come yet; say since when, such as yesterday or 2026-03-01.")
        if asker.now - since > LONGEST:
            raise BadRequest(f"Catching up reaches back {LONGEST.days} days at most; /recall finds what is older.")
    else:
        said = await service.browsing.last_said(asker.user_id, asker.scope)
        since = asker.now - USUAL if said is None else max(min(said[1], asker.now), asker.now - LONGEST)
        after_id = 0 if said is None else said[0]
    messages, cut = await service.browsing.span(scope, since, asker.now, MESSAGES, after_id)
    channels = [info for guild_id in scope.channels for info in await service.channels(guild_id)]
    threads = [info.id for info in channels if info.kind == "thread"]
    found = await asyncio.to_thread(digests, messages, asker.user_id, threads)
    names = {info.id: info.name for info in channels if info.id in scope.channel_ids}
    return CatchUpAnswer(tuple(found), len(messages), since, asker, names, cut)
