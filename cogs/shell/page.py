"""``python bot.py page`` and ``mcp``: the page and the agents' server, opened by whoever has the machine."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from cogs.shell.memory_folder import remembering
from cogs.shell.startup import errors, prepared, run_async
from config.settings import Settings

if TYPE_CHECKING:
    from cogs.memory.service import MemoryService
    from cogs.web.context import WebContext
    from cogs.web.gate import Person

DEFAULT_ADDRESS = "127.0.0.1:8080"
AsUser = Annotated[str | None, typer.Option(help="The member to act for, by name or id. Default: the server's owner.")]
Guild = Annotated[int | None, typer.Option(help="The server, by its id, where several are remembered.")]


def page(as_user: AsUser = None, guild: Guild = None) -> int:
    """Open the page: print a link for the running bot's page, or serve it here where no bot runs."""
    return run_async(_page(prepared(), as_user, guild))


def mcp(as_user: AsUser = None, guild: Guild = None) -> int:
    """Speak the Model Context Protocol over standard input and output, acting for one member."""
    return run_async(_mcp(prepared(), as_user, guild))


async def _page(settings: Settings, as_user: str | None, guild: int | None) -> int:
    from cogs.memory.errors import StorageError
    from cogs.memory.service import MemoryService
    from cogs.web.agents import agent_site
    from cogs.web.server import serving
    from cogs.web.site import build_site

    settings = await remembering(settings)
    try:
        service = await MemoryService.open(settings)
    except StorageError as error:
        if settings.web is None:
            raise
        errors.print(f"{error} Its page takes this link.", style="dim")
        return await _link_for_the_running_bot(settings, as_user, guild)
    try:
        await service.start()
        context, person = await _context(settings, service, as_user, guild)
        address = settings.web or DEFAULT_ADDRESS
        base = settings.web_url or f"http://{address}"
        site = build_site(context, {"/mcp": agent_site(context, base)})
        async with serving(site, address) as url:
            print(f"{settings.web_url or url}/enter?link={context.gate.link(person)}", flush=True)
            errors.print("The link is good for ten minutes, once. Ctrl-C ends the page.", style="dim")
            await _until_interrupted()
    finally:
        await service.close()
    return 0


async def _link_for_the_running_bot(settings: Settings, as_user: str | None, guild: int | None) -> int:
    """Print a link that the bot's page accepts: both sign with the key of the data folder."""
    from cogs.memory.service import MemoryService

    service = await MemoryService.open(settings, exclusive=False)
    try:
        context, person = await _context(settings, service, as_user, guild)
        base = settings.web_url or f"http://{settings.web}"
        print(f"{base}/enter?link={context.gate.link(person)}")
    finally:
        await service.close()
    return 0


async def _mcp(settings: Settings, as_user: str | None, guild: int | None) -> int:
    from cogs.memory.service import MemoryService
    from cogs.web.agents import always, build_agent_server

    settings = await remembering(settings)
    service = await MemoryService.open(settings, exclusive=False)
    try:
        await service.start(ingest=False)
        context, person = await _context(settings, service, as_user, guild)
        await build_agent_server(context, always(context, person)).run_stdio_async()
    finally:
        await service.close()
    return 0


async def _context(
    settings: Settings, service: MemoryService, as_user: str | None, guild: int | None
) -> tuple[WebContext, Person]:
    """Return the site's context over the kept pictures of servers, and whom the operator acts for.

    Raises:
        BadRequest: the server or the member cannot be told.
    """
    from cogs.commands.lookups import member_named, one_guild
    from cogs.memory.access.guild_view_files import load_guild_views
    from cogs.memory.errors import BadRequest
    from cogs.web.context import WebContext
    from cogs.web.directory import GuildViewDirectory
    from cogs.web.gate import Gate, Person, page_key
    from cogs.web.server import hosts_of

    views = load_guild_views(settings.data_dir)
    guild_id = one_guild(guild, await service.guild_ids())
    view = views.get(guild_id)
    if as_user is not None and as_user.isascii() and as_user.isdigit():
        user_id = int(as_user)
    elif view is None:
        raise BadRequest(
            "Only the running bot knows this server's members by name; give the member's id: --as-user ID."
        )
    else:
        user_id = view.owner_id if as_user is None else member_named(view, as_user).id
    token = settings.metrics_token
    context = WebContext(
        service=service,
        gate=Gate(page_key(settings.data_dir)),
        directory=GuildViewDirectory(service, views),
        hosts=hosts_of(settings),
        metrics_token=None if token is None else token.get_secret_value(),
    )
    return context, Person(guild_id, user_id)


async def _until_interrupted() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
