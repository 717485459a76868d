"""The package that Discord gives a person of their own data: their own messages, a folder for each channel.

``messages/c123/messages.json`` (or ``.csv`` in older packages) beside ``channel.json``, and ``account/user.json``; see
https://support.discord.com/hc/en-us/articles/360004957991. Newer packages write the folders' names with a capital.
Only times to the second and without edits are told, so the time of a message is taken from its id.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pydantic import Field, ValidationError

from cogs.imports.channel_kinds import is_direct, is_private_thread, kind_of_channel
from cogs.imports.embeds import MAX_PARTS
from cogs.imports.errors import BadExport
from cogs.imports.export import ExportHeader, Skipped
from cogs.imports.fields import MaybeSnowflake, Name, Part, Snowflake, Text, moment_of, what_is_wrong
from cogs.imports.json_stream import ITEM, JsonStream
from cogs.imports.sources import Source
from cogs.memory.records import Attachment, ChannelInfo, IncomingMessage

if TYPE_CHECKING:
    from typing_extensions import Buffer

SMALL_FILE: Final = 4 << 20
"""Bytes that the files beside the messages may have."""

_FOLDER: Final = re.compile(r"c?\d{15,20}")
_FILES: Final = frozenset({"messages.json", "messages.csv"})
_ATTACHMENT: Final = re.compile(r"/attachments/\d+/(\d{15,20})/([^/?\s]+)")


class _Guild(Part):
    id: Snowflake
    name: Name = ""


class _Channel(Part):
    id: Snowflake
    type: int | str = 0
    name: Name = ""
    guild: _Guild | None = None
    parent_id: MaybeSnowflake = None


class _User(Part):
    id: Snowflake
    username: Name = ""
    global_name: Name = ""


class _Row(Part):
    id: Snowflake = Field(alias="ID")
    content: Text = Field("", alias="Contents")
    attachments: Text = Field("", alias="Attachments")


@dataclass(frozen=True, slots=True)
class PackageFile:
    """The messages of one channel of a package, with the files that tell whose they are."""

    source: Source
    channel: Source
    user: Source | None


def split_packages(files: Sequence[Source]) -> tuple[list[PackageFile], list[Source]]:
    """Return the messages of Discord's data packages among files, and the files that belong to none."""
    at = {file.path: file for file in files}
    channels: list[PackageFile] = []
    roots: set[PurePosixPath] = set()
    for file in files:
        beside = at.get(file.path.with_name("channel.json"))
        if file.path.name in _FILES and beside is not None and _FOLDER.fullmatch(file.path.parent.name):
            root = file.path.parent.parent.parent
            roots.add(root)
            channels.append(PackageFile(file, beside, _user_file(files, root)))
    rest = [file for file in files if not any(file.path.is_relative_to(root) for root in roots)]
    return channels, rest


def _user_file(files: Sequence[Source], root: PurePosixPath) -> Source | None:
    found = (f for f in files if f.path.name == "user.json" and f.path.parent.parent == root)
    return next(found, None)


class PackageExport:
    """The messages that one person wrote in one channel."""

    def __init__(self, package: PackageFile) -> None:
        self.source = package.source
        self.warnings: list[str] = []
        self._package = package
        self._json = JsonStream(package.source)
        self._position = 0
        self._user: _User | None = None

    @property
    def position(self) -> int:
        """Bytes read so far."""
        return self._json.position or self._position

    def header(self) -> ExportHeader:
        """Return whose messages the file holds.

        Raises:
            BadExport: they are direct messages, or the package does not tell the server or the person.
        """
        try:
            channel = _Channel.model_validate(_small(self._package.channel))
        except ValidationError as error:
            raise self._bad(f"{what_is_wrong(error)} in its channel.json") from None
        if channel.guild is None:
            if is_direct(channel.type):
                raise BadExport(f"{self.source.name} holds direct messages, which are not remembered.")
            raise self._bad("its channel.json does not say which server it is of")
        self._author()
        kind = kind_of_channel(channel.type)
        if kind == "thread" and channel.parent_id is None:
            raise self._bad("its channel.json names no parent of the thread")
        info = ChannelInfo(
            id=channel.id,
            guild_id=channel.guild.id,
            name=channel.name or "channel",
            kind=kind,
            parent_id=channel.parent_id,
            private=is_private_thread(channel.type),
        )
        return ExportHeader(channel.guild.id, channel.guild.name or str(channel.guild.id), info)

    def _author(self) -> _User:
        if self._user is None:
            if self._package.user is None:
                raise self._bad(
                    "the package's account/user.json is not there, which says who wrote it; name the package"
                )
            try:
                self._user = _User.model_validate(_small(self._package.user))
            except ValidationError as error:
                raise self._bad(f"{what_is_wrong(error)} in the package's user.json") from None
        return self._user

    def messages(self, header: ExportHeader) -> Iterator[IncomingMessage | Skipped]:
        """Yield every message, checked.

        Raises:
            BadExport: the file is cut off, broken, or a field is not what it must be.
        """
        author = self._author()
        for number, value in enumerate(self._rows(), start=1):
            try:
                row = _Row.model_validate(value)
            except ValidationError as error:
                raise self._bad(f"{what_is_wrong(error)} in message {number:,}") from None
            files = tuple(_attachment(url) for url in row.attachments.split()[:MAX_PARTS])
            if not row.content.strip() and not files:
                yield Skipped("empty")
                continue
            yield IncomingMessage(
                id=row.id,
                guild_id=header.guild_id,
                channel_id=header.channel.id,
                author_id=author.id,
                author_name=author.global_name or author.username or "somebody",
                author_username=author.username,
                content=row.content,
                created_at=moment_of(row.id),
                attachments=files,
            )

    def _rows(self) -> Iterator[Any]:
        if self.source.path.suffix.lower() == ".csv":
            yield from self._table()
            return
        for key, value in self._json.members(()):
            if key != ITEM:
                break
            yield value

    def _table(self) -> Iterator[Mapping[str, str]]:
        try:
            with (
                self.source.open() as stream,
                io.TextIOWrapper(io.BufferedReader(_Counted(stream, self)), encoding="utf-8-sig") as text,
            ):
                yield from csv.DictReader(text, strict=True)
        except UnicodeDecodeError:
            raise self._bad("it is no UTF-8 text") from None
        except csv.Error:
            raise self._bad("it is broken, or cut off") from None
        except OSError as error:
            raise self._bad(f"it cannot be read ({error.strerror or type(error).__name__})") from None

    def count(self, size: int) -> None:
        """Note that so many bytes were read."""
        self._position += size

    def _bad(self, what: str) -> BadExport:
        return BadExport(f"{self.source.name} cannot be imported: {what}.")


class _Counted(io.RawIOBase):
    """A stream that tells how much of it was read."""

    def __init__(self, stream: io.BufferedReader, export: PackageExport) -> None:
        super().__init__()
        self._stream = stream
        self._export = export

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill a buffer."""
        size = self._stream.readinto(buffer)
        self._export.count(size)
        return size


def _small(source: Source) -> Any:
    """Return a small JSON file.

    Raises:
        BadExport: it cannot be read, or is none.
    """
    try:
        with source.open() as stream:
            return json.loads(stream.read(SMALL_FILE))
    except (OSError, ValueError, RecursionError):
        raise BadExport(f"{source.name} cannot be read as JSON.") from None


def _attachment(url: str) -> Attachment:
    found = _ATTACHMENT.search(urlsplit(url).path if url.isascii() else "")
    number, name = (int(found[1]), found[2]) if found else (0, url.rsplit("/", 1)[-1] or "file")
    return Attachment(number, name[:200], url)
