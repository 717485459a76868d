"""Learn the weights of fusion: ``python -m cogs.lab.search.learn_fusion SOURCES [EMBEDDER]``.

Trained on the training parts of FriendsQA, whose scenes are joined into channels of some hundred messages, because a
channel on a server is long and a scene is not, of Molweni and of generated chats in English; for an embedder that reads
them, of chats in thirteen languages as well. Each set weighs the same. A list-wise softmax over the candidates of a
question, then a logistic fit that makes the score of the first stage a probability. Deterministic.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from cogs.lab.datasets.conversations import ChatTurn, Conversation
from cogs.lab.datasets.dataset import read_time
from cogs.lab.datasets.generate_chats import generate_chats
from cogs.lab.datasets.generate_phrases import phrase_chats
from cogs.lab.datasets.sources import friendsqa, joined, molweni
from cogs.lab.search.first_stage import BM25
from cogs.memory.embedding.service import EmbeddingService
from cogs.memory.embedding.specs import MINILM
from cogs.memory.inference.model_specs import LoadOptions
from cogs.memory.recall.fusion import SIGNALS, WEIGHTS_FILE, signals
from cogs.memory.recall.pipeline import embedded
from cogs.memory.recall.pool import Floats, FusionMessage, Pool
from cogs.memory.recall.query import QueryInfo, analyse
from cogs.memory.recall.search import DEPTH
from cogs.memory.storage.connection import to_ms
from cogs.memory.text.model_input import PARENT_CHARACTERS
from cogs.memory.text.terms import terms
from config.settings import PROJECT_DIR

L2 = 1e-3
ADDED = {"coverage_title": 2.0, "title": 1.5, "title_starter": 3.0}
"""What these sets cannot teach: they have no threads with titles."""
CHATS, PHRASE_CHATS = 40, 4
LEAST_LISTS = 600
AT_MOST = {"in_period": 3.0}
"""What the generated chats, whose questions always mean the time that they name, teach too well."""
UNDATED = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Judged:
    """The signals of a question's candidates, shape (candidates, signals), and which of them are relevant."""

    signals: Floats
    relevant: npt.NDArray[np.bool_]


def judged_lists(conversation: Conversation, passages: Vectors, queries: Vectors) -> Iterator[Judged]:
    """Yield the signals for each question, from candidates as the product takes them: the best of both searches.

    Args:
        conversation: Turns and questions.
        passages: Unit vectors of the turns, shape (turns, dim).
        queries: Unit vectors of the questions, shape (questions, dim).
    """
    turns = conversation.turns
    place = {turn.id: i for i, turn in enumerate(turns)}
    lexical = BM25([f"{turn.author}: {turn.text}" for turn in turns])
    words = [" ".join(terms(turn.text)) for turn in turns]
    moments = [read_time(turn.timestamp) for turn in turns]
    times = [None if moment is None else to_ms(moment) for moment in moments]
    previous, following = {i: i - 1 for i in range(1, len(turns))}, {i: i + 1 for i in range(len(turns) - 1)}
    replies = [None if turn.reply_to is None else place.get(turn.reply_to) for turn in turns]
    authors = sorted({turn.author for turn in turns})
    newest = max((moment for moment in moments if moment is not None), default=read_time("2024-01-01"))
    assert newest is not None
    for question, vector in zip(conversation.questions, queries, strict=True):
        cosines = passages @ vector
        keyword = lexical.scores(question.text)
        found = [i for i in np.argsort(-keyword, kind="stable")[:DEPTH].tolist() if keyword[i] > 0]
        ids = sorted({*found, *np.argsort(-cosines, kind="stable")[:DEPTH].tolist()})
        pool = Pool(
            ids,
            {
                i: FusionMessage(words[i], float(cosines[i]), t.author, t.text, times[i], replies[i])
                for i, t in enumerate(turns)
            },
            previous,
            following,
        )
        ignored = {place[i] for i in question.ignored if i in place}
        relevant = {place[i] for i in question.positives if i in place}
        kept = [row for row, i in enumerate(ids) if i not in ignored]
        info = analyse(question.text, authors, read_time(question.asked_at) or newest)
        yield Judged(signals(info, pool)[kept], np.array([ids[row] in relevant for row in kept]))


def learn(lists: Sequence[Judged], l2: float = L2) -> Floats:
    """Return one weight per signal: the list-wise softmax loss with ``l2`` on weights of standardized signals."""
    usable = [row for row in lists if row.relevant.any()]
    spread = np.concatenate([row.signals for row in usable]).std(0)
    spread[spread < 1e-9] = np.inf  # a signal that never varies has nothing to teach
    inputs = [row.signals / spread for row in usable]
    targets = [row.relevant / row.relevant.sum() for row in usable]

    def loss(weights: Floats) -> tuple[float, Floats]:
        value, gradient = 0.0, np.zeros_like(weights)
        for x, y in zip(inputs, targets, strict=True):
            z = x @ weights
            z -= z.max()
            p = np.exp(z) / np.exp(z).sum()
            value -= float((y * np.log(p + 1e-12)).sum())
            gradient += x.T @ (p - y)
        return value / len(inputs) + l2 * float(weights @ weights), gradient / len(inputs) + 2 * l2 * weights

    found = minimize(loss, np.zeros(len(SIGNALS)), jac=True, method="L-BFGS-B")
    return np.asarray(found.x / spread, dtype=np.float64)


def to_probability(lists: Sequence[Judged], weights: Floats) -> tuple[float, float]:
    """Return ``scale`` and ``bias`` of the logistic curve that fits relevance best."""
    total = np.concatenate([row.signals @ weights for row in lists])
    label = np.concatenate([row.relevant for row in lists])

    def loss(values: Floats) -> float:
        z = values[0] * total + values[1]
        return float(np.logaddexp(0, np.where(label, -z, z)).mean())

    found = minimize(loss, np.array([1.0, -float(np.mean(total)) - 4]), method="Nelder-Mead")
    return float(found.x[0]), float(found.x[1])


def mean_average_precision(lists: Sequence[Judged], weights: Floats) -> float:
    """Return MAP over the candidates, of the questions that have a relevant one among them."""
    values = []
    for row in lists:
        if row.relevant.any():
            hits = row.relevant[np.argsort(-(row.signals @ weights), kind="stable")]
            values.append(float((hits * np.cumsum(hits) / np.arange(1, len(hits) + 1)).sum() / hits.sum()))
    return float(np.mean(values))


def lists_of(conversations: Iterable[Conversation], embedder: EmbeddingService) -> list[Judged]:
    """Embed conversations as the product does and return the signals of all their questions."""
    found: list[Judged] = []
    for conversation in conversations:
        if conversation.questions:
            turns = {turn.id: turn for turn in conversation.turns}
            passages = embedder.embed_passages(
                [spoken(turn, turns.get(turn.reply_to or "")) for turn in conversation.turns]
            )
            authors = sorted({turn.author for turn in conversation.turns})
            infos = [analyse(question.text, authors, UNDATED) for question in conversation.questions]
            queries = np.stack([embedded(embedder, with_share(info, conversation)) for info in infos])
            found += judged_lists(conversation, passages, queries)
    return found


def with_share(info: QueryInfo, conversation: Conversation) -> QueryInfo:
    """Return a query with the share of the turns that those whom it names wrote."""
    wrote = sum(turn.author in info.names for turn in conversation.turns)
    return replace(info, names_share=wrote / len(conversation.turns))


def spoken(turn: ChatTurn, parent: ChatTurn | None) -> str:
    """Return what the product embeds of a turn."""
    text = f"{turn.author}: {turn.text}"
    return text if parent is None else f"{text}\n(in reply to {parent.author}: {parent.text[:PARENT_CHARACTERS]})"


def training_sets(sources: Path, *, english: bool) -> dict[str, list[Conversation]]:
    """Return the conversations to learn from, by set; the ``english`` ones alone, or those of other languages too."""
    sets = {
        "FriendsQA": list(joined(friendsqa(sources, "train"))),
        "Molweni": list(joined(molweni(sources, "train"))),
        "chats": list(generate_chats(CHATS, "train", 7)),
    }
    if not english:
        sets["multichat"] = list(joined(told.conversation for told in phrase_chats(PHRASE_CHATS, "train", 7)))
    return sets


def balanced(sets: Mapping[str, Sequence[Judged]]) -> list[Judged]:
    """Return the lists of all sets, evenly thinned to as many of each."""
    most = max(LEAST_LISTS, min(len(lists) for lists in sets.values()))
    return [lists[i * len(lists) // most] for lists in sets.values() for i in range(min(most, len(lists)))]


def main(sources: Path, embedder_name: str = "minilm-l6") -> None:
    """Learn from the training parts under ``sources`` and write the weights that the product reads."""
    options = LoadOptions(models_dir=PROJECT_DIR / "data" / "cache" / "models", max_document_tokens=256)
    embedder = EmbeddingService.from_name(embedder_name, options)
    chosen = training_sets(sources, english=embedder_name == MINILM.name)
    sets = {name: lists_of(conversations, embedder) for name, conversations in chosen.items()}
    train = balanced(sets)
    development = lists_of(joined(friendsqa(sources, "dev")), embedder)
    file = WEIGHTS_FILE if embedder_name == MINILM.name else WEIGHTS_FILE.with_name(f"fusion-{embedder_name}.json")
    write(learn(train), train, file)
    weights = json.loads(file.read_text(encoding="utf-8"))["weights"]
    order = np.array([weights[name] for name in SIGNALS])
    print(f"MAP over candidates: training {mean_average_precision(train, order):.3f}, ", end="")
    print(f"FriendsQA, development {mean_average_precision(development, order):.3f}")


def write(weights: Floats, train: Sequence[Judged], file: Path = WEIGHTS_FILE) -> None:
    """Write learned weights, with what is :data:`ADDED` to them and the curve to a probability."""
    named = {
        name: min(value + ADDED.get(name, 0.0), AT_MOST.get(name, np.inf))
        for name, value in zip(SIGNALS, weights.tolist(), strict=True)
    }
    scale, bias = to_probability(train, np.array([named[name] for name in SIGNALS]))
    rounded = {name: round(value, 4) for name, value in named.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    about = (
        "Weights of the first stage's fusion, learned by cogs.lab.search.learn_fusion; see data/evaluation/search.md."
    )
    file.write_text(
        json.dumps({"about": about, "weights": rounded, "scale": round(scale, 4), "bias": round(bias, 4)}, indent=1)
        + "\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
