"""What a person reads of a conversation: a line or two for each turn, the message that was found marked. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from cogs.memory.records import Conversation, StoredMessage
from cogs.memory.text.excerpts import excerpt, excerpt_markdown, fit
from cogs.memory.text.presentation import author_label, channel_label, message_text, stamp, when_text
from cogs.memory.text.sanitize import discord_length

DESCRIPTION = 4000
"""Characters of an embed's description: https://discord.com/developers/docs/resources/message#embed-object-embed-limits."""
TURN, FOUND = 160, 600
"""Characters of a turn, and of the message that was found."""


@dataclass(frozen=True, slots=True)
class TalkView:
    """A conversation, ready to show: ``text`` for a terminal, ``title`` and ``markdown`` for an embed."""

    title: str
    text: str
    markdown: str
    earlier: bool
    later: bool


def talk_view(talk: Conversation, now: dt.datetime, names: Mapping[int, str] | None = None) -> TalkView:
    """Return what a person reads of a conversation; ``now`` is the time that the year is measured from."""
    plain: list[str] = []
    marked: list[str] = []

    def add(sign: str, message: StoredMessage) -> None:
        found = message.id == talk.message.id
        width = FOUND if found else TURN
        spans = excerpt(message_text(message), "", None, names=names, width=width)
        who, when = author_label(message), when_text(message.created_at, now)
        words = "".join(span.text for span in spans).replace("\n", "\n      ")
        plain.append(f"{sign} {who}, {when}: {words}")
        said = excerpt_markdown(spans, width)
        line = f"{fit(who, 120)}, {stamp(message.created_at)} · [↗](<{message.jump_url}>)\n{said}"
        marked.append(f"**{sign}** {line}" if found else f"{sign} {line}")

    if talk.answers_to is not None:
        add("↑", talk.answers_to)
    for turn in talk.turns:
        add("▶" if turn.id == talk.message.id else "·", turn)
    for answer in talk.answered_by:
        add("↳", answer)
    title = f"Around a message in {channel_label(talk.message)}"
    return TalkView(title, "\n".join([title, *plain]), _fitting(marked), talk.earlier, talk.later)


def _fitting(lines: list[str]) -> str:
    """Return the lines that an embed holds; the found one is near the middle, so both ends go first."""
    while len(lines) > 1 and discord_length("\n".join(lines)) > DESCRIPTION:
        lines.pop(0 if len(lines) % 2 else -1)
    return "\n".join(lines)
