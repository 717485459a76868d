"""What a person reads of a result, decided once: Discord's views and the terminal only render it. Pure.

Texts in the views are *plain*: visible, defused and unescaped, so a terminal prints them as they are and Discord gets
them through :func:`cogs.memory.text.sanitize.markdown` (the ``*_markdown`` members).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cogs.memory.records import Hit, Reach, RecallResult, StoredMessage
from cogs.memory.text.excerpts import Span, excerpt, excerpt_markdown, fit
from cogs.memory.text.sanitize import discord_length, one_line

#: Discord's limits, in characters: https://discord.com/developers/docs/resources/message#embed-object-embed-limits
EMBED_FIELD_NAME, EMBED_TITLE, MESSAGE = 256, 256, 2000

_LISTED: dict[str, str] = {"best": "Similar messages", "newest": "The newest messages", "oldest": "The oldest messages"}
PER_PAGE = 5
EXCERPT = 280
_FIELD = 760


EARLIER = "earlier: "
"""What stands before a message that says what held before another one."""


@dataclass(frozen=True, slots=True)
class HitView:
    """One hit as a person reads it. ``number`` counts from 1 over all pages; ``timestamp`` is in Unix seconds."""

    number: int
    message_id: int
    author: str
    when: str
    timestamp: int
    channel: str
    excerpt: tuple[Span, ...]
    jump_url: str
    score: str
    badge: str | None = None

    @property
    def title(self) -> str:
        """Who, where and when, on one line."""
        return f"[{self.number}] {self.author} · {self.channel} · {self.when}"

    @property
    def title_markdown(self) -> str:
        """The title for an embed field's name (at most 256 characters)."""
        return fit(f"[{self.number}] {self.author} · {self.channel}", EMBED_FIELD_NAME)

    @property
    def value_markdown(self) -> str:
        """The excerpt, time, score and jump link for an embed field's value (at most 1,024 characters)."""
        facts = " · ".join(part for part in (self.score, self.badge) if part)
        tail = f"\n-# {stamp(self.timestamp)} · {fit(facts, 250)} · [Jump to message](<{self.jump_url}>)"
        return excerpt_markdown(self.excerpt, _FIELD - discord_length(tail)) + tail


@dataclass(frozen=True, slots=True)
class PageView:
    """One page of a result: fits one embed. ``notice`` tells of a degraded order, ``footer`` of profile and page.

    ``span`` is the sentence that says which time was searched.
    """

    title: str
    hits: tuple[HitView, ...]
    page: int
    pages: int
    footer: str
    notice: str | None = None
    empty: str | None = None
    span: str | None = None

    @property
    def title_markdown(self) -> str:
        """The title for an embed (at most 256 characters)."""
        return fit(self.title, EMBED_TITLE)

    @property
    def description_markdown(self) -> str:
        """What stands above the hits: the notice, the time that was searched, the sentence of an empty result."""
        return "\n".join(fit(part, 500) for part in (self.notice, self.span, self.empty) if part)

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """(name, value) of each hit, escaped for Discord."""
        return tuple((hit.title_markdown, hit.value_markdown) for hit in self.hits)


# --- results ----------------------------------------------------------------------------------------------------


def result_pages(
    result: RecallResult,
    query: str,
    now: dt.datetime,
    *,
    names: Mapping[int, str] | None = None,
    per_page: int = PER_PAGE,
    rendered: HitViews | None = None,
    span: str | None = None,
) -> tuple[PageView, ...]:
    """Return the pages of a result, at least one.

    Args:
        result: What was recalled.
        query: What was asked, shown in the title and highlighted in the excerpts.
        now: The time that "today" is measured from; aware.
        names: Names of members and roles by id, and of the channels that the reader may see, for mentions.
        per_page: Hits on a page, at most 5, which is what one embed holds whatever the hits contain.
        rendered: The hits of this query that were rendered before, for when a page is turned.
        span: The sentence that says which time was searched (:func:`span_sentence`).
    """
    title = f"Recall: {one_line(query, 120)}" if query.strip() else _LISTED[result.order]
    if not result.hits:
        empty = empty_sentence(result.reach, now)
        return (PageView(title, (), 1, 1, _footer(result, 1, 1), degraded_notice(result), empty, span),)
    per_page = max(1, min(per_page, PER_PAGE))
    views = (rendered or HitViews(query)).of(result.hits, now, names)
    pages = -(-len(views) // per_page)
    return tuple(
        PageView(
            title=title,
            hits=tuple(views[page * per_page : (page + 1) * per_page]),
            page=page + 1,
            pages=pages,
            footer=_footer(result, page + 1, pages),
            notice=degraded_notice(result),
            span=span,
        )
        for page in range(pages)
    )


class HitViews:
    """The hits of one query as a person reads them. Each is rendered once for as long as it stands as it was."""

    def __init__(self, query: str) -> None:
        self._query = query
        self._names: Mapping[int, str] | None = None
        self._views: dict[int, tuple[Hit, HitView]] = {}

    def of(self, hits: Sequence[Hit], now: dt.datetime, names: Mapping[int, str] | None) -> list[HitView]:
        """Return the view of each hit, numbered from 1; what is no longer among the hits is let go of."""
        known = self._views if names == self._names else {}
        self._names, self._views = names, {}
        views = []
        for number, hit in enumerate(hits, start=1):
            before = known.get(hit.message.id)
            view = before[1] if before is not None and before[0] == hit else None
            view = (
                hit_view(hit, number, self._query, now, names=names) if view is None else replace(view, number=number)
            )
            self._views[hit.message.id] = (hit, view)
            views.append(view)
        return views


def hit_view(
    hit: Hit, number: int, query: str, now: dt.datetime, *, names: Mapping[int, str] | None = None, width: int = EXCERPT
) -> HitView:
    """Return what a person reads of one hit; the excerpt is about ``width`` characters around what matches.

    Args:
        hit: what was found.
        number: its place on the page.
        query: the question whose words are highlighted.
        now: what "3 days ago" counts from.
        names: names for mentions, by id.
        width: characters of the excerpt, about.
    """
    message = hit.message
    said = excerpt(message_text(message), query, hit.evidence, names=names, width=width)
    badges = [
        "replaces an earlier one" if hit.replaces and not hit.replaced_by else "",
        "edited" if message.edited_at else "",
        one_line(hit.contribution, 100) if hit.contribution else "",
        ", ".join(one_line(label, 30) for label in message.labels[:5]),
    ]
    return HitView(
        number=number,
        message_id=message.id,
        author=author_label(message),
        when=when_text(message.created_at, now),
        timestamp=int(message.created_at.timestamp()),
        channel=channel_label(message),
        excerpt=(*([Span(EARLIER)] if hit.replaced_by else []), *said),
        jump_url=message.jump_url,
        score=score_text(hit) if hit.rerank_score is not None or hit.fused_score else "",
        badge=" · ".join(badge for badge in badges if badge) or None,
    )


def score_text(hit: Hit) -> str:
    """Return the reranker's probability, or say that the order is not a reranker's."""
    if hit.rerank_score is None:
        return f"not reranked (fused {hit.fused_score:.2f})"
    return f"rerank_score {hit.rerank_score:.3f}"


def author_label(message: StoredMessage) -> str:
    """Return the author's name on one line, or a stand-in where it is blank."""
    return one_line(message.author_name) or "somebody"


def channel_label(message: StoredMessage) -> str:
    """Return ``#name``, or a stand-in where the name is not known."""
    name = one_line(message.channel_name)
    return f"#{name}" if name else "a channel"


def message_text(message: StoredMessage) -> str:
    """Return everything that a message says to a reader: its words, its embeds and the names of its files."""
    files = ", ".join(attachment.filename for attachment in message.attachments)
    parts = (message.content.strip(), message.embed_text.strip(), f"(attached: {files})" if files else "")
    return "\n".join(part for part in parts if part) or "(no text)"


def degraded_notice(result: RecallResult) -> str | None:
    """Return the sentence that tells why the order is not the reranker's, or ``None``."""
    return None if result.degraded is None else "⚠ " + one_line(result.degraded, 300)


def as_text(result: RecallResult, query: str, now: dt.datetime, *, span: str | None = None) -> str:
    """Return a whole result as plain text, for a terminal."""
    pages = result_pages(result, query, now, span=span)
    lines = [pages[0].notice or "", span or "", pages[0].empty or ""]
    for page in pages:
        for hit in page.hits:
            words = "".join(part.text for part in hit.excerpt).replace("\n", "\n    ")
            facts = " · ".join(part for part in (hit.score, hit.badge, hit.jump_url) if part)
            lines += [hit.title, f"    {words}", f"    {facts}"]
    return "\n".join(line for line in [*lines, _footer(result, 1, 1)] if line)


def _footer(result: RecallResult, page: int, pages: int) -> str:
    ranked = f"ranked by {result.reranker}" if result.reranker and result.degraded is None else "fused order"
    ranked = ranked if result.order == "best" else f"{result.order} first"
    ranked = ranked if result.hits else ""
    parts = [f"page {page} of {pages}" if pages > 1 else "", f"profile {result.profile}", ranked]
    return " · ".join(part for part in parts if part)


def empty_sentence(reach: Reach, now: dt.datetime) -> str:
    """Say that nothing was found and how far the memory reaches, because a miss is not "never said"."""
    if reach.messages == 0:
        return "I remember nothing yet in the channels that you can read here."
    return f"I found nothing that fits. I remember {reach_phrase(reach, now)} that you can read here."


def reach_phrase(reach: Reach, now: dt.datetime) -> str:
    """Return e.g. ``1,204 messages since 3 May in 4 channels``."""
    since = f" since {day_text(reach.since, now)}" if reach.since is not None else ""
    return f"{counted(reach.messages, 'message')}{since} in {counted(reach.channels, 'channel')}"


# --- times and counts -------------------------------------------------------------------------------------------


def day_text(moment: dt.datetime, now: dt.datetime) -> str:
    """Return e.g. ``3 May`` in the zone of ``now``, with the year where it is not this one."""
    moment = moment.astimezone(now.tzinfo)
    return f"{moment.day} {moment:%B}" + (f" {moment.year}" if moment.year != now.year else "")


def when_text(moment: dt.datetime, now: dt.datetime) -> str:
    """Return e.g. ``3 May, 14:05 UTC`` in the zone of ``now``, with the year where it is not this one."""
    return f"{day_text(moment, now)}, {moment.astimezone(now.tzinfo):%H:%M %Z}"


def stamp(moment: dt.datetime | int) -> str:
    """Return a time, or its Unix seconds, in the form that Discord shows to everybody in their own zone."""
    seconds = moment if isinstance(moment, int) else int(moment.timestamp())
    return f"<t:{seconds}:f>"


def span_sentence(
    after: dt.datetime | None, before: dt.datetime | None, now: dt.datetime, zone: dt.tzinfo = dt.UTC
) -> str | None:
    """Say which time a search covers, e.g. ``Since Tuesday, 24 November.``; ``None`` where it covers all of it.

    ``after`` is inclusive and ``before`` exclusive; the days are those of ``zone``.
    """
    if after is None and before is None:
        return None
    since = "" if after is None else f"since {_moment(after, now, zone)}"
    until = "" if before is None else f"before {_moment(before, now, zone)}"
    words = " and ".join(part for part in (since, until) if part)
    return f"{words[0].upper()}{words[1:]}."


def _moment(moment: dt.datetime, now: dt.datetime, zone: dt.tzinfo) -> str:
    here = moment.astimezone(zone)
    year = f" {here.year}" if here.year != now.astimezone(zone).year else ""
    time = f", {here:%H:%M} {here.tzname()}" if (here.hour, here.minute) != (0, 0) else ""
    return f"{here:%A}, {here.day} {here:%B}{year}{time}"


def counted(number: int, noun: str) -> str:
    """Return e.g. ``1,204 messages``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
