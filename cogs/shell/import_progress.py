"""An import with a progress bar in the terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from cogs.imports.importing import ImportProgress, ImportReport, import_files

if TYPE_CHECKING:
    from cogs.memory.service import MemoryService

EMBEDDING = "Embedding"
_T = TypeVar("_T")


async def import_with_bar(
    service: MemoryService,
    paths: Iterable[Path],
    console: Console,
    *,
    strict: bool = False,
    guild_id: int | None = None,
) -> ImportReport:
    """Import exports with a progress bar on ``console`` and wait until everything is embedded and can be found.

    Args:
        service: The memory.
        paths: Files, folders or archives.
        console: Where the bar is drawn.
        strict: One file that cannot be imported keeps all of them out.
        guild_id: The server of lists of messages that do not name theirs.

    Raises:
        BadRequest, BadExport, StorageError: as :func:`import_files`.
    """

    async def work(show: ImportProgress) -> ImportReport:
        report = await import_files(service, list(paths), show, strict=strict, guild_id=guild_id)
        await _drain(service, show)
        return report

    return await with_bar(console, work)


async def with_bar(console: Console, work: Callable[[ImportProgress], Awaitable[_T]]) -> _T:
    """Do something that tells how far it is, with a bar on ``console`` for each of its steps."""
    columns = (TextColumn("{task.description:<10}"), BarColumn(), TextColumn("{task.fields[done]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        tasks = {}

        async def show(step: str, done: int, total: int) -> None:
            told = f"{done:,} of {total:,}" if step == EMBEDDING else f"{decimal(done)} of {decimal(total)}"
            if step not in tasks:
                tasks[step] = bar.add_task(step, total=max(1, total), done=told)
            bar.update(tasks[step], completed=done, total=max(1, total), done=told)

        return await work(show)


async def _drain(service: MemoryService, progress: ImportProgress) -> None:
    """Wait until the queue is empty, telling how far it is."""
    waiting = asyncio.create_task(service.drain())
    first = 0
    try:
        while not waiting.done():
            queue = (await service.status()).queue
            first = max(first, queue)
            if first:
                await progress(EMBEDDING, first - queue, first)
            await asyncio.wait({waiting}, timeout=0.3)
        await waiting
    finally:
        waiting.cancel()
