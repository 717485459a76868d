"""Loading the models of a profile, and switching to another one while requests are answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from cogs.memory.errors import BadRequest, ProfileError
from cogs.memory.inference import profiles as profile_rules
from cogs.memory.inference.device_worker import DeviceWorker, Priority
from cogs.memory.inference.model_slot import ModelSlot
from cogs.memory.inference.profiles import Machine, MemoryProfile
from cogs.memory.ingest.worker import IngestWorker
from cogs.memory.models.loadout import Loadout, LoadoutFactory
from cogs.memory.records import ProfileReport
from cogs.memory.storage.repository import Repository

log = logging.getLogger(__name__)
Progress = Callable[[str, float], Awaitable[None]]
PROFILE_KEY = "profile"


class ProfileLoader:
    """Loads the models of a profile, each on the worker of its device.

    Args:
        repository: holds the profile that was chosen last.
        table: the profiles by name.
        factory: loads the models of one.
        wanted: the profile that the settings name, if any.
    """

    def __init__(
        self, repository: Repository, table: dict[str, MemoryProfile], factory: LoadoutFactory, wanted: str | None
    ) -> None:
        self.table = table
        self.machine = Machine.detect()
        self._repository = repository
        self.factory = factory
        self._wanted = wanted
        self._workers: dict[str, DeviceWorker] = {}

    async def first(self) -> tuple[Loadout, str | None]:
        """Return the loadout to begin with, and what is wrong where it is not the first choice.

        Raises:
            ProfileError: the named profile cannot run here, or no profile's models can be loaded.
        """
        saved = await asyncio.to_thread(self._repository.meta.get, PROFILE_KEY)
        chosen = self.choose(self._wanted or (saved if saved in self.table else None))
        order = [chosen]
        if self._wanted is None:
            order += [p for p in self.table.values() if p is not chosen and not self.machine.why_not(p)]
        problems: list[str] = []
        for profile in order:
            # A profile that somebody named runs without its reranker rather than not at all; one that was only
            # guessed from the hardware gives way to the next.
            tolerate = self._wanted is not None or profile.name == saved
            try:
                loadout = await self.load(profile, tolerate_reranker=tolerate)
            except ProfileError as error:
                problems.append(str(error))
                log.warning("%s", error)
                continue
            return loadout, " ".join(problems) or None
        raise ProfileError(problems[0])

    def choose(self, name: str | None) -> MemoryProfile:
        """Return the named profile, or the best that this machine can run.

        Raises:
            ProfileError: it does not exist or cannot run here.
        """
        return profile_rules.choose_profile(self.table, self.machine, name)

    async def load(self, profile: MemoryProfile, *, tolerate_reranker: bool) -> Loadout:
        """Load the models of a profile.

        Raises:
            ProfileError: a model failed to load.
        """
        worker = self._workers.setdefault(profile.device, DeviceWorker(profile.device))
        return await worker.run(
            lambda: self.factory.load(profile, worker, tolerate_reranker=tolerate_reranker),
            priority=Priority.BACKGROUND,
        )

    def close(self) -> None:
        """End the devices' workers; not on the event loop."""
        for worker in self._workers.values():
            worker.close(5.0)


def queue_missing(repository: Repository, loadout: Loadout) -> None:
    """Queue what lacks a vector, or a passage, of the models in use."""
    repository.vectors.queue_missing(loadout.embedder.model_key)
    if loadout.reranker is not None and loadout.reranker.prepares:
        repository.passages.queue_missing(loadout.reranker.passage_form)


def retire(loadout: Loadout) -> None:
    """Close what a switch left behind; the last to leave may be the event loop, which must not wait for a disk."""
    try:
        asyncio.get_running_loop().run_in_executor(None, loadout.close)
    except RuntimeError:
        loadout.close()


class ProfileSwitch:
    """Puts another profile's models in place of those in use.

    Args:
        repository: keeps the choice over a restart.
        slot: the models in use.
        ingest: makes the vectors that the new embedder lacks.
        loader: loads the models.
        problem: why the first loadout is not the first choice.
    """

    def __init__(
        self,
        repository: Repository,
        slot: ModelSlot[Loadout],
        ingest: IngestWorker,
        loader: ProfileLoader,
        problem: str | None,
    ) -> None:
        self.problem = problem
        self._repository = repository
        self._slot = slot
        self._ingest = ingest
        self._loader = loader
        self._switching = asyncio.Lock()

    def profiles(self) -> list[ProfileReport]:
        """Return every profile, with what this machine can run and why not the others."""
        with self._slot.acquire() as loadout:
            return profile_rules.report(self._loader.table, self._loader.machine, loadout.profile.name)

    async def use_profile(self, name: str, progress: Progress | None = None) -> None:
        """Switch to a profile while requests in flight finish on the old one; the choice survives a restart.

        Raises:
            ProfileError: it does not exist, cannot run here, or its models failed to load; the old one goes on.
            BadRequest: another switch is under way.
        """
        profile = self._loader.choose(name)
        if self._switching.locked():
            raise BadRequest("Another switch of the profile is under way; wait until it is done.")
        async with self._switching:
            if progress is not None:
                await progress(f"Loading the models of {name}", 0.0)
            loadout = await self._loader.load(profile, tolerate_reranker=False)
            with self._slot.acquire() as current:
                same = current.indexes.same_as(loadout.indexes)
                if not same:
                    await self._ingest.reembed(loadout, progress)
                async with self._ingest.batch_lock:
                    current.indexes_fate = "keep" if same else "discard"
                    if same:
                        loadout.indexes = current.indexes
                    await asyncio.to_thread(self._slot.swap, loadout)
                    await asyncio.to_thread(self._repository.meta.set, PROFILE_KEY, name)
                    await asyncio.to_thread(queue_missing, self._repository, loadout)
            self.problem = None
            self._ingest.notify()
            if progress is not None:
                await progress(f"Now using {name}", 1.0)
