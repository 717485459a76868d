"""Import of DiscordChatExporter's JSON: everything is checked before the first message is written.

Imported messages belong to the server and channel that the export names; who may read them is decided, as for any
other message, by the server's permissions at the time of the question. A server or channel that is known already keeps
its record, and a message that is stored already is replaced only by a later edit.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from cogs.imports.chat_exporter import BadExport, ExportFile, ExportHeader, Skipped
from cogs.memory.errors import BadRequest
from cogs.memory.records import IncomingMessage, JsonObject
from cogs.memory.text.sanitize import one_line

if TYPE_CHECKING:
    from cogs.memory.service import MemoryService

__all__ = ["BadExport", "ImportReport", "import_files"]

BATCH = 500
ImportProgress = Callable[[str, float], Awaitable[None]]


@dataclass(slots=True)
class ImportReport:
    """What an import did. ``imported`` counts messages new or changed; ``left_out`` system and empty ones."""

    files: int = 0
    guilds: dict[int, str] = field(default_factory=dict)
    channels: set[int] = field(default_factory=set)
    messages: int = 0
    imported: int = 0
    left_out: int = 0
    seconds: float = 0.0

    @property
    def unchanged(self) -> int:
        """Messages that were stored already, or that are not remembered (deleted, opted out, channel excluded)."""
        return self.messages - self.imported

    def as_json(self) -> JsonObject:
        """Return the report for a program; ids as strings."""
        return {
            "files": self.files,
            "guilds": [str(guild) for guild in sorted(self.guilds)],
            "channels": [str(channel) for channel in sorted(self.channels)],
            "messages": self.messages,
            "imported": self.imported,
            "unchanged": self.unchanged,
            "left_out": self.left_out,
            "seconds": round(self.seconds, 3),
        }

    def sentence(self) -> str:
        """Return the report for a person."""
        where = " and ".join(one_line(name) for name in self.guilds.values()) or "no server"
        told = f"Imported {self.imported:,} of {self.messages:,} messages from {len(self.channels)} channels of {where}"
        rest = [
            f"{self.unchanged:,} were there already or are not remembered" if self.unchanged else "",
            f"{self.left_out:,} system or empty messages were left out" if self.left_out else "",
        ]
        return "; ".join([told, *(part for part in rest if part)]) + "."


async def import_files(
    service: MemoryService, paths: Sequence[Path], progress: ImportProgress | None = None
) -> ImportReport:
    """Import exports.

    Every file is read to its end and checked before anything is written, so a bad file imports nothing, not even of
    the good ones beside it. Importing the same twice changes nothing. The messages are committed when this returns;
    they are embedded in the background.

    Args:
        service: The memory.
        paths: JSON files of DiscordChatExporter.
        progress: Told what is done and the share of it, 0 to 1.

    Raises:
        BadExport: a file is cut off, broken or no export; the sentence names it and the position.
        StorageError: the database could not be written; what was committed before stays, and importing again goes on.
    """
    if not paths:
        raise BadRequest("Name at least one JSON file of DiscordChatExporter.")
    started = time.perf_counter()
    counts: list[int] = []
    for index, path in enumerate(paths):
        counts.append(await asyncio.to_thread(_checked, path))
        if progress is not None:
            await progress("Checking", (index + 1) / len(paths))
    report = ImportReport()
    total = max(1, sum(counts))
    for path in paths:
        async for done in _import_file(service, path, report):
            if progress is not None:
                await progress("Importing", min(1.0, done / total))
    report.seconds = time.perf_counter() - started
    return report


def _checked(path: Path) -> int:
    """Read a file to its end; return how many messages it holds."""
    file = ExportFile(path)
    return sum(1 for _ in file.messages(file.header()))


async def _import_file(service: MemoryService, path: Path, report: ImportReport) -> AsyncIterator[int]:
    file = await asyncio.to_thread(ExportFile, path)
    header = file.header()
    await _record(service, header)
    report.files += 1
    report.guilds[header.guild_id] = header.guild_name
    report.channels.add(header.channel.id)
    messages = file.messages(header)
    while batch := await asyncio.to_thread(_take, messages):
        said = [item for item in batch if isinstance(item, IncomingMessage)]
        report.messages += len(said)
        report.left_out += len(batch) - len(said)
        fresh = await _fresh(service, said)
        if fresh:
            report.imported += await service.remember(fresh, mark_seen=False)
        yield report.messages + report.left_out


def _take(messages: Iterator[IncomingMessage | Skipped]) -> list[IncomingMessage | Skipped]:
    return list(islice(messages, BATCH))


async def _record(service: MemoryService, header: ExportHeader) -> None:
    """Record the server and channel where they are new: what Discord told of them is newer than any export."""
    if header.guild_id not in await service.guild_ids():
        await service.upsert_guild(header.guild_id, header.guild_name)
    if header.channel.id not in {channel.id for channel in await service.channels(header.guild_id)}:
        await service.upsert_channels([header.channel])


async def _fresh(service: MemoryService, messages: Sequence[IncomingMessage]) -> list[IncomingMessage]:
    """Return the messages that are not stored, or that are stored before an edit that the export has.

    An export writes "@Ann" where Discord writes ``<@1>``, so an unedited message would otherwise look changed.
    """
    if not messages:
        return []
    ids = [message.id for message in messages]
    stored = await service.stored_versions(messages[0].channel_id, min(ids), max(ids))
    return [message for message in messages if message.id not in stored or _later(message, stored[message.id][1])]


def _later(message: IncomingMessage, stored: dt.datetime | None) -> bool:
    return message.edited_at is not None and (stored is None or message.edited_at > stored)
