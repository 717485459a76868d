"""``python bot.py import``: exports into the memory, by this process or by the one that runs already."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from cogs.imports.spool import ImportJob, hand_over
from cogs.memory.access.guild_view_files import save_guild_view_of
from cogs.memory.errors import FolderInUse
from cogs.memory.records import JsonObject
from cogs.memory.service import MemoryService
from cogs.shell.import_progress import import_with_bar, with_bar
from cogs.shell.startup import errors
from config.settings import Settings

NOT_ALL = 3
"""The exit code of an import that left files out."""


async def import_command(
    settings: Settings, files: Sequence[Path], *, strict: bool, guild_id: int | None, as_json: bool
) -> int:
    """Import, and say what was done and what was not; returns the exit code.

    Where a bot or a console runs on the same folder, it is asked to import the files, because only one process writes.

    Args:
        settings: where the memory lies.
        files: what to import.
        strict: whether one file that cannot be imported keeps all of them out.
        guild_id: the server of lists of messages that do not name theirs.
        as_json: whether the report is printed as JSON.
    """
    try:
        service = await MemoryService.open(settings)
    except FolderInUse:
        errors.print("Mneme runs already, so the running process imports this.", style="dim")
        job = ImportJob(paths=tuple(str(file.resolve()) for file in files), strict=strict, guild_id=guild_id)
        return _told(await with_bar(errors, lambda show: hand_over(settings.data_dir, job, show)), as_json)
    try:
        await service.start()
        report = await import_with_bar(service, files, errors, strict=strict, guild_id=guild_id)
        keep_permissions(files, settings.data_dir)
        return _told({"report": report.as_json(), "lines": report.lines()}, as_json)
    finally:
        await service.close()


def keep_permissions(files: Sequence[Path], data_dir: Path) -> None:
    """Keep the permission files that lie beside the imported files."""
    for folder in {file if file.is_dir() else file.parent for file in files}:
        save_guild_view_of(folder, data_dir)


def _told(answer: JsonObject, as_json: bool) -> int:
    report, lines = answer["report"], answer["lines"]
    if as_json:
        print(json.dumps(report))
    else:
        print("\n".join(lines))
    return NOT_ALL if report["not_imported"] else 0
