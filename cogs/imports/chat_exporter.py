"""The JSON of DiscordChatExporter, read message by message and checked field by field. Pure but for reading the file.

The fields are those of its ``JsonMessageWriter``
(https://github.com/Tyrrrz/DiscordChatExporter, ``DiscordChatExporter.Core/Exporting/JsonMessageWriter.cs``).

What is kept: what people and bots said (types ``Default`` and ``Reply``, and the answers to slash and menu commands,
which have no name in the exporter and come as ``20`` and ``23``). System messages ("Pinned a message.", "Joined the
server.") are left out: the exporter made up their words, and in Discord they have none. Messages without words,
attachments and embeds (a lone sticker) are left out as they are when they arrive from Discord.
"""

from __future__ import annotations

import datetime as dt
import json
import mimetypes
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cogs.memory.errors import BadRequest
from cogs.memory.records import Attachment, ChannelInfo, IncomingMessage
from cogs.memory.text.bounds import cleaned, is_within_time
from cogs.memory.text.sanitize import one_line

SPOKEN = frozenset({"Default", "Reply", "20", "23"})
_KINDS: Mapping[str, Literal["text", "voice", "forum", "thread"]] = {
    "GuildTextChat": "text",
    "GuildNews": "text",
    "GuildVoiceChat": "voice",
    "GuildStageVoice": "voice",
    "GuildForum": "forum",
    "GuildMedia": "forum",
    "GuildNewsThread": "thread",
    "GuildPublicThread": "thread",
    "GuildPrivateThread": "thread",
}
_SPACE = re.compile(r"[ \t\n\r]*")
_MAX_ID = 2**63 - 1
LONGEST_TEXT = 20_000
"""Characters of one field that are read; the memory keeps fewer."""


class BadExport(BadRequest):
    """A file is no export that can be imported; the sentence names the file and the position."""


@dataclass(frozen=True, slots=True)
class ExportHeader:
    """Whose messages the file holds."""

    guild_id: int
    guild_name: str
    channel: ChannelInfo


@dataclass(frozen=True, slots=True)
class Skipped:
    """A message that is left out, and why."""

    reason: Literal["system", "empty"]


class ExportFile:
    """One export. The text is in memory, but only one message at a time is taken apart.

    Raises:
        BadExport: the file cannot be read or is no UTF-8.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = one_line(path.name, 60)
        try:
            raw = path.read_bytes()
            self._text = raw.decode("utf-8-sig")
        except OSError as error:
            raise BadExport(f"{self.name} cannot be read: {error.strerror or type(error).__name__}.") from error
        except UnicodeDecodeError as error:
            raise BadExport(f"{self.name} is no UTF-8 text: it breaks at byte {error.start:,}.") from error
        self.size = len(raw)
        self._decoder = json.JSONDecoder()

    def header(self) -> ExportHeader:
        """Return whose messages the file holds.

        Raises:
            BadExport: the file has no such beginning.
        """
        found: dict[str, tuple[Any, int]] = {}
        for key, value, place in self._members(stop_at_messages=True):
            found[key] = (value, place)
            if "guild" in found and "channel" in found:
                break
        for key in ("guild", "channel"):
            if key not in found:
                raise self._bad(0, f"it has no “{key}”, so it is no export of DiscordChatExporter")
        guild, channel = (self._object(*found[key]) for key in ("guild", "channel"))
        kind = str(channel.get("type", ""))
        if kind.startswith("Direct") or guild.get("id") in ("0", 0):
            raise BadExport(f"{self.name} holds direct messages, which are not remembered.")
        if kind not in _KINDS:
            raise self._bad(found["channel"][1], f"its channel is of the unknown type “{one_line(kind, 40)}”")
        place = found["channel"][1]
        guild_id = self._id(guild.get("id"), "guild id", found["guild"][1])
        parent = channel.get("categoryId")
        info = ChannelInfo(
            id=self._id(channel.get("id"), "channel id", place),
            guild_id=guild_id,
            name=self._string(channel.get("name"), "channel name", place) or "channel",
            kind=_KINDS[kind],
            parent_id=None if parent in (None, "") else self._id(parent, "categoryId", place),
            private=kind == "GuildPrivateThread",
        )
        if info.kind == "thread" and info.parent_id is None:
            raise self._bad(place, "its thread has no parent channel")
        return ExportHeader(guild_id, self._string(guild.get("name"), "guild name", 0) or str(guild_id), info)

    def messages(self, header: ExportHeader) -> Iterator[IncomingMessage | Skipped]:
        """Yield every message, checked; reading to the end checks the whole file.

        Raises:
            BadExport: the file is cut off, broken, or a field is not what it must be.
        """
        count, stated, seen = 0, None, False
        for key, value, place in self._members():
            if key == "messages":
                seen = True
                count += 1
                yield self._message(value, place, header)
            elif key == "messages[]":
                seen = True
            elif key == "messageCount":
                stated = value
        if not seen:
            raise self._bad(len(self._text), "it has no “messages”")
        if stated is not None and stated != count:
            raise BadExport(
                f"{self.name} says that it holds {stated} messages, but it holds {count:,}: it was cut or changed."
            )

    # -- JSON ------------------------------------------------------------------------------------------------

    def _members(self, stop_at_messages: bool = False) -> Iterator[tuple[str, Any, int]]:
        """Yield (key, value, position) of the top level; each element of "messages" comes by itself.

        An empty or begun list is announced as "messages[]".
        """
        place = self._expect("{", 0)
        if self._next(place)[0] == "}":
            return self._end(self._expect("}", place))
        while True:
            key, start = self._value(place)
            if not isinstance(key, str):
                raise self._bad(place, "a name must stand here")
            place = self._expect(":", start)
            if key == "messages" and self._next(place)[0] == "[":
                if stop_at_messages:
                    return
                yield "messages[]", None, place
                place = self._expect("[", place)
                closed = self._next(place)[0] == "]"
                while not closed:
                    begin = self._next(place)[1]
                    value, place = self._value(place)
                    yield key, value, begin
                    closed = self._next(place)[0] != ","
                    place = place if closed else self._expect(",", place)
                place = self._expect("]", place)
            else:
                begin = self._next(place)[1]
                value, place = self._value(place)
                yield key, value, begin
            if self._next(place)[0] != ",":
                break
            place = self._expect(",", place)
        self._end(self._expect("}", place))

    def _end(self, place: int) -> None:
        character, place = self._next(place)
        if character:
            raise self._bad(place, "there is something behind its end")

    def _next(self, place: int) -> tuple[str, int]:
        """Return the next character that is no white space, empty at the end, and where it stands."""
        match = _SPACE.match(self._text, place)
        place = place if match is None else match.end()
        return self._text[place : place + 1], place

    def _expect(self, character: str, place: int) -> int:
        found, place = self._next(place)
        if not found:
            raise self._bad(place, "it ends in the middle")
        if found != character:
            what = "it is no JSON" if place == 0 else f"“{character}” is expected"
            raise self._bad(place, what)
        return place + 1

    def _value(self, place: int) -> tuple[Any, int]:
        _, place = self._next(place)
        try:
            return self._decoder.raw_decode(self._text, place)
        except json.JSONDecodeError as error:
            # A string without its end is reported at its start; what is cut off ends where the file does.
            cut = error.pos >= len(self._text.rstrip()) or error.msg.startswith("Unterminated string")
            where = len(self._text) if cut else error.pos
            raise self._bad(where, "it ends in the middle" if cut else "it is broken there") from None
        except (RecursionError, ValueError):
            raise self._bad(place, "it holds a value that no export holds") from None

    def _bad(self, place: int, what: str) -> BadExport:
        line = self._text.count("\n", 0, place) + 1
        column = place - self._text.rfind("\n", 0, place)
        return BadExport(
            f"{self.name} cannot be imported: {what} (line {line:,}, column {column:,}); nothing of it was imported."
        )

    # -- fields ----------------------------------------------------------------------------------------------

    def _message(self, value: Any, place: int, header: ExportHeader) -> IncomingMessage | Skipped:
        data = self._object(value, place)
        author = self._object(data.get("author"), place, "author")
        reference = data.get("reference") or {}
        kind = self._string(data.get("type", "Default"), "type", place)
        forwarded = data.get("forwardedMessage") or {}
        attachments = [*self._list(data, "attachments", place), *self._list(forwarded, "attachments", place)]
        name = self._string(author.get("nickname"), "nickname", place)
        message = IncomingMessage(
            id=self._id(data.get("id"), "message id", place),
            guild_id=header.guild_id,
            channel_id=header.channel.id,
            author_id=self._id(author.get("id"), "author id", place),
            author_name=name or self._string(author.get("name"), "name", place) or "somebody",
            content=self._string(data.get("content"), "content", place),
            created_at=self._time(data.get("timestamp"), "timestamp", place),
            author_is_bot=author.get("isBot") is True,
            edited_at=self._optional_time(data.get("timestampEdited"), "timestampEdited", place),
            reply_to_id=self._answered(kind, reference, place),
            kind="reply" if kind == "Reply" else "default" if kind in SPOKEN else "system",
            attachments=tuple(self._attachment(item, place) for item in attachments),
            embed_text=self._embed_text(data, forwarded, place),
        )
        if message.kind == "system":
            return Skipped("system")
        said = message.content.strip() or message.attachments or message.embed_text
        return message if said else Skipped("empty")

    def _answered(self, kind: str, reference: Any, place: int) -> int | None:
        if kind != "Reply" or self._object(reference, place, "reference").get("type") == "Forward":
            return None
        answered = reference.get("messageId")
        return None if answered is None else self._id(answered, "messageId", place)

    def _attachment(self, value: Any, place: int) -> Attachment:
        data = self._object(value, place, "attachment")
        filename = self._string(data.get("fileName"), "fileName", place) or "file"
        size = data.get("fileSizeBytes", 0)
        return Attachment(
            id=self._id(data.get("id"), "attachment id", place),
            filename=filename,
            url=self._string(data.get("url"), "url", place),
            content_type=mimetypes.guess_type(filename)[0],
            size=size if isinstance(size, int) and 0 <= size <= _MAX_ID else 0,
        )

    def _embed_text(self, data: Mapping[str, Any], forwarded: Any, place: int) -> str:
        """Return what a message shows beside its own words, in the order in which a live one's is taken."""
        parts: list[str] = []
        forwarded = self._object(forwarded, place, "forwardedMessage")
        embeds = [*self._list(data, "embeds", place), *self._list(forwarded, "embeds", place)]
        for embed in (self._object(item, place, "embed") for item in embeds):
            writer, footer = embed.get("author") or {}, embed.get("footer") or {}
            parts.append(self._string(self._object(writer, place).get("name"), "embed author", place))
            parts += [self._string(embed.get(key), key, place) for key in ("title", "description")]
            for item in self._list(embed, "fields", place):
                field = self._object(item, place, "field")
                label, text = (self._string(field.get(key), key, place) for key in ("name", "value"))
                parts.append(f"{label}: {text}" if label or text else "")
            parts.append(self._string(self._object(footer, place).get("text"), "footer", place))
        parts.append(self._string(forwarded.get("content"), "content", place))
        return "\n".join(part for part in parts if part)

    def _object(self, value: Any, place: int, what: str = "message") -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self._bad(place, f"the {what} there is no object")
        return value

    def _list(self, data: Mapping[str, Any], key: str, place: int) -> list[Any]:
        value = data.get(key)
        if value is not None and not isinstance(value, list):
            raise self._bad(place, f"“{key}” of the message there is no list")
        return value or []

    def _string(self, value: Any, what: str, place: int) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._bad(place, f"the {what} of the message there is no text")
        return cleaned(value, LONGEST_TEXT)

    def _id(self, value: Any, what: str, place: int) -> int:
        text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
        if not (text.isascii() and text.isdecimal() and 0 < int(text[:20]) <= _MAX_ID and len(text) <= 19):
            raise self._bad(place, f"the {what} there is no Discord id")
        return int(text)

    def _optional_time(self, value: Any, what: str, place: int) -> dt.datetime | None:
        return None if value is None else self._time(value, what, place)

    def _time(self, value: Any, what: str, place: int) -> dt.datetime:
        try:
            moment = dt.datetime.fromisoformat(value)
            if moment.tzinfo is None:
                raise ValueError("a time without its offset could mean any of 24 hours")
            moment = moment.astimezone(dt.UTC)
        except (TypeError, ValueError, OverflowError):
            raise self._bad(place, f"the {what} of the message there is no time with its offset") from None
        if not is_within_time(moment):
            raise self._bad(place, f"the {what} of the message there is a time that no message of Discord has")
        return moment
