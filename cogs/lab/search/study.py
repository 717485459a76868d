"""The comparison behind the search: ``python -m cogs.lab.search.study SOURCES OUT``.

On development data only: what is embedded, what names do, how the stages are fused, what neighbours add. SOURCES holds
the public sets of :mod:`cogs.lab.datasets.sources`; OUT gets ``search-table.md`` and ``search.json``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cogs.lab.datasets.conversations import ChatTurn, Conversation, read_folder
from cogs.lab.datasets.sources import friendsqa, irc, joined, molweni, qmsum
from cogs.lab.evaluation.metrics import bootstrap
from cogs.lab.evaluation.report import as_markdown
from cogs.lab.search.first_stage import BM25
from cogs.lab.search.learn_fusion import ADDED, UNDATED, Judged, judged_lists, learn, with_share
from cogs.memory.embedding.service import EmbeddingService
from cogs.memory.inference.model_specs import LoadOptions
from cogs.memory.recall.fusion import SIGNALS, load_weights
from cogs.memory.recall.pipeline import embedded
from cogs.memory.recall.pool import Floats
from cogs.memory.recall.query import analyse
from config.settings import PROJECT_DIR

QUESTIONS = 250
NAMES = ("author_named", "author_rarity", "other_author", "mention", "mention_rarity", "named_first_person")
NEIGHBOURS = (
    "keyword_before",
    "keyword_after",
    "cosine_before",
    "cosine_after",
    "coverage_beside",
    "author_beside",
    "cosine_starter",
    "answers_cosine",
)
FORM = ("length", "question", "question_coverage", "time_asked", "number_asked")
Scores = Callable[[Judged], Floats]
Figures = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Asked:
    """One question: the signals of its candidates, its number of relevant turns, and whole-conversation orders."""

    lists: Judged
    relevant: int
    whole: Mapping[str, tuple[float, float]]


def average_precision(scores: Floats, relevant: np.ndarray[tuple[int], np.dtype[np.bool_]], total: int) -> Floats:
    """Return ``(average precision, recall at 50)``; what was no candidate counts as not found."""
    hits = relevant[np.argsort(-scores, kind="stable")]
    ranks = np.arange(1, len(hits) + 1)
    return np.array([(hits * np.cumsum(hits) / ranks).sum() / total, hits[:50].sum() / total], dtype=np.float64)


EMBEDDED: dict[str, Callable[[ChatTurn, ChatTurn | None], str]] = {
    "embedded: text": lambda turn, before: turn.text,
    "embedded: author and text": lambda turn, before: f"{turn.author}: {turn.text}",
    "embedded: author, text, turn before": lambda turn, before: (
        f"{turn.author}: {turn.text}" + (f"\n(after {before.author}: {before.text[:200]})" if before else "")
    ),
}


def asked(conversation: Conversation, embedder: EmbeddingService) -> Iterator[Asked]:
    """Yield the questions of a conversation with everything that is compared."""
    turns = conversation.turns
    pairs = list(zip(turns, [None, *turns], strict=False))
    vectors = {name: embedder.embed_passages([text(*pair) for pair in pairs]) for name, text in EMBEDDED.items()}
    authors = sorted({turn.author for turn in turns})
    infos = [analyse(question.text, authors, UNDATED) for question in conversation.questions]
    queries = np.stack([embedded(embedder, with_share(info, conversation)) for info in infos])
    whole = np.stack([embedder.embed_query(question.text) for question in conversation.questions])
    keyword = {
        "keywords: text": BM25([turn.text for turn in turns]),
        "keywords: author and text": BM25([f"{turn.author}: {turn.text}" for turn in turns]),
    }
    lists = judged_lists(conversation, vectors["embedded: author and text"], queries)
    for question, vector, uncut, row in zip(conversation.questions, queries, whole, lists, strict=True):
        wanted = np.array([turn.id in question.positives for turn in turns])
        kept = np.array([turn.id not in question.ignored for turn in turns])
        total = max(1, int(wanted.sum()))
        orders = {name: found @ vector for name, found in vectors.items()}
        orders["embedded: author and text, asked with names"] = vectors["embedded: author and text"] @ uncut
        orders |= {name: index.scores(question.text) for name, index in keyword.items()}
        places = {}
        for name, scores in orders.items():
            precision, recall = average_precision(scores[kept].astype(np.float64), wanted[kept], total)
            places[name] = (float(precision), float(recall))
        yield Asked(row, total, places)


def _column(row: Judged, name: str) -> Floats:
    return np.asarray(row.signals[:, SIGNALS.index(name)], dtype=np.float64)


def _ranks(scores: Floats) -> Floats:
    return np.argsort(np.argsort(-scores, kind="stable"), kind="stable").astype(np.float64) + 1


def _normalised(row: Judged) -> Floats:
    return 0.5 * _column(row, "keyword") + 0.5 * _column(row, "cosine")


def _filtered(row: Judged) -> Floats:
    return _normalised(row) - 10 * _column(row, "other_author")


def fusions(train: Sequence[Judged]) -> dict[str, Scores]:
    """Return the ways to fuse that are compared, by name; the learned ones are learned on ``train``."""

    def weighed(weights: Floats) -> Scores:
        return lambda row: np.asarray(row.signals @ weights, dtype=np.float64)

    def without(*names: str) -> Scores:
        dropped = [SIGNALS.index(name) for name in names]
        cut = [Judged(_zeroed(row.signals, dropped), row.relevant) for row in train]
        return weighed(_zeroed(learn(cut)[None, :], dropped)[0] + _added(names))

    return {
        "reciprocal rank fusion": lambda row: (
            1 / (60 + _ranks(_column(row, "keyword"))) + 1 / (60 + _ranks(_column(row, "cosine")))
        ),
        "normalised scores": _normalised,
        "normalised scores, author boost 0.1": lambda row: _normalised(row) + 0.1 * _column(row, "author_named"),
        "normalised scores, author as filter": _filtered,
        "learned, no names": without(*NAMES, "author_beside"),
        "learned, no neighbours": without(*NEIGHBOURS),
        "learned, no form": without(*FORM),
        "learned on FriendsQA alone": weighed(learn(train)),
        "learned, as shipped": weighed(load_weights().vector()),
    }


def _added(dropped: Sequence[str]) -> Floats:
    return np.array([0.0 if name in dropped else ADDED.get(name, 0.0) for name in SIGNALS])


def _zeroed(signals: Floats, columns: Sequence[int]) -> Floats:
    copy = signals.copy()
    copy[:, columns] = 0
    return copy


def study(sets: Mapping[str, Sequence[Asked]], ways: Mapping[str, Scores]) -> dict[str, Figures]:
    """Return ``{way: {set: {"MAP", "low", "high", "R@50"}}}``."""
    found: dict[str, Figures] = {}
    for name, rows in sets.items():
        for way in (*rows[0].whole, *ways):
            values = np.array(
                [
                    row.whole[way]
                    if way in row.whole
                    else average_precision(ways[way](row.lists), row.lists.relevant, row.relevant)
                    for row in rows
                ]
            )
            span = bootstrap(values[:, 0])
            found.setdefault(way, {})[name] = {
                "MAP": span.mean,
                "low": span.low,
                "high": span.high,
                "R@50": float(values[:, 1].mean()),
            }
    return found


def markdown(found: Mapping[str, Figures], counts: Mapping[str, int]) -> str:
    """Return the table: MAP with its 95 % interval, and R@50."""
    head = ["", *(f"{name} ({count:,} questions)" for name, count in counts.items())]
    rows = [
        [way, *(f"{v['MAP']:.3f} ({v['low']:.3f}–{v['high']:.3f}), R@50 {v['R@50']:.3f}" for v in figures.values())]
        for way, figures in found.items()
    ]
    return as_markdown([head, *rows])


def development_sets(sources: Path, chats: Path | None) -> Iterator[tuple[str, list[Conversation]]]:
    """Yield the development sets; scenes and excerpts are joined into channels of a server's length."""
    yield "FriendsQA", list(joined(friendsqa(sources, "dev")))
    yield "Molweni", list(joined(molweni(sources, "dev")))
    yield "IRC", list(irc(sources, "dev"))
    yield "QMSum", list(qmsum(sources, "dev"))
    if chats is not None:
        yield "generated chats", read_folder(chats)


def spread(conversations: Sequence[Conversation], questions: int = QUESTIONS) -> Iterator[Conversation]:
    """Yield the conversations with about ``questions`` of their questions, evenly chosen."""
    step = max(1, sum(len(c.questions) for c in conversations) // questions)
    number = 0
    for conversation in conversations:
        chosen = tuple(q for i, q in enumerate(conversation.questions, number) if i % step == 0)
        number += len(conversation.questions)
        if chosen:
            yield Conversation(conversation.id, conversation.turns, chosen)


def main(sources: Path, out: Path, chats: Path | None = None) -> None:
    """Run the study and write it."""
    options = LoadOptions(models_dir=PROJECT_DIR / "data" / "cache" / "models", max_document_tokens=256, threads=1)
    embedder = EmbeddingService.from_name("minilm-l6", options)
    train = [row.lists for c in joined(friendsqa(sources, "train")) for row in asked(c, embedder)]
    sets = {
        name: [row for c in spread(conversations) for row in asked(c, embedder)]
        for name, conversations in development_sets(sources, chats)
    }
    found = study(sets, fusions(train))
    counts = {name: len(rows) for name, rows in sets.items()}
    out.mkdir(parents=True, exist_ok=True)
    (out / "search.json").write_text(json.dumps({"questions": counts, "ways": found}, indent=1) + "\n")
    (out / "search-table.md").write_text(markdown(found, counts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
