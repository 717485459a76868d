"""The shell's way in. Heavy imports stand inside the commands, so that ``--help`` answers at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cogs.commands.options import read_options
from cogs.commands.recall import RecallCommand
from cogs.shell.backups import backup, judged, restore
from cogs.shell.memory_folder import remembering, sample_settings
from cogs.shell.page import mcp, page
from cogs.shell.parameters import option_parameters
from cogs.shell.startup import JsonFlag, errors, prepared, run_async
from config.settings import PROJECT_DIR, Settings

if TYPE_CHECKING:
    from cogs.shell.terminal import Terminal

SAMPLE = PROJECT_DIR / "data" / "sample"


def mount(app: typer.Typer) -> None:
    """Add every area's commands."""
    for command, name in (
        (run, "run"),
        (console, "console"),
        (import_exports, "import"),
        (recall, "recall"),
        (profiles, "profiles"),
        (doctor, "doctor"),
        (page, "page"),
        (mcp, "mcp"),
        (backup, "backup"),
        (restore, "restore"),
        (judged, "judged"),
    ):
        app.command(name)(command)


def run() -> int:
    """Run the Discord bot where DISCORD_TOKEN is set; else try the memory in this terminal with the sample server."""
    settings = prepared()
    if settings.discord_token is None:
        errors.print(
            "DISCORD_TOKEN is not set, so this is the console with the sample server. Type /help.", style="dim"
        )
        return _open_console(settings, SAMPLE)
    from cogs.app import lifecycle

    return lifecycle.run(settings)


def console(
    sample: Annotated[bool, typer.Option(help="Import the sample export first, if it is not there yet.")] = False,
) -> int:
    """Open the console in this terminal on what is remembered."""
    return _open_console(prepared(), SAMPLE if sample else None)


def _open_console(settings: Settings, sample: Path | None) -> int:
    from cogs.shell.terminal import Terminal

    terminal = Terminal()
    return terminal.run(lambda: _console(settings, sample, terminal))


async def _console(settings: Settings, sample: Path | None, terminal: Terminal) -> int:
    from cogs.chat.service import build_chat
    from cogs.imports.spool import watching
    from cogs.memory.access.guild_view_files import exports_in, load_guild_views, save_guild_view_of
    from cogs.memory.service import MemoryService
    from cogs.shell.clock import local_now
    from cogs.shell.console import run_console
    from cogs.shell.import_progress import import_with_bar

    if sample is None:
        settings = await remembering(settings)
    elif not settings.data_dir_was_set:
        settings = sample_settings(settings)
    service = await MemoryService.open(settings)
    try:
        await service.start()
        if sample is not None:
            await import_with_bar(service, exports_in(sample), errors)
            save_guild_view_of(sample, settings.data_dir)
        views = load_guild_views(settings.data_dir)
        async with watching(service, settings.data_dir):
            return await run_console(service, build_chat(settings, service, local_now), views, terminal)
    finally:
        await service.close()


def import_exports(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE…", help="DiscordChatExporter JSON or Discord's data package; folders, .zip of it."
        ),
    ],
    strict: Annotated[bool, typer.Option("--strict", help="Import nothing if one file cannot be imported.")] = False,
    guild: Annotated[int | None, typer.Option(help="The server's id, for lists of messages that lack it.")] = None,
    as_json: JsonFlag = False,
) -> int:
    """Import exports; importing twice changes nothing. Exit code 3: some files were not imported, and why."""
    settings = prepared()
    from cogs.shell.imports import import_command

    return run_async(import_command(settings, files, strict=strict, guild_id=guild, as_json=as_json))


@option_parameters(RecallCommand)
def recall(
    guild: Annotated[int | None, typer.Option(help="The server's id; needed where several are remembered.")] = None,
    as_user: Annotated[str | None, typer.Option(help="Search as this member, by name or id.")] = None,
    around: Annotated[int | None, typer.Option(min=1, max=50, help="Show the talk around hit N instead.")] = None,
    as_json: JsonFlag = False,
    **options: Any,
) -> int:
    """Search the memory. Without --as-user you search as the operator: every channel."""
    command = read_options(RecallCommand, options)
    from cogs.shell.recall import recall_command

    return run_async(recall_command(prepared(), command, guild, as_user, around, as_json))


def profiles(as_json: JsonFlag = False) -> int:
    """List the hardware profiles, what this machine can run, and why not the others."""
    settings = prepared()
    from cogs.memory.inference import profiles as rules

    table = rules.load_profiles(settings.profiles_file)
    machine = rules.Machine.detect()
    chosen = rules.choose_profile(table, machine, settings.profile)
    reports = rules.report(table, machine, chosen.name)
    if as_json:
        keys = ("name", "description", "active", "runnable", "reason", "reranker", "embedder")
        print(json.dumps([{key: getattr(report, key) for key in keys} for report in reports]))
        return 0
    for report in reports:
        mark = "*" if report.active else " "
        state = "" if report.runnable else f" — cannot run here: {report.reason}"
        print(f"{mark} {report.name:10} {report.description} Reranker: {report.reranker or 'none'}.{state}")
    return 0


def doctor(
    verify: Annotated[bool, typer.Option(help="Prove that rows, keywords and vectors agree.")] = False,
    repair: Annotated[bool, typer.Option(help="Make them agree again.")] = False,
    as_json: JsonFlag = False,
) -> int:
    """Say what works, what does not, and what to do."""
    settings = prepared()
    from cogs.shell.doctor import examine

    return run_async(examine(settings, verify=verify, repair=repair, as_json=as_json))
