"""A loadout: the models of one profile, loaded on their device, and the indexes that belong to its embedder."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, cast

from cogs.memory.embedding.service import EmbeddingService
from cogs.memory.errors import MnemeError, ProfileError
from cogs.memory.inference.device_worker import DeviceWorker
from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.inference.profiles import MemoryProfile, keeping_to_memory
from cogs.memory.models.catalogue import find, is_remote, sources
from cogs.memory.reranker_service import RerankerService
from cogs.memory.rerankers.score_cache import ScoreCache
from cogs.memory.storage.images import ImageStore
from cogs.memory.storage.repository import Repository
from cogs.memory.vector_store.guild_indexes import GuildIndexes

MODEL_ERRORS = (RuntimeError, ValueError, OSError, MemoryError, KeyError, ImportError, TypeError)
"""What a model or its files can raise; anything else is a defect of ours and must be seen as one."""


@dataclass
class Loadout:
    """Models of a profile in use. ``problem`` says why there is no reranker where the profile wants one."""

    profile: MemoryProfile
    embedder: EmbeddingService
    reranker: RerankerService | None
    worker: DeviceWorker
    indexes: GuildIndexes
    cache: ScoreCache = field(default_factory=ScoreCache)
    images: ImageStore | None = None
    problem: str | None = None
    indexes_fate: Literal["close", "keep", "discard"] = "close"

    @property
    def sees_images(self) -> bool:
        """Whether one of the models takes the images of messages into account."""
        return self.embedder.sees_images or (self.reranker is not None and self.reranker.sees_images)

    def forget(self, message_ids: Collection[int]) -> None:
        """Drop what was computed or fetched for messages and is kept outside the database."""
        self.cache.drop_messages(message_ids)
        if self.images is not None:
            self.images.forget(message_ids)

    def close(self) -> None:
        """Free the models; called when the last request has left.

        The indexes are written and closed, kept because the next loadout goes on with them, or discarded with their
        files because the next one embeds differently: what nobody keeps level with deletions must not lie around.
        """
        if self.indexes_fate == "discard":
            self.indexes.discard()
        elif self.indexes_fate == "close":
            self.indexes.close()
        if self.reranker is not None:
            self.reranker.close()
        self.embedder.close()


@dataclass(frozen=True)
class LoadoutFactory:
    """Loads profiles. Synchronous: it runs on the device's worker."""

    repository: Repository
    data_dir: Path
    models_dir: Path
    specs: dict[str, RerankerSpec]
    snapshots: bool = True
    api_key: str | None = field(default=None, repr=False)
    trusted: frozenset[str] = frozenset()

    def load(self, profile: MemoryProfile, worker: DeviceWorker, *, tolerate_reranker: bool) -> Loadout:
        """Load a profile's embedder, then its reranker.

        ``tolerate_reranker`` keeps the embedder where the reranker fails, and says so in ``problem``.

        Raises:
            ProfileError: a model failed to load; the sentence says which and why.
        """
        with keeping_to_memory(profile):
            return self._load(profile, worker, tolerate_reranker)

    def rerankers_here(self) -> list[str]:
        """Return the names of the rerankers whose models are on this machine."""
        names = []
        for name, spec in self.specs.items():
            folders = [find(model_id, revision, self.models_dir) for model_id, revision in sources(spec)]
            if not is_remote(spec) and all(folder is not None for folder in folders):
                names.append(name)
        return names

    def reranker(self, profile: MemoryProfile, name: str) -> RerankerService:
        """Return one reranker, loaded on a profile's device; whoever asks closes it.

        Raises:
            RerankerUnavailable: it is not here, or cannot run on this machine.
        """
        service = RerankerService(profile, name, specs=self.specs, options=self._options(profile), cache=ScoreCache())
        service.load()
        return service

    def _options(self, profile: MemoryProfile) -> LoadOptions:
        images = ImageStore(self.data_dir / "attachments", self.repository.database)
        return replace(
            profile.load_options(self.models_dir),
            images=images,
            api_key=self.api_key,
            trust_remote_code=self.trusted,
            passages=self.repository.passages,
        )

    def _load(self, profile: MemoryProfile, worker: DeviceWorker, tolerate_reranker: bool) -> Loadout:
        options = self._options(profile)
        try:
            embedder = EmbeddingService.from_name(profile.embedder, options)
            embedder.load()
        except (MnemeError, *MODEL_ERRORS) as error:
            raise ProfileError(
                f"The profile {profile.name} cannot be used: its embedder {profile.embedder} failed to load ({error})."
            ) from error
        reranker, problem, cache = None, None, ScoreCache()
        if profile.reranker is not None:
            try:
                reranker = RerankerService(profile, profile.reranker, specs=self.specs, options=options, cache=cache)
                reranker.load()
            except (RerankerUnavailable, *MODEL_ERRORS) as error:
                problem = f"the reranker {profile.reranker} failed to load: {error}"
                reranker = None
                if not tolerate_reranker:
                    embedder.close()
                    raise ProfileError(f"The profile {profile.name} cannot be used: {problem}") from error
        indexes = GuildIndexes(
            self.repository,
            embedder.model_key,
            embedder.dim,
            self.data_dir / "indexes",
            profile.index,
            snapshots=self.snapshots,
        )
        return Loadout(profile, embedder, reranker, worker, indexes, cache, cast("ImageStore", options.images), problem)
