"""Discord only: the bot itself: its start, its commands, its one handler of errors, and its end."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
import traceback
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import discord
from discord import app_commands
from discord.ext import commands

from cogs.memory import heap
from cogs.memory.backfill import Backfills
from cogs.memory.errors import MnemeError
from cogs.memory.guild_view import Readers
from cogs.memory.history import CatchUp
from cogs.memory.intake import Intake
from cogs.memory.views import OpenPages

if TYPE_CHECKING:
    from cogs.chat.answer import ChatService
    from cogs.memory.service import MemoryService
    from config.settings import Settings

log = logging.getLogger(__name__)

EXTENSIONS = (
    "cogs.memory.listeners",
    "cogs.memory.cog",
    "cogs.memory.admin",
    "cogs.memory.privacy",
    "cogs.chat.cog",
)
EXIT_FAILED, EXIT_USAGE = 1, 2
COLLECT_AFTER = (20_000, 20, 50)
"""Objects that may come before the collector of cycles looks at the young, the older and the oldest."""
DRAIN_SECONDS, FAREWELL_SECONDS = 4.0, 1.5
UNKNOWN_INTERACTION, ALREADY_ANSWERED = 10062, 40060
LOGIN_REFUSED = (
    "Discord does not accept the token: copy the bot's token from "
    "https://discord.com/developers/applications (Bot, Reset Token) into DISCORD_TOKEN."
)
MISSING_INTENT = (
    "The bot may not read messages yet: switch on “Message Content Intent” at "
    "https://discord.com/developers/applications (Bot, Privileged Gateway Intents) and start it again."
)
UNREACHABLE = "Discord cannot be reached: check the network and https://discordstatus.com, then start the bot again."
SORRY = "Something went wrong, and it is in the log. Try again in a moment."


def minimal_intents() -> discord.Intents:
    """Return what the bot must hear of: servers and their channels, messages, and their text (privileged)."""
    return discord.Intents(guilds=True, guild_messages=True, dm_messages=True, message_content=True)


class Errors:
    """The one place where errors end: a person reads a sentence, the log gets the cause."""

    def log(self, doing: str, error: BaseException) -> None:
        """Log an error by its type and where it happened.

        Its text is left out, because libraries put message texts, parameters and addresses into it.
        """
        frames = traceback.extract_tb(error.__traceback__)[-6:]
        where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
        cause = f", caused by {type(error.__cause__).__name__}" if error.__cause__ else ""
        detail = f" HTTP {error.status} code {error.code}" if isinstance(error, discord.HTTPException) else ""
        log.error("%s failed: %s%s%s at %s", doing, type(error).__name__, detail, cause, where)

    def sentence(self, error: BaseException) -> str:
        """Return what a person is told."""
        if isinstance(error, MnemeError):
            return str(error)
        if isinstance(error, app_commands.CommandOnCooldown):
            return f"That was quick; try again in {error.retry_after:.0f} seconds."
        if isinstance(error, app_commands.CommandSignatureMismatch | app_commands.CommandNotFound):
            return "This command has changed; restart your Discord client to get its new form."
        if isinstance(error, app_commands.TransformerError):
            return "One of the options cannot be read; check it and try again."
        if isinstance(error, app_commands.NoPrivateMessage):
            return "This works in a server only."
        if isinstance(error, app_commands.CheckFailure):
            return str(error) or "You may not do that."
        if isinstance(error, discord.Forbidden):
            return "Discord does not let me do that here; an administrator can check my permissions."
        return SORRY

    async def tell(self, interaction: discord.Interaction, error: BaseException) -> None:
        """Answer an interaction whose handling raised ``error``."""
        if isinstance(error, app_commands.CommandInvokeError):
            error = error.original
        if isinstance(error, discord.HTTPException) and error.code in (UNKNOWN_INTERACTION, ALREADY_ANSWERED):
            log.info("an interaction had expired before it was answered")
            return
        if not isinstance(error, MnemeError | app_commands.CheckFailure):
            self.log("an interaction", error)
        try:
            if interaction.type is discord.InteractionType.autocomplete:
                if not interaction.response.is_done():
                    await interaction.response.autocomplete([])
            elif interaction.response.is_done():
                await interaction.followup.send(self.sentence(error), ephemeral=True)
            else:
                await interaction.response.send_message(self.sentence(error), ephemeral=True)
        except discord.HTTPException as refused:
            log.info("an error could not be told: HTTP %s", refused.status)


class Tree(app_commands.CommandTree["MnemeBot"]):
    """The commands, with the one handler."""

    async def on_error(
        self, interaction: discord.Interaction[MnemeBot], error: app_commands.AppCommandError, /
    ) -> None:
        """Tell the person in a sentence, the log in full."""
        await self.client.errors.tell(interaction, error)


class MnemeBot(commands.AutoShardedBot):
    """Holds what the cogs share. Discord's own cache of messages is off: the memory is the only one."""

    def __init__(self, settings: Settings, service: MemoryService, chat: ChatService) -> None:
        super().__init__(
            command_prefix=commands.when_mentioned,
            help_command=None,
            tree_cls=Tree,
            intents=minimal_intents(),
            allowed_mentions=discord.AllowedMentions.none(),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
            allowed_contexts=app_commands.AppCommandContext(guild=True, dm_channel=True, private_channel=False),
            max_messages=None,
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
        )
        self.settings = settings
        self.service = service
        self.chat = chat
        self.errors = Errors()
        self.readers = Readers(self, service)
        self.intake = Intake(service, self._intake_failed)
        self.catch_up = CatchUp(self, service, self.intake)
        self.backfills = Backfills(service, self.intake, self.catch_up)
        self.open_pages = OpenPages()
        self.failure: BaseException | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers: set[asyncio.Task[None]] = set()

    async def setup_hook(self) -> None:
        """Start to take in messages, and register the commands, once."""
        self.intake.start()
        for extension in EXTENSIONS:
            await self.load_extension(extension)
        self.start_task(self._register(), "register commands")

    async def _register(self) -> None:
        pause = 1.0
        while True:
            try:
                registered = await self.tree.sync()
            except (discord.HTTPException, OSError) as error:
                self.errors.log("registering the commands", error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 300.0)
            else:
                log.info("%d commands are registered", len(registered))
                return

    async def on_message(self, message: discord.Message, /) -> None:
        """Do nothing: there are no prefix commands, and the cogs listen for themselves."""

    async def on_ready(self) -> None:
        """Say so in the log."""
        log.info("connected as %s to %d servers", self.user, len(self.guilds))

    async def on_error(self, event_method: str, /, *_: object, **__: object) -> None:
        """Log what a listener raised."""
        error = sys.exc_info()[1]
        if error is not None:
            self.errors.log(event_method, error)

    def start_task(self, work: Coroutine[Any, Any, None], name: str, *, answers: bool = False) -> None:
        """Run something beside everything else, and log how it failed if it does; ``answers`` a waiting person."""
        task = asyncio.create_task(work, name=name)
        (self._answers if answers else self._tasks).add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._answers.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.errors.log(task.get_name(), error)

    def _intake_failed(self, error: BaseException) -> None:
        """End the process: a bot that no longer remembers must not look as if it did."""
        self.failure = error
        self.errors.log("taking in messages", error)
        self._tasks.add(asyncio.ensure_future(self.close()))

    async def close(self) -> None:
        """Stop listening, finish what is in hand within :data:`DRAIN_SECONDS`, and leave."""
        if self.is_closed():
            return
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        await self.backfills.stop()
        drained = asyncio.create_task(self.intake.drain())
        if self.failure is None:
            await asyncio.wait({drained, *self._answers}, timeout=DRAIN_SECONDS)
        unfinished = {drained, *self._answers}
        for task in unfinished:
            task.cancel()
        await asyncio.wait(unfinished, timeout=FAREWELL_SECONDS)
        await self.intake.stop()
        await super().close()


def run(settings: Settings) -> int:
    """Run the Discord bot until it is told to stop; see :func:`serve` for the exit code.

    Raises:
        MnemeError: the memory cannot be opened; the sentence says what to do.
    """
    # Payloads with messages and tokens would be in discord.py's own debugging output.
    logging.getLogger("discord").setLevel(logging.WARNING)
    heap.bound_arenas()
    return asyncio.run(_with_memory(settings))


async def _with_memory(settings: Settings) -> int:
    from cogs.chat.answer import build_chat
    from cogs.memory.service import MemoryService

    service = await MemoryService.open(settings)
    try:
        await service.start()
        settle_process()
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
    running = asyncio.create_task(bot.start(settings.discord_token.get_secret_value()), name="gateway")
    stopping = asyncio.create_task(stop.wait(), name="signal")
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            log.info("stopping")
        await bot.close()
        running.cancel()
        result = (await asyncio.gather(running, return_exceptions=True))[0]
    finally:
        stopping.cancel()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    return _exit_code(bot, result)


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
