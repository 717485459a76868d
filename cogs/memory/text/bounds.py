"""What the memory takes in: one limit for each kind of text, and the one place that holds what arrives to it. Pure.

Discord keeps its own limits, but a message may also come out of a file or from a server that only says it is Discord.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from cogs.memory.records import Attachment, ChannelInfo, IncomingMessage
from cogs.memory.text.shown import MAX_SHOWN

CONTENT_CHARACTERS = 8_000
"""Discord allows 4,000; an export writes names where Discord writes ids, which makes a text longer."""
NAME_CHARACTERS = 100
FILENAME_CHARACTERS = 260
ADDRESS_CHARACTERS = 2_048
MOST_ATTACHMENTS = 30
"""Ten on a message, and as many on what it forwards."""
LARGEST_ID = 2**63 - 1
MOST_LABELS = 25
"""Of a server; a message is judged against each."""

EARLIEST = dt.datetime(2015, 1, 1, tzinfo=dt.UTC)
"""Discord's first snowflake: nothing on a server is older."""
LATEST = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
"""Snowflakes end in 2084."""


class OutOfBounds(ValueError):
    """A message has an id or a time that no message of Discord has; the text says which, without what it says."""


def cleaned(text: str, limit: int) -> str:
    """Return at most ``limit`` characters of a text, without what no database keeps: U+0000 and lone surrogates."""
    text = text[:limit].replace("\x00", "")
    # Two halves of a pair that arrived as two characters become one; a half alone becomes U+FFFD.
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def is_within_time(moment: dt.datetime) -> bool:
    """Return whether a message of Discord can have this time."""
    return EARLIEST <= moment < LATEST


def bounded_message(message: IncomingMessage) -> IncomingMessage:
    """Return a message as the memory keeps it: cleaned, and no longer than it may be.

    Raises:
        OutOfBounds: an id or a time is impossible, so that the message cannot be kept.
    """
    ids = [message.id, message.guild_id, message.channel_id, message.author_id]
    if not all(0 < number <= LARGEST_ID for number in ids):
        raise OutOfBounds("an id is out of range")
    if not is_within_time(message.created_at):
        raise OutOfBounds("its time is out of range")
    edited, answered = message.edited_at, message.reply_to_id
    return replace(
        message,
        author_name=cleaned(message.author_name, NAME_CHARACTERS),
        author_username=cleaned(message.author_username, NAME_CHARACTERS),
        content=cleaned(message.content, CONTENT_CHARACTERS),
        embed_text=cleaned(message.embed_text, MAX_SHOWN),
        edited_at=edited if edited is not None and is_within_time(edited) else None,
        reply_to_id=answered if answered is not None and 0 < answered <= LARGEST_ID else None,
        attachments=tuple(_bounded_attachment(file) for file in message.attachments[:MOST_ATTACHMENTS]),
    )


def _bounded_attachment(file: Attachment) -> Attachment:
    return Attachment(
        id=file.id,
        filename=cleaned(file.filename, FILENAME_CHARACTERS),
        # A cut address leads elsewhere or nowhere; none leads nowhere as well and says so.
        url=cleaned(file.url, ADDRESS_CHARACTERS) if len(file.url) <= ADDRESS_CHARACTERS else "",
        content_type=None if file.content_type is None else cleaned(file.content_type, NAME_CHARACTERS),
        size=file.size if 0 <= file.size <= LARGEST_ID else 0,
    )


def bounded_channel(channel: ChannelInfo) -> ChannelInfo:
    """Return a channel with a name that can be kept."""
    return replace(channel, name=cleaned(channel.name, NAME_CHARACTERS))
