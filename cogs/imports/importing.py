"""Import of exports: every file is checked to its end before the first message is written.

Imported messages belong to the server and channel that the export names; who may read them is decided, as for any
other message, by the server's permissions at the time of the question. A server or channel that is known already keeps
its record, and a message that is stored already is replaced only by a later edit.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cogs.imports.data_package import PackageExport, split_packages
from cogs.imports.errors import BadExport
from cogs.imports.export import Export, ExportHeader, Skipped
from cogs.imports.reading import open_export
from cogs.imports.report import ImportReport
from cogs.imports.sources import Source, Sources
from cogs.memory.errors import BadRequest
from cogs.memory.records import ChannelInfo, IncomingMessage

if TYPE_CHECKING:
    from cogs.memory.service import MemoryService

__all__ = ["BadExport", "ImportProgress", "ImportReport", "import_files"]

BATCH = 500
ImportProgress = Callable[[str, int, int], Awaitable[None]]
"""Told the step, and how many bytes (messages, of the step "Embedding") are done of how many."""


@dataclass(slots=True)
class _Checked:
    """A file that can be imported. ``begins`` is true of a thread whose first message is the one it began from."""

    export: Export
    header: ExportHeader
    begins: bool


@dataclass(slots=True)
class _Steps:
    """How far an import is, in bytes."""

    told: ImportProgress | None
    total: int = 0
    done: int = 0

    async def at(self, step: str, position: int) -> None:
        if self.told is not None:
            await self.told(step, min(self.done + position, self.total), self.total)


@dataclass(slots=True)
class _Run:
    """One import: the channels that its files and the memory tell of, by id."""

    service: MemoryService
    report: ImportReport
    channels: dict[int, ChannelInfo] = field(default_factory=dict)


async def import_files(
    service: MemoryService,
    paths: Sequence[Path],
    progress: ImportProgress | None = None,
    *,
    strict: bool = False,
    guild_id: int | None = None,
) -> ImportReport:
    """Import exports.

    Every file is read to its end and checked before anything is written. What is wrong with a file keeps that file out
    and no other; the report says why. Importing the same twice changes nothing. The messages are committed when this
    returns; they are embedded in the background.

    Args:
        service: The memory.
        paths: Files, folders or archives; see :mod:`cogs.imports.sources`.
        progress: Told how far it is.
        strict: One file that cannot be imported keeps all of them out.
        guild_id: The server of lists of messages that do not name theirs.

    Raises:
        BadRequest: a file is not there, or none was named.
        BadExport: with ``strict``, a file cannot be imported; the sentence names it and the position.
        StorageError: the database could not be written; what was committed before stays, and importing again goes on.
    """
    if not paths:
        raise BadRequest("Name at least one file, folder or archive of exports.")
    started = time.perf_counter()
    run = _Run(service, ImportReport())
    for guild in await service.guild_ids():
        run.channels.update((channel.id, channel) for channel in await service.channels(guild))
    with closing(Sources()) as sources:
        await asyncio.to_thread(sources.look, paths)
        checked = await _check(run, sources, progress, guild_id)
        if strict and run.report.not_imported:
            first = run.report.not_imported[0]
            raise BadExport(f"{first.name} {first.why} Nothing was imported.")
        steps = _Steps(progress, sum(each.export.source.size for each in checked))
        for each in checked:
            try:
                async for position in _import_file(run, each):
                    await steps.at("Importing", position)
            except BadExport as error:  # it was changed since it was checked
                run.report.refuse(each.export.source.name, f"{error} A part of it was imported.")
            steps.done += each.export.source.size
    run.report.seconds = time.perf_counter() - started
    return run.report


async def _check(run: _Run, sources: Sources, progress: ImportProgress | None, guild_id: int | None) -> list[_Checked]:
    """Read every file to its end; return those that can be imported."""
    known = dict(run.channels)
    found: list[Source | PackageExport] = []
    for tree in sources.trees:
        run.report.not_imported += tree.refused
        packages, rest = split_packages(tree.files)
        found += [*map(PackageExport, packages), *rest]
    steps = _Steps(progress, sum(_source(each).size for each in found))
    checked: list[_Checked] = []
    for each in found:
        source = _source(each)
        try:
            export = each if isinstance(each, PackageExport) else await _opened(each, known, guild_id)
            if export is not None:
                ready = await _check_file(export, steps, known)
                channel = ready.header.channel
                run.channels[channel.id] = _newer(run.channels.get(channel.id), channel)
                run.report.warnings += export.warnings
                checked.append(ready)
        except BadExport as error:
            run.report.refuse(source.name, str(error))
        steps.done += source.size
    return checked


def _source(each: Source | PackageExport) -> Source:
    return each.source if isinstance(each, PackageExport) else each


async def _opened(source: Source, known: dict[int, ChannelInfo], guild_id: int | None) -> Export | None:
    return await asyncio.to_thread(open_export, source, known, guild_id)


async def _check_file(export: Export, steps: _Steps, known: Mapping[int, ChannelInfo]) -> _Checked:
    header = await asyncio.to_thread(export.header)
    channel = known.get(header.channel.id)
    if channel is not None and channel.guild_id != header.guild_id:
        raise BadExport(f"{export.source.name} cannot be imported: its channel belongs to another server here.")
    messages = export.messages(header)
    begins = False
    while batch := await asyncio.to_thread(_take, messages):
        begins = begins or any(
            isinstance(message, IncomingMessage) and message.id == header.channel.id for message in batch
        )
        await steps.at("Checking", export.position)
    return _Checked(export, header, begins)


def _take(messages: Iterator[IncomingMessage | Skipped]) -> list[IncomingMessage | Skipped]:
    return list(islice(messages, BATCH))


async def _import_file(run: _Run, checked: _Checked) -> AsyncIterator[int]:
    export, header, report = checked.export, checked.header, run.report
    await _record(run, checked)
    report.files += 1
    if header.channel.guild_id not in report.guilds or header.guild_name != str(header.guild_id):
        report.guilds[header.guild_id] = header.guild_name
    report.channels.add(header.channel.id)
    messages = export.messages(header)
    while batch := await asyncio.to_thread(_take, messages):
        said = [_in_its_channel(run, header, item) for item in batch if isinstance(item, IncomingMessage)]
        report.messages += len(said)
        report.left_out += len(batch) - len(said)
        fresh = await _fresh(run.service, said)
        if fresh:
            report.imported += await run.service.remember(fresh, mark_seen=False)
        yield export.position


def _newer(known: ChannelInfo | None, told: ChannelInfo) -> ChannelInfo:
    """Return what to think of a channel: what Discord told is newer than any export, but a forum was only guessed.

    No forum has an export of its own, because it holds no messages but those of its posts.
    """
    return told if known is None or (known.kind == "forum" and told.kind != "forum") else known


async def _record(run: _Run, checked: _Checked) -> None:
    """Record the server, the channel and a thread's parent, where they are new."""
    service, header = run.service, checked.header
    if header.guild_id not in await service.guild_ids():
        await service.upsert_guild(header.guild_id, header.guild_name)
    stored = {channel.id: channel for channel in await service.channels(header.guild_id)}
    wanted = [header.channel]
    parent_id = header.channel.parent_id
    if header.channel.kind == "thread" and header.parent_name and parent_id is not None:
        # Posts are exported without their forum, which then has no other record; with it, its name finds them.
        kind: Literal["forum", "text"] = "forum" if checked.begins else "text"
        guessed = ChannelInfo(parent_id, header.guild_id, header.parent_name, kind=kind)
        parent = run.channels.setdefault(parent_id, guessed)
        wanted += [parent] if parent.guild_id == header.guild_id else []
    # What a file says of a channel is not confirmed: Discord's word counts for more, now and later.
    changed = [
        replace(channel, confirmed=False)
        for channel in wanted
        if _newer(stored.get(channel.id), channel) != stored.get(channel.id)
    ]
    await service.upsert_channels(changed)


def _in_its_channel(run: _Run, header: ExportHeader, message: IncomingMessage) -> IncomingMessage:
    """Return a message with the channel that it stands in: a thread repeats the one of its parent that began it.

    In a forum the first message of a post stands in the post, and in no other channel.
    """
    parent = run.channels.get(header.channel.parent_id or 0)
    begins = header.channel.kind == "thread" and message.id == header.channel.id
    if not begins or parent is None or parent.kind == "forum" or parent.guild_id != header.guild_id:
        return message
    return replace(message, channel_id=parent.id)


async def _fresh(service: MemoryService, messages: Sequence[IncomingMessage]) -> list[IncomingMessage]:
    """Return the messages that are not stored, or that are stored before an edit that the export has.

    An export writes "@Ann" where Discord writes ``<@1>``, so an unedited message would otherwise look changed.
    """
    stored: dict[tuple[int, int], dt.datetime | None] = {}
    for channel_id in {message.channel_id for message in messages}:
        ids = [message.id for message in messages if message.channel_id == channel_id]
        found = await service.stored_versions(channel_id, min(ids), max(ids))
        stored |= {(channel_id, message_id): edited for message_id, (_, edited) in found.items()}

    def is_fresh(message: IncomingMessage) -> bool:
        key = (message.channel_id, message.id)
        return key not in stored or _later(message, stored[key])

    return [message for message in messages if is_fresh(message)]


def _later(message: IncomingMessage, stored: dt.datetime | None) -> bool:
    return message.edited_at is not None and (stored is None or message.edited_at > stored)
