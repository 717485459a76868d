"""The pairs of every source by name, and how often a batch comes from each."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from cogs.lab.datasets.changed_slots import changed_slots
from cogs.lab.datasets.conversations import ChatTurn, Conversation, Question, read_folder
from cogs.lab.datasets.generate_chats import generate_chats
from cogs.lab.datasets.generate_phrases import Told, phrase_chats
from cogs.lab.datasets.multilingual import ALL_NAMES, ntrex
from cogs.lab.training.embedder.pairs import CUT_SHARE, PASSAGE, QUERY, Pair, pairs_of

PARALLEL: Final = ("en", "es", "de", "ru", "zh", "ar")
"""Languages whose questions are trained on, each also with the turns of another one."""
SHARES: Final = {
    "friendsqa": 11.0,
    "molweni": 6.0,
    "irc": 9.0,
    "qmsum": 3.0,
    "hindsight": 1.0,
    "chat": 13.0,
    "jaquad": 5.0,
    "cmrc": 4.0,
    "kdconv": 4.0,
    "across": 9.0,
    "ntrex": 9.0,
    "phrases": 16.0,
    "sgd": 3.0,
    **{f"xquad-{language}": 1.7 for language in PARALLEL},
    "xpersona-en": 5.0,
    "xpersona-fr": 1.6,
    "xpersona-id": 1.8,
    "xpersona-it": 1.2,
    "xpersona-ja": 1.8,
    "xpersona-zh": 1.6,
}
GOES_ON: Final = frozenset({"friendsqa", "molweni", "chat", "kdconv", "phrases"})
"""Sources in which a turn goes with the one before it (beside ``xpersona``)."""
ARTICLES: Final = 260
CHATS: Final = 260
PHRASES: Final = 40
UNUSED_LINES: Final = 20
"""Sentences of ``ntrex`` at the beginning that are not trained on."""
SAMPLES: Final = 4


def pools(sets: Path, public: Path, seed: int = 11) -> dict[str, list[Pair]]:
    """Return the pairs of what lies in ``sets`` (converted) and ``public`` (as published), by source."""
    rng = random.Random(seed)
    found: dict[str, list[Pair]] = {}
    for name in SHARES:
        if (sets / f"{name}-train").is_dir():
            conversations = read_folder(sets / f"{name}-train")
            if name == "jaquad":
                rng.shuffle(conversations)
                conversations = conversations[:ARTICLES]
            found[name] = _all(conversations, rng, name in GOES_ON or name.startswith("xpersona"))
    found["chat"] = _all(generate_chats(CHATS, "train", 77), rng, replies=True)
    found["phrases"] = _all((_with_lesser(told) for told in phrase_chats(PHRASES, "train", 5)), rng, True, 0.0)
    if (public / "sgd").is_dir():
        found["sgd"] = _all((_with_lesser(told) for told in changed_slots(public, "train")), rng, False, 0.3)
    by_language = {
        language: read_folder(sets / f"xquad-{language}-train")
        for language in PARALLEL
        if (sets / f"xquad-{language}-train").is_dir()
    }
    if len(by_language) > 1:
        found["across"] = list(across(by_language, rng))
    if (public / "ntrex").is_dir():
        found["ntrex"] = list(parallel_sentences(ntrex(public), rng))
    return {name: rows for name, rows in found.items() if rows}


def across(by_language: dict[str, list[Conversation]], rng: random.Random) -> Iterator[Pair]:
    """Yield each question with its answer in another language; the negative is of the question's own language."""
    asked: dict[str, dict[str, tuple[Question, ChatTurn, Conversation]]] = {}
    for language, conversations in by_language.items():
        asked[language] = {
            question.id: (question, {turn.id: turn for turn in conversation.turns}[question.positives[0]], conversation)
            for conversation in conversations
            for question in conversation.questions
        }
    for first, rows in asked.items():
        for key, (question, own, conversation) in rows.items():
            second = rng.choice([language for language in asked if language != first and key in asked[language]])
            answer = asked[second][key][1]
            others = [turn for turn in conversation.turns if turn.id not in question.positives]
            near = [turn for turn in others if _paragraph(turn) == _paragraph(own)]
            wrong = rng.choice(near or others)
            yield Pair(
                QUERY + question.text,
                PASSAGE + f"{answer.author}: {answer.text}",
                PASSAGE + f"{wrong.author}: {wrong.text}",
                frozenset({answer.text, own.text}),
                conversation.id.rsplit("-", 1)[-1],
            )


def parallel_sentences(lines: dict[str, list[str]], rng: random.Random) -> Iterator[Pair]:
    """Yield sentences with the same in another language; the negative is a neighbour in the sentence's own."""
    languages = sorted(lines)
    whole = min(len(rows) for rows in lines.values())
    for place in range(UNUSED_LINES, whole):
        same = frozenset(lines[language][place] for language in languages)
        for _ in range(SAMPLES):
            first, second = rng.sample(languages, 2)
            beside = min(max(place + rng.choice((-2, -1, 1, 2)), UNUSED_LINES), whole - 1)
            one, other = rng.sample(ALL_NAMES, 2)
            if beside != place and lines[first][place] and lines[second][place]:
                yield Pair(
                    QUERY + lines[first][place],
                    PASSAGE + f"{one}: {lines[second][place]}",
                    PASSAGE + f"{other}: {lines[first][beside]}",
                    same,
                    str(place // 8),
                )


def _all(
    conversations: Iterable[Conversation], rng: random.Random, replies: bool, cut: float = CUT_SHARE
) -> list[Pair]:
    return [pair for conversation in conversations for pair in pairs_of(conversation, rng, replies, cut)]


def _with_lesser(told: Told) -> Conversation:
    """Return the conversation with what answered once as neither right nor wrong."""
    questions = tuple(
        replace(question, ignored=(*question.ignored, *told.lesser.get(question.id, ())))
        for question in told.conversation.questions
    )
    return replace(told.conversation, questions=questions)


def _paragraph(turn: ChatTurn) -> str:
    return turn.id.rsplit("-", 1)[0]
