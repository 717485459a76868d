"""The start and the end of the bot's process, and its exit codes."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

import discord

from cogs.app.client import MnemeBot, log
from cogs.app.page import page_beside
from cogs.memory.inference import allocator

if TYPE_CHECKING:
    from cogs.chat.service import ChatService
    from cogs.memory.service import MemoryService
    from config.settings import Settings

EXIT_FAILED, EXIT_USAGE = 1, 2
COLLECT_AFTER = (20_000, 20, 50)
"""Objects that may come before the collector of cycles looks at the young, the older and the oldest."""
LOGIN_REFUSED = (
    "Discord does not accept the token: copy the bot's token from "
    "https://discord.com/developers/applications (Bot, Reset Token) into DISCORD_TOKEN."
)
MISSING_INTENT = (
    "The bot may not read messages yet: switch on “Message Content Intent” at "
    "https://discord.com/developers/applications (Bot, Privileged Gateway Intents) and start it again."
)
UNREACHABLE = "Discord cannot be reached: check the network and https://discordstatus.com, then start the bot again."


def run(settings: Settings) -> int:
    """Run the Discord bot until it is told to stop; see :func:`serve` for the exit code.

    Raises:
        MnemeError: the memory cannot be opened; the sentence says what to do.
    """
    # Payloads with messages and tokens would be in discord.py's own debugging output.
    logging.getLogger("discord").setLevel(logging.WARNING)
    allocator.limit_arenas()
    return asyncio.run(_with_memory(settings))


async def _with_memory(settings: Settings) -> int:
    from cogs.chat.service import build_chat
    from cogs.imports.spool import watching
    from cogs.memory.service import MemoryService

    service = await MemoryService.open(settings)
    try:
        await service.start()
        settle_process()
        async with watching(service, settings.data_dir):
            return await serve(settings, service, build_chat(settings, service))
    finally:
        await service.close()


def settle_process() -> None:
    """Keep the collector of cycles off what was loaded: a walk over it holds all up for a quarter of a second."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


async def serve(settings: Settings, service: MemoryService, chat: ChatService) -> int:
    """Run the bot until it is told to stop; the service is started before and closed after, by the caller.

    Returns:
        The exit code: 0 after SIGTERM or SIGINT, 2 where the operator has to do something, 1 after a failure.
    """
    if settings.discord_token is None:
        return _told("DISCORD_TOKEN is not set: put the bot's token into the environment or into .env.")
    bot = MnemeBot(settings, service, chat)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with page_beside(bot):
            result = await _until(stop, bot, settings.discord_token.get_secret_value())
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    return _exit_code(bot, result)


async def _until(stop: asyncio.Event, bot: MnemeBot, token: str) -> BaseException | None:
    """Run the bot until it ends or is told to stop; return what ended it."""
    running = asyncio.create_task(bot.start(token), name="gateway")
    stopping = asyncio.create_task(stop.wait(), name="signal")
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            log.info("stopping")
        await bot.close()
        running.cancel()
        return (await asyncio.gather(running, return_exceptions=True))[0]
    finally:
        stopping.cancel()


def _exit_code(bot: MnemeBot, result: BaseException | None) -> int:
    if isinstance(result, discord.LoginFailure):
        return _told(LOGIN_REFUSED)
    if isinstance(result, discord.PrivilegedIntentsRequired):
        return _told(MISSING_INTENT)
    if bot.failure is not None:
        return EXIT_FAILED
    if result is None or isinstance(result, asyncio.CancelledError):
        return 0
    if isinstance(result, OSError | discord.DiscordException):
        bot.errors.log("the connection to Discord", result)
        print(UNREACHABLE, file=sys.stderr)
        return EXIT_FAILED
    _raise(result)


def _told(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return EXIT_USAGE


def _raise(error: BaseException) -> NoReturn:
    raise error
