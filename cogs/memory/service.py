"""MemoryService: the one door. Cogs, command line and console come in here and nowhere else."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import replace

from cogs.memory.errors import BadRequest, ProfileError
from cogs.memory.forgetting import ForgettingMixin
from cogs.memory.inference import profiles as profile_rules
from cogs.memory.inference.device_worker import DeviceWorker, Priority
from cogs.memory.inference.model_slot import ModelSlot
from cogs.memory.inference.profiles import Machine, MemoryProfile
from cogs.memory.ingest.labels import LabelMixin, LabelWorker
from cogs.memory.ingest.worker import IngestWorker
from cogs.memory.models.loadout import Loadout, LoadoutFactory
from cogs.memory.profile_switch import PROFILE_KEY, Progress
from cogs.memory.recall.pipeline import RecallMixin
from cogs.memory.records import ChannelInfo, IncomingMessage, ProfileReport, Reach, Scope, Status, StoredMessage
from cogs.memory.rerankers.registry import load_specs
from cogs.memory.storage.connection import from_ms
from cogs.memory.storage.database import create_engine, migrate
from cogs.memory.storage.folder_lock import FolderLock
from cogs.memory.storage.people import PersonHasher
from cogs.memory.storage.prepared_passages import PassageStore
from cogs.memory.storage.repository import Repository
from cogs.memory.storage.verify import Verification, verify_stores
from config.settings import Settings

log = logging.getLogger(__name__)


class MemoryService(RecallMixin, ForgettingMixin, LabelMixin):
    """Remembers messages, recalls them within a scope, and forgets them.

    Build it with :meth:`open`, then :meth:`start`; every other method is safe to call from the event loop and does
    its work on other threads.
    """

    def __init__(self, settings: Settings, repository: Repository, lock: FolderLock | None) -> None:
        super().__init__(settings, repository)
        self.profile_table = profile_rules.load_profiles(settings.profiles_file)
        self.machine = Machine.detect()
        self._lock = lock
        self._factory = LoadoutFactory(
            repository,
            settings.data_dir,
            settings.models_folder,
            load_specs(settings.rerankers_file),
            snapshots=lock is not None,
            api_key=None if settings.reranker_api_key is None else settings.reranker_api_key.get_secret_value(),
            trusted=settings.trusted_models,
        )
        self._workers: dict[str, DeviceWorker] = {}
        self._started = time.monotonic()
        self._switching = asyncio.Lock()
        self._housekeeping: asyncio.Task[None] | None = None
        self._problem: str | None = None

    @classmethod
    async def open(cls, settings: Settings, *, exclusive: bool = True) -> MemoryService:
        """Open the database under ``MNEME_DATA_DIR`` and migrate it; load nothing yet.

        ``exclusive`` owns the folder: a second process is refused instead of let in.

        Raises:
            StorageError: the folder is in use, or the database cannot be opened.
            ProfileError: the profiles cannot be read.
        """
        lock = FolderLock(settings.data_dir) if exclusive else None
        if lock is not None:
            lock.acquire()
        try:
            engine = create_engine(settings.sqlalchemy_url)
            await asyncio.to_thread(migrate, engine)
            repository = Repository(engine)
            repository.hasher = PersonHasher.from_file(settings.data_dir / "person.key")
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
        self._loop = asyncio.get_running_loop()
        loadout = await self._first_loadout()
        self.slot = ModelSlot(loadout, self._retire)
        self.ingest = IngestWorker(self.repository, self.slot)
        self.label_worker = LabelWorker(self.repository, self.slot)
        if ingest:
            # A crash may have come between a deletion and the erasure of its traces.
            await asyncio.to_thread(self.repository.erase_traces)
            await asyncio.to_thread(loadout.indexes.discard_others)
            await asyncio.to_thread(self._queue_missing, loadout)
            self.ingest.start()
            self.label_worker.start()
            self._housekeeping = asyncio.create_task(self._keep_house(), name="housekeeping")

    def _queue_missing(self, loadout: Loadout) -> None:
        """Queue what lacks a vector, or a passage, of the models in use."""
        self.repository.queue_missing(loadout.embedder.model_key)
        if loadout.reranker is not None and loadout.reranker.prepares:
            PassageStore(self.repository).queue_missing(loadout.reranker.passage_form)

    async def _first_loadout(self) -> Loadout:
        saved = await asyncio.to_thread(self.repository.get_meta, PROFILE_KEY)
        wanted = self.settings.profile or (saved if saved in self.profile_table else None)
        chosen = profile_rules.choose_profile(self.profile_table, self.machine, wanted)
        order = [chosen]
        if self.settings.profile is None:
            order += [p for p in self.profile_table.values() if p is not chosen and not self.machine.why_not(p)]
        problems: list[str] = []
        for profile in order:
            # A profile that somebody named runs without its reranker rather than not at all; one that was only
            # guessed from the hardware gives way to the next.
            tolerate = self.settings.profile is not None or profile.name == saved
            try:
                loadout = await self._load(profile, tolerate_reranker=tolerate)
            except ProfileError as error:
                problems.append(str(error))
                log.warning("%s", error)
                continue
            self._problem = " ".join(problems) or None
            return loadout
        raise ProfileError(problems[0])

    async def _load(self, profile: MemoryProfile, *, tolerate_reranker: bool) -> Loadout:
        worker = self._workers.setdefault(profile.device, DeviceWorker(profile.device))
        return await worker.run(
            lambda: self._factory.load(profile, worker, tolerate_reranker=tolerate_reranker),
            priority=Priority.BACKGROUND,
        )

    def _retire(self, loadout: Loadout) -> None:
        """Close what a switch left behind; the last to leave may be the event loop, which must not wait for a disk."""
        try:
            asyncio.get_running_loop().run_in_executor(None, loadout.close)
        except RuntimeError:
            loadout.close()

    async def close(self) -> None:
        """Finish what is in hand, write the snapshots, and give the folder free; the queue stays in the table."""
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            await asyncio.gather(self._housekeeping, return_exceptions=True)
        if hasattr(self, "ingest"):
            await self.label_worker.stop()
            await self.ingest.stop()
            await asyncio.to_thread(self.slot.current.close)
        for worker in self._workers.values():
            await asyncio.to_thread(worker.close, 5.0)
        await asyncio.to_thread(self.repository.close)
        if self._lock is not None:
            self._lock.release()

    async def drain(self) -> None:
        """Wait until everything remembered so far is embedded and indexed."""
        await self.ingest.drain()

    # -- remembering ---------------------------------------------------------------------------------------

    async def upsert_guild(self, guild_id: int, name: str) -> None:
        """Record a server, or that it is back."""
        await asyncio.to_thread(self.repository.upsert_guild, guild_id, name)

    async def upsert_channels(self, channels: Sequence[ChannelInfo]) -> None:
        """Record channels and threads."""

        def record() -> None:
            with self.repository.write_lock:
                self.repository.upsert_channels(channels)
                for guild_id in {channel.guild_id for channel in channels}:
                    self._inclusion.pop(guild_id, None)  # a channel may have moved below one that is left out

        if channels:
            await asyncio.to_thread(record)

    async def guild_ids(self) -> list[int]:
        """Return every server that is remembered."""
        return await asyncio.to_thread(self.repository.guild_ids)

    async def channels(self, guild_id: int) -> list[ChannelInfo]:
        """Return the channels and threads of a server that the memory knows."""
        return await asyncio.to_thread(self.repository.channels, guild_id)

    async def remember(self, messages: Sequence[IncomingMessage], *, mark_seen: bool = True) -> int:
        """Commit messages and return; they are embedded in the background. Returns how many are new or changed.

        Messages of channels that are not remembered, of people who opted out and of deleted ids are dropped.
        ``mark_seen`` is off for messages that arrive while older ones of their channel are still being fetched.

        Raises:
            StorageError: nothing was written.
        """
        saved = await asyncio.to_thread(self._remember, messages, mark_seen)
        return saved

    def _remember(self, messages: Sequence[IncomingMessage], mark_seen: bool = True) -> int:
        with self.repository.write_lock:  # a channel that is left out meanwhile is left out of this
            wanted = [m for m in messages if self._included(m.guild_id, m.channel_id)]
            saved = self.repository.save(wanted, mark_seen=mark_seen)
            self._forget_changed(wanted, saved.changed)
        self._channel_reach.changed({message.channel_id for message in wanted})
        if saved.new or saved.changed:
            self._loop_call(self.ingest.notify)
            self._loop_call(self._notify_labels)
        return len(saved.new) + len(saved.changed)

    def _notify_labels(self) -> None:
        self.label_worker.notify()

    async def edit(self, message: IncomingMessage) -> bool:
        """Take in the new text of a message; its old text is gone when this returns."""
        return await self.remember([message]) > 0

    async def is_remembered(self, guild_id: int, channel_id: int) -> bool:
        """Return whether messages of a channel are remembered."""
        return await asyncio.to_thread(self._included, guild_id, channel_id)

    async def set_channel_included(self, guild_id: int, channel_id: int, included: bool) -> None:
        """Record an administrator's word on a channel; leaving one out erases what was remembered of it."""

        def record() -> None:
            with self.repository.write_lock:
                self.repository.set_included(guild_id, channel_id, included)
                self._inclusion.pop(guild_id, None)

        await asyncio.to_thread(record)
        if not included:
            await self.forget_channel(guild_id, channel_id, keep_record=True)

    async def last_seen(self, guild_id: int) -> dict[int, int]:
        """Map each channel to the newest message id seen in it."""
        return await asyncio.to_thread(self.repository.last_seen, guild_id)

    async def mark_seen(self, channel_id: int, message_id: int) -> None:
        """Move a channel's watermark forward."""
        await asyncio.to_thread(self.repository.mark_seen, channel_id, message_id)

    async def stored_versions(
        self, channel_id: int, first_id: int, last_id: int
    ) -> dict[int, tuple[str, dt.datetime | None]]:
        """Map the stored ids of a channel between two ids to ``(content, edited at)``, for catching up."""
        rows = await asyncio.to_thread(self.repository.stored_versions, channel_id, first_id, last_id)
        return {i: (content, None if ms is None else from_ms(ms)) for i, (content, ms) in rows.items()}

    async def backfill_cursor(self, channel_id: int) -> tuple[int | None, int | None]:
        """Return where a backfill of a channel stands and where it ends, or Nones."""
        return await asyncio.to_thread(self.repository.backfill_cursor, channel_id)

    async def set_backfill_cursor(self, channel_id: int, cursor: int | None, until: int | None) -> None:
        """Record where a backfill stands."""
        await asyncio.to_thread(self.repository.set_backfill_cursor, channel_id, cursor, until)

    # -- reading -------------------------------------------------------------------------------------------

    async def messages(self, message_ids: Collection[int], scope: Scope) -> list[StoredMessage]:
        """Return those messages that exist and lie in the scope now, in the order asked for."""
        found = await asyncio.to_thread(self.repository.messages, list(message_ids), scope)
        return [found[i] for i in message_ids if i in found]

    async def authors(self, scope: Scope, prefix: str, limit: int = 25) -> list[tuple[int, str]]:
        """Return people who wrote in the scope, the most active first."""
        return await asyncio.to_thread(self.repository.authors, scope, prefix, limit)

    async def reach(self, scope: Scope) -> Reach:
        """Return how far the memory reaches within a scope."""
        return await asyncio.to_thread(self._reach_of, scope)

    def _reach_of(self, scope: Scope) -> Reach:
        parts = self._channel_reach.of(scope.channel_ids)
        since = min((first for _, first in parts), default=None)
        return Reach(sum(count for count, _ in parts), len(parts), None if since is None else from_ms(since))

    # -- profiles and status -------------------------------------------------------------------------------

    def profiles(self) -> list[ProfileReport]:
        """Return every profile, with what this machine can run and why not the others."""
        with self.slot.acquire() as loadout:
            return profile_rules.report(self.profile_table, self.machine, loadout.profile.name)

    async def use_profile(self, name: str, progress: Progress | None = None) -> None:
        """Switch to a profile while requests in flight finish on the old one; the choice survives a restart.

        Raises:
            ProfileError: it does not exist, cannot run here, or its models failed to load; the old one goes on.
        """
        profile = profile_rules.choose_profile(self.profile_table, self.machine, name)
        if self._switching.locked():
            raise BadRequest("Another switch of the profile is under way; wait until it is done.")
        async with self._switching:
            if progress is not None:
                await progress(f"Loading the models of {name}", 0.0)
            loadout = await self._load(profile, tolerate_reranker=False)
            with self.slot.acquire() as current:
                same = current.indexes.same_as(loadout.indexes)
                if not same:
                    await self.ingest.reembed(loadout, progress)
                async with self.ingest.batch_lock:
                    current.indexes_fate = "keep" if same else "discard"
                    if same:
                        loadout.indexes = current.indexes
                    await asyncio.to_thread(self.slot.swap, loadout)
                    await asyncio.to_thread(self.repository.set_meta, PROFILE_KEY, name)
                    await asyncio.to_thread(self._queue_missing, loadout)
            self._problem = None
            self.ingest.notify()
            if progress is not None:
                await progress(f"Now using {name}", 1.0)

    async def status(self, guild_id: int | None = None) -> Status:
        """Return the state of the memory, of one server or of all."""
        with self.slot.acquire() as loadout:
            guilds = await asyncio.to_thread(self.repository.guild_ids) if guild_id is None else [guild_id]
            per_guild = [await self.channels(g) for g in guilds]
            scope = Scope({g: frozenset(c.id for c in found) for g, found in zip(guilds, per_guild, strict=True)})
            reach = await self.reach(scope)
            stats = loadout.indexes.stats()
            return Status(
                messages=reach.messages,
                channels=reach.channels,
                queue=await asyncio.to_thread(self.repository.queue_length),
                profile=loadout.profile.name,
                embedder=loadout.embedder.model_key,
                reranker=None if loadout.reranker is None else loadout.reranker.name,
                device=f"{loadout.profile.device} ({loadout.profile.dtype}){_busy(loadout.worker.health().busy_for)}",
                index=f"{stats.kind}: {stats.vectors:,} vectors, {stats.bytes / 2**20:.1f} MB",
                last_error=self.ingest.last_error or self.label_worker.last_error or self.last_recall_error,
                latency=self.latency.percentiles(),
                uptime=time.monotonic() - self._started,
                degraded=loadout.problem or self._problem,
                tokens_saved=self.tokens_saved,
            )


def _busy(seconds: float | None) -> str:
    """Return what to say of a model's call that has gone on for so long; a short one is not worth a word."""
    return "" if seconds is None or seconds < 1 else f", a call has been running for {seconds:.0f} s"


async def verify_service(service: MemoryService) -> Verification:
    """Compare the stores of a memory that runs, and the index that it searches with the vectors in the database."""
    with service.slot.acquire() as loadout:
        found = await asyncio.to_thread(verify_stores, service.repository)
        stray, lacking = await asyncio.to_thread(loadout.indexes.differences)
    return replace(found, stray_indexed=stray, lacking_indexed=lacking)
