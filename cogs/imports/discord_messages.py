"""A list of messages as Discord's own interface gives them, which other tools save as they are.

The fields are those of https://discord.com/developers/docs/resources/message#message-object. Such a list names its
channel but no server: the server is taken from the memory, where the channel is known, or must be said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import Field, ValidationError

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
from cogs.imports.json_stream import ITEM, JsonStream
from cogs.imports.sources import Source
from cogs.memory.records import Attachment, ChannelInfo, IncomingMessage
from cogs.memory.text.shown import Shown, ShownFile, ShownPoll, shown_text

REPLY, POLL_RESULT = 19, 46
SPOKEN: Final = frozenset({0, REPLY, 20, 23, POLL_RESULT})
NEWEST_KIND: Final = 46
TEXT_DISPLAY, MEDIA_GALLERY = 10, 12
VOICE_FLAG: Final = 1 << 13
FORWARD: Final = 1


class _Author(Part):
    id: Snowflake
    username: Name = ""
    global_name: Name = ""
    bot: bool = False


class _Member(Part):
    nick: Name = ""


class _File(Part):
    id: Snowflake
    filename: Text = ""
    url: Text = ""
    content_type: str | None = None
    size: Size = 0
    description: Text = ""
    duration_secs: float | None = None


class _Media(Part):
    text: Text = ""


class _Answer(Part):
    poll_media: _Media = _Media()


class _Poll(Part):
    question: _Media = _Media()
    answers: Several[_Answer] = ()


class _Said(Part):
    type: int = 0
    content: Text = ""
    attachments: Several[_File] = ()
    embeds: Several[Embed] = ()
    sticker_items: Several[Named] = ()
    components: Several[dict[str, Any]] = ()
    flags: int = 0


class _Snapshot(Part):
    message: _Said


class _Reference(Part):
    type: int = 0
    message_id: MaybeSnowflake = None


class _Message(_Said):
    id: Snowflake
    channel_id: Snowflake
    author: _Author
    member: _Member | None = None
    timestamp: Moment
    edited_timestamp: MaybeMoment = None
    reference: _Reference | None = Field(None, alias="message_reference")
    snapshots: Several[_Snapshot] = Field((), alias="message_snapshots")
    poll: _Poll | None = None
    webhook_id: MaybeSnowflake = None


def _shown(said: _Said, *, whole: bool) -> Shown:
    poll = said.poll if isinstance(said, _Message) else None
    voice = bool(said.flags & VOICE_FLAG)
    return Shown(
        content="" if whole else said.content,
        embeds=tuple(embed.shown() for embed in said.embeds[:MAX_PARTS]),
        components=tuple(_texts(said.components)),
        poll=None
        if poll is None
        else ShownPoll(poll.question.text, tuple(answer.poll_media.text for answer in poll.answers[:MAX_PARTS])),
        stickers=tuple(sticker.name for sticker in said.sticker_items[:MAX_PARTS]),
        files=tuple(
            ShownFile(file.filename, file.description, voice, file.duration_secs if voice else None)
            for file in said.attachments[:MAX_PARTS]
        ),
        forwarded=tuple(_shown(snapshot.message, whole=False) for snapshot in said.snapshots[:MAX_PARTS])
        if isinstance(said, _Message)
        else (),
    )


def _texts(components: Sequence[Any]) -> Iterator[str]:
    """Yield the texts of components, which nest no deeper than :mod:`cogs.imports.json_stream` allows."""
    for component in components[:MAX_PARTS]:
        if not isinstance(component, Mapping):
            continue
        content, inner, items = (component.get(key) for key in ("content", "components", "items"))
        if component.get("type") == TEXT_DISPLAY and isinstance(content, str):
            yield content
        if component.get("type") == MEDIA_GALLERY and isinstance(items, list):
            told = [item.get("description") for item in items[:MAX_PARTS] if isinstance(item, Mapping)]
            yield from (text for text in told if isinstance(text, str))
        if isinstance(inner, list):
            yield from _texts(inner)


class MessageList:
    """One list of messages of one channel."""

    def __init__(self, source: Source, known: Mapping[int, ChannelInfo], guild_id: int | None) -> None:
        self.source = source
        self.warnings: list[str] = []
        self._known = known
        self._guild_id = guild_id
        self._stream = JsonStream(source)

    @property
    def position(self) -> int:
        """Bytes read so far."""
        return self._stream.position

    def header(self) -> ExportHeader:
        """Return whose messages the list holds, as its first message tells.

        Raises:
            BadExport: it does not tell, or the server is not known.
        """
        for key, value in self._stream.members(()):
            if key != ITEM or not isinstance(value, dict):
                break
            if "messages" in value and "channel" in value:
                raise self._bad("it is a list of exports; import them one by one")
            if "ID" in value and "Contents" in value:
                raise self._bad("it is one file of Discord's data package; name the package's folder or archive")
            first = self._checked(value, 1)
            known = self._known.get(first.channel_id)
            guild_id = known.guild_id if known is not None else self._guild_id
            if guild_id is None:
                raise self._bad(
                    "it is a list of messages without the server that they are from; name it with --guild, "
                    "or export with DiscordChatExporter -f Json"
                )
            channel = known or ChannelInfo(first.channel_id, guild_id, f"channel {first.channel_id}")
            return ExportHeader(guild_id, str(guild_id), channel)
        raise self._bad("it is a list of something else than messages")

    def messages(self, header: ExportHeader) -> Iterator[IncomingMessage | Skipped]:
        """Yield every message, checked.

        Raises:
            BadExport: the file is cut off or broken, a field is not what it must be, or it holds several channels.
        """
        for number, (_, value) in enumerate(self._stream.members(()), start=1):
            said = self._checked(value, number)
            if said.channel_id != header.channel.id:
                raise self._bad(f"message {number:,} is of another channel than the first")
            yield _record(said, header)

    def _checked(self, value: Any, number: int) -> _Message:
        try:
            return _Message.model_validate(value)
        except ValidationError as error:
            raise self._bad(f"{what_is_wrong(error)} in message {number:,}") from None

    def _bad(self, what: str) -> BadExport:
        return BadExport(f"{self.source.name} cannot be imported: {what}.")


def _record(said: _Message, header: ExportHeader) -> IncomingMessage | Skipped:
    if said.type not in SPOKEN and said.type <= NEWEST_KIND:
        return Skipped("system")
    member = said.member.nick if said.member is not None else ""
    files = [*said.attachments, *(file for snapshot in said.snapshots for file in snapshot.message.attachments)]
    refers_to = None if said.reference is None else said.reference.message_id
    forwards = said.reference is not None and said.reference.type == FORWARD
    message = IncomingMessage(
        id=said.id,
        guild_id=header.guild_id,
        channel_id=header.channel.id,
        author_id=said.author.id,
        author_name=member or said.author.global_name or said.author.username or "somebody",
        author_username=said.author.username,
        content=said.content,
        created_at=said.timestamp,
        author_is_bot=said.author.bot,
        edited_at=said.edited_timestamp,
        reply_to_id=refers_to if said.type == REPLY and not forwards else None,
        kind="reply" if said.type == REPLY else "default",
        attachments=tuple(
            Attachment(file.id, file.filename or "file", file.url, file.content_type, file.size)
            for file in files[:MAX_PARTS]
        ),
        embed_text=shown_text(_shown(said, whole=True)),
        webhook=said.webhook_id is not None,
        forwarded_from=refers_to if forwards else None,
    )
    return message if message.content.strip() or message.attachments or message.embed_text else Skipped("empty")
