"""Discord only: the bot itself: its start, its commands, its one handler of errors, and its end."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands
from discord.ext import commands
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential

from cogs.app.allowance import Allowances
from cogs.app.errors import Errors
from cogs.app.open_pages import OpenPages
from cogs.app.page import gate_of
from cogs.app.withdrawals import Withdrawals
from cogs.gateway.backfill import Backfills
from cogs.gateway.catch_up import CatchUp
from cogs.gateway.intake import Intake
from cogs.gateway.pluralkit import PluralKit
from cogs.gateway.readers import Readers
from config import logs

if TYPE_CHECKING:
    from cogs.chat.service import ChatService
    from cogs.memory.service import MemoryService
    from config.settings import Settings

log = logging.getLogger(__name__)

EXTENSIONS = (
    "cogs.extensions.listeners",
    "cogs.extensions.recall",
    "cogs.extensions.memory_admin",
    "cogs.extensions.privacy",
    "cogs.extensions.chat",
)
DRAIN_SECONDS, FAREWELL_SECONDS = 4.0, 1.5


def minimal_intents() -> discord.Intents:
    """Return what the bot must hear of: servers and their channels, messages, and their text (privileged)."""
    return discord.Intents(guilds=True, guild_messages=True, dm_messages=True, message_content=True)


class Tree(app_commands.CommandTree["MnemeBot"]):
    """The commands, with the one handler."""

    async def interaction_check(self, interaction: discord.Interaction[MnemeBot], /) -> bool:
        """Mark what is logged from here on as belonging to this interaction."""
        logs.mark(interaction.id)
        if interaction.type is discord.InteractionType.application_command:
            self.client.allowances.command(interaction.user.id, time.monotonic())
        return True

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
        proxies = None if settings.pluralkit_url is None else PluralKit(settings.pluralkit_url)
        self.intake = Intake(service, self._intake_failed, proxies)
        self.catch_up = CatchUp(self, service, self.intake)
        self.backfills = Backfills(service, self.intake, self.catch_up)
        self.withdrawals = Withdrawals(self, service)
        self.allowances = Allowances(
            settings.commands_per_minute, settings.replies_per_minute, settings.channel_replies_per_minute
        )
        self.open_pages = OpenPages()
        self.gate = gate_of(self)
        self.failure: BaseException | None = None
        self.connections = 0
        """How often a shard connected or resumed; for the metrics."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers: set[asyncio.Task[None]] = set()

    async def setup_hook(self) -> None:
        """Start to take in messages, and register the commands, once."""
        self.intake.start()
        for extension in EXTENSIONS:
            await self.load_extension(extension)
        self.start_task(self._register(), "register commands")
        self.start_task(self.withdrawals.run(), "changing earlier replies")

    async def _register(self) -> None:
        def note(state: RetryCallState) -> None:
            if state.outcome is not None and (error := state.outcome.exception()) is not None:
                self.errors.log("registering the commands", error)

        sync = AsyncRetrying(
            retry=retry_if_exception_type((discord.HTTPException, OSError)),
            wait=wait_exponential(max=300),
            before_sleep=note,
        ).wraps(self.tree.sync)
        registered = await sync()
        log.info("%d commands are registered", len(registered))

    async def on_message(self, message: discord.Message, /) -> None:
        """Do nothing: there are no prefix commands, and the cogs listen for themselves."""

    async def on_shard_connect(self, _shard_id: int) -> None:
        """Count connections."""
        self.connections += 1

    async def on_shard_resumed(self, _shard_id: int) -> None:
        """Count connections."""
        self.connections += 1

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
