"""A profile's reranker as a zero-shot classifier, without a memory behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cogs.memory.errors import ProfileError
from cogs.memory.inference.profiles import Machine, choose_profile, load_profiles
from cogs.memory.ingest.labels import TEXT_CHARACTERS, classify
from cogs.memory.models.loadout import MODEL_ERRORS
from cogs.memory.reranker_service import RerankerService
from cogs.memory.rerankers.registry import load_specs
from cogs.memory.storage.labels import LabelInfo
from config.settings import Settings


@dataclass
class ZeroShot:
    """Scores labels for texts; use it in a ``with``."""

    reranker: RerankerService

    @classmethod
    def open(cls, settings: Settings, profile: str | None = None, reranker: str | None = None) -> ZeroShot:
        """Load the reranker of a profile, or one by name.

        Raises:
            ProfileError: there is no such profile or reranker, it has none, or it cannot be loaded.
        """
        table = load_profiles(settings.profiles_file)
        chosen = choose_profile(table, Machine.detect(), profile or settings.profile)
        name = reranker or chosen.reranker
        if name is None:
            raise ProfileError(f"The profile {chosen.name} has no reranker; name one with --reranker.")
        options = chosen.load_options(settings.models_folder)
        try:
            service = RerankerService(chosen, name, specs=load_specs(settings.rerankers_file), options=options)
            service.load()
        except MODEL_ERRORS as error:
            raise ProfileError(f"The reranker {name} cannot be loaded: {error}") from error
        return cls(service)

    @property
    def name(self) -> str:
        """The reranker's name."""
        return self.reranker.name

    def __enter__(self) -> ZeroShot:
        return self

    def __exit__(self, *error: object) -> None:
        self.reranker.close()

    def score(self, text: str, labels: Sequence[str]) -> list[float]:
        """Return the probability of each label for a text, whose first 1,000 characters are read."""
        infos = [LabelInfo(label, label) for label in labels]
        return classify(self.reranker, text[:TEXT_CHARACTERS], infos)
