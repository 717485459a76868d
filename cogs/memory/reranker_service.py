"""RerankerService: profile → one of ``rerankers/``, batches, cache, and ``rerank_score`` on every candidate."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.inference.profiles import MemoryProfile
from cogs.memory.records import PreparedPassage
from cogs.memory.rerankers.base import Document, Reranker, Score
from cogs.memory.rerankers.registry import load_reranker, load_specs
from cogs.memory.rerankers.score_cache import CacheKey, ScoreCache
from config.settings import CONFIG_DIR, PROJECT_DIR

EXIT_STEP = 10
"""Candidates that are scored between two looks at whether the best are settled."""
KEEP_NOTHING = -1
"""In place of the cache's number of drops: what is scored does not enter it."""


class RerankerService:
    """Rescores candidates with the reranker of a profile.

    ``profile`` says where and how it runs, ``reranker_model`` names an entry of ``config/rerankers.yaml`` or a local
    folder. Nothing is loaded before :meth:`load` or the first call. Not thread-safe: the device's worker calls it.

    Args:
        profile: where and how it runs.
        reranker_model: an entry of ``config/rerankers.yaml``, or a local folder.
        specs: the entries by name; those of the file by default.
        options: how a model is loaded; what the profile says by default.
        cache: scores that were computed before; an empty cache by default.
    """

    def __init__(
        self,
        profile: MemoryProfile,
        reranker_model: str,
        *,
        specs: Mapping[str, RerankerSpec] | None = None,
        options: LoadOptions | None = None,
        cache: ScoreCache | None = None,
    ) -> None:
        specs = load_specs(CONFIG_DIR / "rerankers.yaml") if specs is None else specs
        if reranker_model not in specs:
            raise RerankerUnavailable(
                f"There is no reranker {reranker_model!r} in rerankers.yaml; `python bot.py models list` shows them."
            )
        self.profile = profile
        self.spec = specs[reranker_model]
        self.cache = cache if cache is not None else ScoreCache()
        models_dir = PROJECT_DIR / "data" / "runtime" / "models"
        self._options = options if options is not None else profile.load_options(models_dir)
        self._reranker: Reranker | None = None

    @property
    def name(self) -> str:
        """The reranker's name in ``rerankers.yaml``."""
        return self.spec.name

    @property
    def score_field(self) -> str:
        """The candidate's field that this format judges: its bare ``content``, or ``rendered`` with who and when."""
        return str(self.spec.options.get("score_field", "rendered"))

    def load(self) -> None:
        """Load the model.

        Raises:
            RerankerUnavailable: it is not here, incomplete, or cannot run on this machine.
        """
        if self._reranker is None:
            self._reranker = load_reranker(self.spec, self._options)

    def close(self) -> None:
        """Free the model."""
        if self._reranker is not None:
            self._reranker.close()
            self._reranker = None

    def rerank_results(
        self,
        query: str,
        candidates: list[dict[str, Any]],
        score_field: str = "content",
        top_k: int | None = None,
        drops: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return a new list of copies, sorted by ``rerank_score``, the best first; equal scores keep their order.

        Each copy gains ``rerank_score`` (a probability), ``rerank_raw`` (the format's own number), and ``evidence``
        and ``contribution`` where the format has them. The given dictionaries are left as they are. With a ``top_k``
        and a profile that allows an early exit, candidates that were not scored are left out. ``drops`` is the cache's
        number from before the candidates were read, so that nothing is kept of what has been forgotten since.

        Args:
            query: the question.
            candidates: what was found; left as it is.
            score_field: the key of a candidate's text.
            top_k: how many results are wanted; all by default.
            drops: the cache's number from before the candidates were read, so that no score is kept of what was
                forgotten since.

        Raises:
            RerankerUnavailable: the model cannot be loaded. An error of the model itself passes through: a failed
                rerank has no scores, and never the score 0.
        """
        drops = self.cache.drops if drops is None else drops
        alone = self._scores_until_settled(query, candidates, score_field, top_k, drops)
        scores = self._among(query, candidates[: len(alone)], alone, score_field)
        scored = [
            {
                **candidate,
                "rerank_score": score.probability,
                "rerank_raw": score.raw,
                "evidence": score.evidence,
                "contribution": score.contribution,
            }
            for candidate, score in zip(candidates, scores, strict=False)
        ]
        scored.sort(key=lambda candidate: -candidate["rerank_score"])
        return scored if top_k is None else scored[:top_k]

    def _scores_until_settled(
        self, query: str, candidates: Sequence[dict[str, Any]], score_field: str, top_k: int | None, drops: int
    ) -> list[Score]:
        """Score all candidates, or, where the profile allows it, stop when the best ``top_k`` will hardly change.

        The candidates come in the first stage's order, so those still to come are rarely better than the part that
        was scored last: once the best of that part lies below the ``top_k``-th score by the tolerance, the rest is
        left. That is a bet and no bound; ``early_exit`` is how much it wants to win by, 0 being the boldest.
        """
        tolerance = self.profile.early_exit
        if tolerance is None or top_k is None or len(candidates) <= max(top_k, EXIT_STEP):
            return self._compute_rerank_scores(query, candidates, score_field, drops)
        scores: list[Score] = []
        while len(scores) < len(candidates):
            step = candidates[len(scores) : len(scores) + EXIT_STEP]
            fresh = self._compute_rerank_scores(query, step, score_field, drops)
            scores += fresh
            kept = sorted((score.probability for score in scores), reverse=True)[:top_k]
            if len(scores) >= top_k and max(score.probability for score in fresh) < kept[-1] - tolerance:
                break
        return scores

    def _among(
        self, query: str, candidates: Sequence[dict[str, Any]], alone: Sequence[Score], score_field: str
    ) -> list[Score]:
        """Let the format look at all scores of a question together; they are not cached, for they are this list's."""
        if self._reranker is None or not alone:
            return list(alone)
        return self._reranker.among(query, [to_document(candidate, score_field) for candidate in candidates], alone)

    @property
    def explains(self) -> bool:
        """Whether the format writes evidence."""
        return self._reranker is not None and type(self._reranker).explain is not Reranker.explain

    def explain(self, query: str, candidates: Sequence[dict[str, Any]], score_field: str = "content") -> list[Score]:
        """Return the scores of candidates that were reranked, with evidence where the format generates it."""
        self.load()
        assert self._reranker is not None
        documents = [to_document(candidate, score_field) for candidate in candidates]
        scores = [Score(candidate["rerank_score"], candidate["rerank_raw"]) for candidate in candidates]
        return self._reranker.explain(query, documents, scores)

    @property
    def prepares(self) -> bool:
        """Whether the loaded format computes passages ahead of queries."""
        return self._reranker is not None and self._reranker.prepares

    @property
    def passage_form(self) -> str:
        """What the keys of the loaded format's passages begin with."""
        return "" if self._reranker is None else self._reranker.passage_form

    @property
    def sees_images(self) -> bool:
        """Whether the images of messages take part in the loaded format's scores."""
        return self._reranker is not None and self._reranker.sees_images

    def prepare(self, candidates: Sequence[Mapping[str, Any]]) -> list[PreparedPassage]:
        """Return what the format computes of candidates ahead of any query, in their order."""
        self.load()
        assert self._reranker is not None
        return self._reranker.prepare([to_document(candidate, self.score_field) for candidate in candidates])

    def _compute_rerank_scores(
        self, query: str, candidates: Sequence[Mapping[str, Any]], score_field: str, drops: int
    ) -> list[Score]:
        """Format, tokenize and score, a bounded batch at a time; what was scored before comes from the cache."""
        self.load()
        assert self._reranker is not None
        documents = [to_document(candidate, score_field) for candidate in candidates]
        keys = [self._key(query, document) for document in documents]
        scores = [self.cache.get(key) for key in keys]
        missing = [i for i, score in enumerate(scores) if score is None]
        if missing:
            fresh = self._reranker.score(query, [documents[i] for i in missing])
            if not all(math.isfinite(score.probability) for score in fresh):
                raise RuntimeError("the reranker gave a score that is no number")
            if len(fresh) != len(missing):
                raise RuntimeError(f"{self.name} returned {len(fresh)} scores for {len(missing)} documents")
            for i, score in zip(missing, fresh, strict=True):
                scores[i] = score
                self.cache.put(keys[i], score, documents[i].message_id, drops)
        return [score for score in scores if score is not None]

    def _key(self, query: str, document: Document) -> CacheKey:
        spec = self.spec
        model = f"{spec.name}@{spec.revision}#{spec.instruction}#{self._options.dtype}"
        seen = repr(
            (
                document.text,
                document.author,
                document.timestamp,
                document.context,
                document.kind,
                document.start,
                document.end,
                document.images,
                document.prior if self._reranker is not None and self._reranker.uses_prior else None,
            )
        )
        return (
            model,
            hashlib.blake2b(query.encode(errors="replace"), digest_size=16).digest(),
            hashlib.blake2b(seen.encode(errors="replace"), digest_size=16).digest(),
        )


def to_document(candidate: Mapping[str, Any], score_field: str) -> Document:
    """Return what a format may render of a candidate; ``score_field`` names its text.

    Raises:
        KeyError: the candidate has no such field.
    """
    timestamp = candidate.get("timestamp")
    if isinstance(timestamp, str):
        timestamp = dt.datetime.fromisoformat(timestamp)
    return Document(
        text=str(candidate[score_field]),
        author=candidate.get("author"),
        channel=candidate.get("channel"),
        timestamp=timestamp,
        start=candidate.get("start", timestamp),
        end=candidate.get("end"),
        kind=candidate.get("kind"),
        context=candidate.get("context"),
        images=tuple(Path(image) for image in candidate.get("images", ())),
        message_id=candidate.get("id"),
        prior=candidate.get("prior"),
    )
