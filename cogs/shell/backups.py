"""``python bot.py backup``, ``restore`` and ``judged``: the memory as files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn

from cogs.memory.errors import BadRequest
from cogs.shell.memory_folder import remembering
from cogs.shell.startup import errors, prepared, run_async
from config.settings import Settings


def backup(
    file: Annotated[Path, typer.Argument(help="The file to write; it must not exist yet.")],
) -> int:
    """Write a verified backup, while the bot runs or not. It holds what was said: keep it like the memory itself."""
    from cogs.memory.storage.backup import back_up

    settings = asyncio.run(remembering(_on_sqlite(prepared())))
    with Progress(TextColumn("Copying"), BarColumn(), console=errors, transient=True) as bar:
        task = bar.add_task("copy", total=1.0)
        report = back_up(settings.data_dir, file, lambda share: bar.update(task, completed=share))
    print(f"{report.messages:,} messages are in {file} ({report.bytes / 2**20:.1f} MB), and the copy is sound.")
    print("Whoever is forgotten from now on stays in this file until you delete it; `restore` forgets them again.")
    return 0


def restore(file: Annotated[Path, typer.Argument(help="A file that `backup` wrote.")]) -> int:
    """Put a backup in the place of the memory, and forget again whoever was forgotten since."""
    from cogs.memory.storage.backup import restore as put_back
    from cogs.memory.storage.folder_lock import FolderLock

    settings = _on_sqlite(prepared())
    lock = FolderLock(settings.data_dir)
    lock.acquire()
    try:
        secret = None if settings.secret is None else settings.secret.get_secret_value()
        report = put_back(file, settings.data_dir, secret)
    finally:
        lock.release()
    print(f"{report.messages:,} messages are restored from {file}.")
    if report.forgotten:
        print(f"{report.forgotten:,} that were deleted or forgotten since are gone again.")
    print(
        "Messages that were deleted on Discord while no bot was watching are not known: `/memory forget` erases them."
    )
    return 0


def judged(
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    guild: Annotated[int | None, typer.Option(help="The server, by its id, where several are remembered.")] = None,
) -> int:
    """Write what was judged on the page as an evaluation set in BEIR's layout, for `evaluate`."""
    return run_async(_judged(prepared(), out, guild))


def _on_sqlite(settings: Settings) -> Settings:
    """Return the settings, if the memory is a file.

    Raises:
        BadRequest: it is on a server, which has backups of its own.
    """
    if settings.database_url is not None and not settings.sqlalchemy_url.startswith("sqlite"):
        raise BadRequest(
            "This memory is on PostgreSQL: pg_dump --format=custom makes its backup and pg_restore puts it back."
        )
    return settings


async def _judged(settings: Settings, out: Path, guild: int | None) -> int:
    from cogs.commands.lookups import one_guild
    from cogs.memory.service import MemoryService
    from cogs.shell.judged_set import write_judged_set

    settings = await remembering(settings)
    service = await MemoryService.open(settings, exclusive=False)
    try:
        guild_id = one_guild(guild, await service.guild_ids())
        questions = await asyncio.to_thread(write_judged_set, service.repository, guild_id, out)
    finally:
        await service.close()
    print(f"{questions:,} questions are in {out}; `python bot.py evaluate {out} --stages` measures a profile by them.")
    return 0
