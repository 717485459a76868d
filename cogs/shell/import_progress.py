"""An import with a progress bar in the terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from cogs.imports.importing import ImportProgress, ImportReport, import_files

if TYPE_CHECKING:
    from cogs.memory.service import MemoryService


async def import_with_bar(service: MemoryService, paths: Iterable[Path], console: Console) -> ImportReport:
    """Import exports with a progress bar on ``console`` and wait until everything is embedded and can be found.

    Raises:
        BadExport, StorageError: as :func:`import_files`.
    """
    columns = (TextColumn("{task.description:<10}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        tasks = {step: bar.add_task(step, total=1.0, visible=False) for step in ("Checking", "Importing", "Embedding")}

        async def show(step: str, share: float) -> None:
            bar.update(tasks[step], completed=share, visible=True)

        report = await import_files(service, list(paths), show)
        await _drain(service, show)
    return report


async def _drain(service: MemoryService, progress: ImportProgress) -> None:
    """Wait until the queue is empty, telling how far it is."""
    waiting = asyncio.create_task(service.drain())
    first = 0
    try:
        while not waiting.done():
            queue = (await service.status()).queue
            first = max(first, queue)
            if first:
                await progress("Embedding", 1 - queue / first)
            await asyncio.wait({waiting}, timeout=0.3)
        await waiting
    finally:
        waiting.cancel()
