"""The JSON of DiscordChatExporter, read message by message and checked field by field.

The fields are those of its ``JsonMessageWriter``
(https://github.com/Tyrrrz/DiscordChatExporter, ``DiscordChatExporter.Core/Exporting/JsonMessageWriter.cs``).

What is kept: what people and bots said, and the results of polls. The exporter writes kinds of messages that it has no
name for as numbers; those of Discord's own sentences ("Pinned a message.", "Joined the server.") are left out, because
the exporter made up their words, and in Discord they have none. A number that is not known yet is kept where it says
something. Messages that show nothing are left out as they are when they arrive from Discord.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, ValidationError

from cogs.imports.channel_kinds import is_direct, is_private_thread, kind_of_channel
from cogs.imports.embeds import MAX_PARTS, Embed, Named
from cogs.imports.errors import BadExport
from cogs.imports.export import ExportHeader, Skipped
from cogs.imports.fields import (
    MaybeMoment,
    MaybeSnowflake,
    Moment,
    Name,
    Part,
    Several,
    Size,
    Snowflake,
    Text,
    what_is_wrong,
)
from cogs.imports.json_stream import JsonStream
from cogs.imports.sources import Source
from cogs.memory.records import Attachment, ChannelInfo, IncomingMessage
from cogs.memory.text.sanitize import one_line
from cogs.memory.text.shown import Shown, ShownFile, ShownPoll, shown_text

REPLIES: Final = frozenset({"Reply", "19"})
SPOKEN: Final = frozenset({"Default", "0", "20", "23"}) | REPLIES
POLL_RESULTS: Final = frozenset({"PollResult", "46"})
KNOWN_NUMBERS: Final = frozenset(str(number) for number in range(47))

Kind = Annotated[str, BeforeValidator(lambda kind: str(kind) if isinstance(kind, int) else kind)]


class _Guild(Part):
    id: MaybeSnowflake = None
    name: Name = ""


class _Channel(Part):
    id: Snowflake
    type: Kind = ""
    category_id: MaybeSnowflake = Field(None, alias="categoryId")
    category: Text = ""
    name: Name = ""


class _Author(Part):
    id: Snowflake
    name: Name = ""
    nickname: Name = ""
    is_bot: bool = Field(False, alias="isBot")


class _File(Part):
    id: Snowflake
    url: Text = ""
    filename: Text = Field("", alias="fileName")
    size: Size = Field(0, alias="fileSizeBytes")
    description: Text = ""


class _Answer(Part):
    text: Text = ""


class _Poll(Part):
    question: Text = ""
    answers: Several[_Answer] = ()


class _Said(Part):
    """What a message and one that is forwarded have in common."""

    content: Text = ""
    attachments: Several[_File] = ()
    embeds: Several[Embed] = ()
    stickers: Several[Named] = ()

    def shown(self, forwarded: tuple[Shown, ...] = (), poll: _Poll | None = None, *, content: bool = True) -> Shown:
        """Return what it shows beside its words, and its words where it is forwarded."""
        return Shown(
            content=self.content if content else "",
            embeds=tuple(embed.shown() for embed in self.embeds[:MAX_PARTS]),
            poll=None if poll is None else ShownPoll(poll.question, tuple(a.text for a in poll.answers[:MAX_PARTS])),
            stickers=tuple(sticker.name for sticker in self.stickers[:MAX_PARTS]),
            files=tuple(ShownFile(file.filename, file.description) for file in self.attachments[:MAX_PARTS]),
            forwarded=forwarded,
        )


class _Reference(Part):
    type: Kind = "Default"
    message_id: MaybeSnowflake = Field(None, alias="messageId")


class _Message(_Said):
    id: Snowflake
    type: Kind = "Default"
    timestamp: Moment
    edited: MaybeMoment = Field(None, alias="timestampEdited")
    author: _Author
    reference: _Reference | None = None
    forwarded: _Said | None = Field(None, alias="forwardedMessage")
    poll: _Poll | None = None


class ExportFile:
    """One export."""

    def __init__(self, source: Source | Path) -> None:
        if isinstance(source, Path):
            path = source
            source = Source(one_line(path.name, 120), PurePosixPath(path.name), 0, lambda: path.open("rb"))
        self.source = source
        self.warnings: list[str] = []
        self._stream = JsonStream(source)

    @property
    def position(self) -> int:
        """Bytes read so far."""
        return self._stream.position

    def header(self) -> ExportHeader:
        """Return whose messages the file holds.

        Raises:
            BadExport: the file has no such beginning, or holds direct messages.
        """
        found: dict[str, Any] = {}
        for key, value in self._stream.members(("guild", "channel")):
            found[key] = value
            if len(found) == 2:
                break
        for key in ("guild", "channel"):
            if key not in found:
                raise self._bad(f"it has no “{key}”, so it is no export of DiscordChatExporter")
        try:
            guild, channel = _Guild.model_validate(found["guild"]), _Channel.model_validate(found["channel"])
        except ValidationError as error:
            raise self._bad(f"{what_is_wrong(error)} where it names its channel") from None
        if is_direct(channel.type) or guild.id is None:
            raise BadExport(f"{self.source.name} holds direct messages, which are not remembered.")
        info = ChannelInfo(
            id=channel.id,
            guild_id=guild.id,
            name=channel.name or "channel",
            kind=kind_of_channel(channel.type),
            parent_id=channel.category_id,
            private=is_private_thread(channel.type),
        )
        if info.kind == "thread" and info.parent_id is None:
            raise self._bad("its thread has no parent channel")
        parent = channel.category[:100] if info.kind == "thread" else ""
        return ExportHeader(guild.id, guild.name or str(guild.id), info, parent)

    def messages(self, header: ExportHeader) -> Iterator[IncomingMessage | Skipped]:
        """Yield every message, checked; reading to the end checks the whole file.

        Raises:
            BadExport: the file is cut off, broken, or a field is not what it must be.
        """
        count, stated, seen = 0, None, False
        for key, value in self._stream.members(("messageCount",), listed="messages"):
            if key == "messageCount":
                stated = value
            elif value is None:
                seen = True
            else:
                count += 1
                yield self._message(value, count, header)
        if not seen:
            raise self._bad("it has no “messages”")
        if isinstance(stated, int) and stated != count:
            self.warnings.append(
                f"{self.source.name} says that it holds {stated:,} messages, but it holds {count:,}: "
                "it was changed after it was exported."
            )

    def _message(self, value: Any, number: int, header: ExportHeader) -> IncomingMessage | Skipped:
        try:
            said = _Message.model_validate(value)
        except ValidationError as error:
            raise self._bad(f"{what_is_wrong(error)} in message {number:,}") from None
        poll_result = said.type in POLL_RESULTS
        if not poll_result and said.type not in SPOKEN and (said.type in KNOWN_NUMBERS or not said.type.isdecimal()):
            return Skipped("system")
        forwarded = () if said.forwarded is None else (said.forwarded.shown(),)
        files = [*said.attachments, *([] if said.forwarded is None else said.forwarded.attachments)]
        refers_to = None if said.reference is None else said.reference.message_id
        forwards = said.reference is not None and said.reference.type == "Forward"
        embed_text = shown_text(said.shown(forwarded, said.poll, content=False))
        message = IncomingMessage(
            id=said.id,
            guild_id=header.guild_id,
            channel_id=header.channel.id,
            author_id=said.author.id,
            author_name=said.author.nickname or said.author.name or "somebody",
            author_username=said.author.name,
            # The exporter makes up the words of a poll's result; the result itself is an embed.
            content="" if poll_result and embed_text else said.content,
            created_at=said.timestamp,
            author_is_bot=said.author.is_bot,
            edited_at=said.edited,
            reply_to_id=refers_to if said.type in REPLIES and not forwards else None,
            kind="reply" if said.type in REPLIES else "default",
            attachments=tuple(
                Attachment(
                    file.id, file.filename or "file", file.url, mimetypes.guess_type(file.filename)[0], file.size
                )
                for file in files[:MAX_PARTS]
            ),
            embed_text=embed_text,
            forwarded_from=refers_to if forwards else None,
        )
        return message if message.content.strip() or message.attachments or embed_text else Skipped("empty")

    def _bad(self, what: str) -> BadExport:
        return BadExport(f"{self.source.name} cannot be imported: {what}.")
