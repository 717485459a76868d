"""MemoryService: the one door. Cogs, command line and console come in here and nowhere else."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Collection, Sequence
from dataclasses import replace

from cogs.memory.caches.memory_caches import MemoryCaches
from cogs.memory.housekeeping import Housekeeping
from cogs.memory.inference import profiles as profile_rules
from cogs.memory.inference.model_slot import ModelSlot
from cogs.memory.ingest.door import Door
from cogs.memory.ingest.labels import LabelWorker
from cogs.memory.ingest.worker import IngestWorker
from cogs.memory.models.loadout import Loadout, LoadoutFactory
from cogs.memory.profile_switch import ProfileLoader, Progress
from cogs.memory.recall.browsing import Browsing
from cogs.memory.recall.insight import Insight
from cogs.memory.recall.quotations import Quotations
from cogs.memory.records import (
    ChannelInfo,
    IncomingMessage,
    JsonObject,
    PersonSummary,
    ProfileReport,
    Reach,
    RecallRequest,
    RecallResult,
    Scope,
    Status,
    StoredMessage,
)
from cogs.memory.rerankers.registry import load_specs
from cogs.memory.running import Running
from cogs.memory.storage.connection import from_ms
from cogs.memory.storage.folder_lock import FolderLock
from cogs.memory.storage.labels import LabelInfo
from cogs.memory.storage.repository import Repository
from cogs.memory.storage.verify import Verification, verify_stores
from cogs.memory.text.bounds import NAME_CHARACTERS, bounded_channel, cleaned
from config.settings import Settings


class MemoryService:
    """Remembers messages, recalls them within a scope, and forgets them.

    Build it with :meth:`open`, then :meth:`start`; every other method is safe to call from the event loop and does
    its work on other threads. Each hands on to the part that does it.
    """

    def __init__(self, settings: Settings, repository: Repository, lock: FolderLock | None) -> None:
        self.repository = repository
        self.erasing = repository.erasing  # what people are told about the bytes of what they erase
        self.profile_table = profile_rules.load_profiles(settings.profiles_file)
        self.operators = settings.operator_ids
        self._grace_days = settings.guild_grace_days
        self._lock = lock
        factory = LoadoutFactory(
            repository,
            settings.data_dir,
            settings.models_folder,
            load_specs(settings.rerankers_file),
            snapshots=lock is not None,
            api_key=None if settings.reranker_api_key is None else settings.reranker_api_key.get_secret_value(),
            trusted=settings.trusted_models,
        )
        self._loader = ProfileLoader(repository, self.profile_table, factory, settings.profile)
        self._caches = MemoryCaches(repository, remember_all=settings.remember == "all")
        self._door = Door(repository)
        self.quotations = Quotations(repository.quotations)
        self._opened = time.monotonic()
        self._tokens_saved = 0
        self._running: Running | None = None

    @classmethod
    async def open(cls, settings: Settings, *, exclusive: bool = True) -> MemoryService:
        """Open the database under ``MNEME_DATA_DIR`` and migrate it; load nothing yet.

        ``exclusive`` owns the folder and the database: a second process is refused instead of let in.

        Raises:
            StorageError: the folder or the database is in use, or the database cannot be opened.
            ProfileError: the profiles cannot be read.
        """
        lock = FolderLock(settings.data_dir) if exclusive else None
        if lock is not None:
            lock.acquire()
        try:
            repository = await asyncio.to_thread(Repository.from_settings, settings, exclusive)
            return cls(settings, repository, lock)
        except BaseException:
            if lock is not None:
                lock.release()
            raise

    async def start(self, *, ingest: bool = True) -> None:
        """Load the models of the profile, bring the indexes level, and go on with what a crash left queued.

        Raises:
            ProfileError: the named profile cannot run here, or no profile's models can be loaded.
        """
        loadout, problem = await self._loader.first()
        self._running = Running.around(loadout, problem, self.repository, self._caches, self._loader, self._grace_days)
        if ingest:
            await self._running.begin(self.repository)

    @property
    def _parts(self) -> Running:
        if self._running is None:
            raise RuntimeError("the memory was opened but not started")
        return self._running

    @property
    def slot(self) -> ModelSlot[Loadout]:
        """The models in use."""
        return self._parts.slot

    @property
    def ingest(self) -> IngestWorker:
        """The worker that makes vectors."""
        return self._parts.ingest

    @property
    def label_worker(self) -> LabelWorker:
        """The worker that judges labels."""
        return self._parts.label_worker

    @property
    def browsing(self) -> Browsing:
        """Lists by time, and the talk around a message."""
        return self._parts.browsing

    @property
    def insight(self) -> Insight:
        """Figures, comparisons and judged questions, for the page and the metrics."""
        return self._parts.insight

    @property
    def housekeeping(self) -> Housekeeping:
        """What lets go of what is due."""
        return self._parts.housekeeping

    async def close(self) -> None:
        """Finish what is in hand, write the snapshots, and give the folder free; the queue stays in the table."""
        if self._running is not None:
            await self._running.end()
        await asyncio.to_thread(self._loader.close)
        await asyncio.to_thread(self.repository.close)
        if self._lock is not None:
            self._lock.release()

    async def drain(self) -> None:
        """Wait until everything remembered so far is embedded and indexed."""
        await self._parts.ingest.drain()

    # -- remembering ---------------------------------------------------------------------------------------

    async def upsert_guild(self, guild_id: int, name: str, application_id: int | None = None) -> None:
        """Record a server; ``application_id`` says which bot is in it now, and none that it was imported."""
        await asyncio.to_thread(self.repository.guilds.upsert, guild_id, cleaned(name, NAME_CHARACTERS), application_id)

    async def upsert_channels(self, channels: Sequence[ChannelInfo]) -> None:
        """Record channels and threads."""

        channels = [bounded_channel(channel) for channel in channels]

        def record() -> None:
            with self.repository.write_lock:
                self.repository.guilds.upsert_channels(channels)
                for guild_id in {channel.guild_id for channel in channels}:
                    self._caches.channels_changed(guild_id)  # a channel may have moved below one that is left out

        if channels:
            await asyncio.to_thread(record)

    async def guild_ids(self) -> list[int]:
        """Return every server that is remembered."""
        return await asyncio.to_thread(self.repository.guilds.ids)

    async def channels(self, guild_id: int) -> list[ChannelInfo]:
        """Return the channels and threads of a server that the memory knows."""
        return await asyncio.to_thread(self.repository.guilds.channels, guild_id)

    async def remember(self, messages: Sequence[IncomingMessage], *, mark_seen: bool = True) -> int:
        """Commit messages and return; they are embedded in the background. Returns how many are new or changed.

        Messages of channels that are not remembered, of people who opted out and of deleted ids are dropped; texts are
        cleaned and cut to what can be kept, and what can still not be stored is set aside and counted.
        ``mark_seen`` is off for messages that arrive while older ones of their channel are still being fetched.

        Raises:
            StorageError: nothing was written.
        """
        return await asyncio.to_thread(self._remember, messages, mark_seen)

    def _remember(self, messages: Sequence[IncomingMessage], mark_seen: bool = True) -> int:
        parts = self._parts
        with self.repository.write_lock:  # a channel that is left out meanwhile is left out of this
            wanted = [m for m in messages if self._caches.inclusion.included(m.guild_id, m.channel_id)]
            saved = self._door.save(wanted, mark_seen=mark_seen)
            parts.forgetting.forget_changed(wanted, saved.changed)
        self._caches.channel_reach.changed({message.channel_id for message in wanted} | saved.left)
        if saved.new or saved.changed:
            parts.ingest.notify()
            parts.label_worker.notify()
        return len(saved.new) + len(saved.changed)

    async def edit(self, message: IncomingMessage) -> bool:
        """Take in the new text of a message; its old text is gone when this returns."""
        return await self.remember([message]) > 0

    async def is_remembered(self, guild_id: int, channel_id: int) -> bool:
        """Return whether messages of a channel are remembered."""
        return await asyncio.to_thread(self._caches.inclusion.included, guild_id, channel_id)

    async def set_channel_included(self, guild_id: int, channel_id: int, included: bool) -> None:
        """Record an administrator's word on a channel; leaving one out erases what was remembered of it."""

        def record() -> None:
            with self.repository.write_lock:
                self.repository.guilds.set_included(guild_id, channel_id, included)
                self._caches.channels_changed(guild_id)

        await asyncio.to_thread(record)
        if not included:
            await self.forget_channel(guild_id, channel_id, keep_record=True)

    async def last_seen(self, guild_id: int) -> dict[int, int]:
        """Map each channel to the newest message id seen in it."""
        return await asyncio.to_thread(self.repository.guilds.last_seen, guild_id)

    async def mark_seen(self, channel_id: int, message_id: int) -> None:
        """Move a channel's watermark forward."""
        await asyncio.to_thread(self.repository.guilds.mark_seen, channel_id, message_id)

    async def stored_versions(
        self, channel_id: int, first_id: int, last_id: int
    ) -> dict[int, tuple[str, dt.datetime | None]]:
        """Map the stored ids of a channel between two ids to ``(content, edited at)``, for catching up."""
        rows = await asyncio.to_thread(self.repository.messages.stored_versions, channel_id, first_id, last_id)
        return {i: (content, None if ms is None else from_ms(ms)) for i, (content, ms) in rows.items()}

    async def backfill_cursor(self, channel_id: int) -> tuple[int | None, int | None]:
        """Return where a backfill of a channel stands and where it ends, or Nones."""
        return await asyncio.to_thread(self.repository.guilds.backfill_cursor, channel_id)

    async def set_backfill_cursor(self, channel_id: int, cursor: int | None, until: int | None) -> None:
        """Record where a backfill stands."""
        await asyncio.to_thread(self.repository.guilds.set_backfill_cursor, channel_id, cursor, until)

    # -- reading -------------------------------------------------------------------------------------------

    async def messages(self, message_ids: Collection[int], scope: Scope) -> list[StoredMessage]:
        """Return those messages that exist and lie in the scope now, in the order asked for."""
        found = await asyncio.to_thread(self.repository.search.messages, list(message_ids), scope)
        return [found[i] for i in message_ids if i in found]

    async def holds(self, guild_id: int, message_id: int) -> bool:
        """Return whether a message is stored as one of a server's, whoever may read it."""
        return await asyncio.to_thread(self.repository.messages.holds, guild_id, message_id)

    async def authors(self, scope: Scope, prefix: str, limit: int = 25) -> list[tuple[int, str]]:
        """Return people who wrote in the scope, the most active first."""
        prefix = cleaned(prefix, NAME_CHARACTERS)
        return await asyncio.to_thread(self.repository.search.authors, scope, prefix, limit)

    async def reach(self, scope: Scope) -> Reach:
        """Return how far the memory reaches within a scope."""
        return await asyncio.to_thread(self._caches.reach_of, scope)

    async def recall(self, request: RecallRequest) -> RecallResult:
        """Return what the memory holds on a query within the scope of its reader, the best first.

        Raises:
            BadRequest: the query is empty or too long, or the limit is not between 1 and 50.
            StorageError: the database cannot be read.
        """
        return await self._parts.recall.recall(request)

    async def similar(self, message_id: int, scope: Scope, limit: int = 10) -> RecallResult:
        """Return messages that say something like one message, which itself is left out.

        Raises:
            BadRequest: the message is not remembered, or not within the scope; both read the same.
        """
        return await self._parts.recall.similar(message_id, scope, limit)

    # -- forgetting ----------------------------------------------------------------------------------------

    async def forget_messages(self, guild_id: int, message_ids: Sequence[int]) -> int:
        """Delete messages from rows, keywords, vectors, index, snapshot and caches; they cannot come back.

        Returns how many were stored. An id that was never stored is barred as well: its creation may be on its way.
        """
        return await self._parts.forgetting.forget_messages(guild_id, message_ids)

    async def forget_channel(self, guild_id: int, channel_id: int, *, keep_record: bool = False) -> int:
        """Delete a channel or thread with everything said in it and in its threads."""
        return await self._parts.forgetting.forget_channel(guild_id, channel_id, keep_record=keep_record)

    async def forget_guild(self, guild_id: int) -> int:
        """Delete a server with everything in it."""
        return await self._parts.forgetting.forget_guild(guild_id)

    async def guilds_of(self, application_id: int) -> list[int]:
        """Return the servers that a bot saw last; not those that were only imported, nor another bot's."""
        return await asyncio.to_thread(self.repository.guilds.ids_of, application_id)

    async def guild_left(self, guild_id: int, application_id: int) -> None:
        """Note that a bot left a server; it is forgotten when the grace period has passed, if it was that bot's."""
        await self._parts.forgetting.guild_left(guild_id, application_id)

    async def set_retention(self, guild_id: int, days: int | None) -> int:
        """Keep messages of a server for ``days`` only, or for good; returns how many went at once."""
        return await self._parts.forgetting.set_retention(guild_id, days)

    async def opt_out(self, user_id: int, guild_id: int | None) -> int:
        """Stop remembering a person, here or everywhere, and erase the past; returns how many messages went."""
        return await self._parts.forgetting.opt_out(user_id, guild_id)

    async def opt_in(self, user_id: int, guild_id: int | None) -> None:
        """Take an opt-out back; what was erased stays erased."""
        await self._parts.forgetting.opt_in(user_id, guild_id)

    async def is_opted_out(self, user_id: int, guild_id: int | None) -> bool:
        """Return whether a person said stop, there or everywhere."""
        return await self._parts.forgetting.is_opted_out(user_id, guild_id)

    async def forget_person(self, user_id: int, guild_id: int | None) -> int:
        """Erase everything a person wrote, here or everywhere, and their id from what others wrote."""
        return await self._parts.forgetting.forget_person(user_id, guild_id)

    async def export_person(self, user_id: int, guild_id: int | None) -> JsonObject:
        """Return everything stored that a person wrote."""
        return await self._parts.forgetting.export_person(user_id, guild_id)

    async def stored_about(self, user_id: int, guild_id: int | None) -> PersonSummary:
        """Return how much of a person is stored."""
        return await self._parts.forgetting.stored_about(user_id, guild_id)

    # -- labels --------------------------------------------------------------------------------------------

    async def labels(self, guild_id: int) -> list[LabelInfo]:
        """Return the labels of a server."""
        return await self._parts.labels.labels(guild_id)

    async def set_label(self, guild_id: int, name: str, description: str, examples: Sequence[str] = ()) -> None:
        """Add a label, or describe it anew; see :meth:`Labels.set_label`."""
        await self._parts.labels.set_label(guild_id, name, description, examples)

    async def try_label(self, scope: Scope, guild_id: int, label: LabelInfo) -> tuple[int | None, int]:
        """Return how many of the newest messages a label would catch; see :meth:`Labels.try_label`."""
        return await self._parts.labels.try_label(scope, guild_id, label)

    async def remove_label(self, guild_id: int, name: str) -> bool:
        """Remove a label from every message; return whether it was there."""
        return await self._parts.labels.remove_label(guild_id, name)

    # -- profiles and status -------------------------------------------------------------------------------

    def profiles(self) -> list[ProfileReport]:
        """Return every profile, with what this machine can run and why not the others."""
        return self._parts.switch.profiles()

    async def use_profile(self, name: str, progress: Progress | None = None) -> None:
        """Switch to a profile while requests in flight finish on the old one; the choice survives a restart.

        Raises:
            ProfileError: it does not exist, cannot run here, or its models failed to load; the old one goes on.
            BadRequest: another switch is under way.
        """
        await self._parts.switch.use_profile(name, progress)

    def count_saved_tokens(self, tokens: int) -> None:
        """Add to the tokens that evidence saved in prompts, for :meth:`status`."""
        self._tokens_saved += tokens

    async def status(self, guild_id: int | None = None) -> Status:
        """Return the state of the memory, of one server or of all."""
        status = await self._parts.status(self.repository, self._caches, guild_id)
        return replace(
            status,
            uptime=time.monotonic() - self._opened,
            tokens_saved=self._tokens_saved,
            set_aside=self._door.set_aside(guild_id),
        )


async def verify_service(service: MemoryService) -> Verification:
    """Compare the stores of a memory that runs, and the index that it searches with the vectors in the database."""
    with service.slot.acquire() as loadout:
        found = await asyncio.to_thread(verify_stores, service.repository)
        stray, lacking = await asyncio.to_thread(loadout.indexes.differences)
    return replace(found, stray_indexed=stray, lacking_indexed=lacking)
