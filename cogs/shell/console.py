"""The terminal's way in: Discord's commands and plain chat, as a chosen member, so that permissions can be tried."""

from __future__ import annotations

from collections.abc import Mapping

from cogs.chat.service import ChatService
from cogs.memory.access.guild_view import ChannelView, RoleView
from cogs.memory.access.permissions import GuildView, MemberView
from cogs.memory.errors import BadRequest, MnemeError
from cogs.memory.service import MemoryService
from cogs.shell.console_commands import ConsoleCommands
from cogs.shell.terminal import Terminal


async def run_console(
    service: MemoryService, chat: ChatService, views: Mapping[int, GuildView], terminal: Terminal
) -> int:
    """Read lines until the end of the input or ``/quit``; print what Discord would show. Returns the exit code.

    At a terminal there is a prompt, Ctrl-C gives a new one, and while an answer is under way it stops that; without a
    terminal each line is repeated before its answer, so that a log reads well.
    """
    commands = ConsoleCommands(service, chat, await _server(service, views))
    print(commands.greeting())
    while (line := await terminal.line(commands.prompt())) is not None:
        line = line.strip()
        if not line:
            continue
        if not terminal.interactive:
            print(f"{commands.prompt()}{line}")
        if line in ("/quit", "/exit"):
            break
        if not await terminal.interruptible(answer(commands, line)):
            print("✕ Stopped.", flush=True)
    await chat.close()
    return 0


async def answer(commands: ConsoleCommands, line: str) -> None:
    """Print the answer to one line; a mistake of the person gets its sentence, and the console goes on."""
    try:
        async for text in commands.handle(line):
            print(text, flush=True)
    except MnemeError as error:
        print(f"✕ {error}", flush=True)


async def _server(service: MemoryService, views: Mapping[int, GuildView]) -> GuildView:
    """Return the server to talk in: one whose permissions are known, or one made of what the memory holds.

    Raises:
        BadRequest: nothing is remembered yet.
    """
    known = await service.guild_ids()
    for guild_id, view in views.items():
        if guild_id in known:
            return view
    if not known:
        raise BadRequest("Nothing is remembered yet; import an export first, or run `make run` for the sample server.")
    channels = await service.channels(known[0])
    # Without the permissions of the server, there is one reader: the operator, who owns the machine and its files.
    return GuildView(
        id=known[0],
        name=f"server {known[0]}",
        owner_id=0,
        roles=(RoleView(known[0], "@everyone", 0),),
        channels=tuple(ChannelView(c.id, c.name, c.kind, c.parent_id, c.nsfw, c.private) for c in channels),
        members=(MemberView(0, "operator"),),
    )
