"""Pairs of a question and a turn, as the product embeds them, with a turn near by that does not answer."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from cogs.lab.datasets.conversations import ChatTurn, Conversation, Question

QUERY: Final = "query: "
PASSAGE: Final = "passage: "
REPLY_SHARE: Final = 0.2
"""The share of turns that carry the turn before them, as a reply carries what it answers."""
CUT_SHARE: Final = 0.5
"""The share of questions without the members' names, as the product searches with and without them."""
NEAR: Final = 40
LEAST_CHARACTERS: Final = 8
CONTEXT_CHARACTERS: Final = 200


@dataclass(frozen=True, slots=True)
class Pair:
    """A question, a turn that answers it and one that does not, all with their prefixes.

    ``same`` are texts of turns that answer too, or did once: they are no negatives. ``group`` is the conversation.
    """

    query: str
    passage: str
    negative: str
    same: frozenset[str] = field(default=frozenset())
    group: str = ""


def without_names(text: str, names: frozenset[str]) -> str:
    """Return a question without the names of those who speak; as it is where hardly anything else is left."""
    kept = [word for word in text.split() if _bare(word) not in names]
    return " ".join(kept) if len(kept) >= 2 else text


def _bare(word: str) -> str:
    return re.sub(r"['’]s$|\W+$", "", re.sub(r"^\W+", "", word))


def pairs_of(
    conversation: Conversation, rng: random.Random, replies: bool = False, cut: float = CUT_SHARE
) -> Iterator[Pair]:
    """Yield a pair for each question that has a turn to answer it.

    ``replies`` is for conversations in which a turn goes with the one before it; ``cut`` is the share of questions
    without names.
    """
    turns = conversation.turns
    places = {turn.id: index for index, turn in enumerate(turns)}
    names = frozenset(part for turn in turns for part in (turn.author, *turn.author.split()))
    for question in conversation.questions:
        known = [places[key] for key in question.positives if key in places]
        ignored = [places[key] for key in question.ignored if key in places]
        negative = _negative(question, known, ignored, turns, rng) if known else None
        if negative is None:
            continue
        asked = without_names(question.text, names) if rng.random() < cut else question.text
        yield Pair(
            QUERY + asked,
            PASSAGE + _text(turns, rng.choice(known), replies, rng),
            PASSAGE + _text(turns, negative, replies, rng),
            frozenset(turns[place].text for place in (*known, *ignored)),
            conversation.id,
        )


def _text(turns: Sequence[ChatTurn], place: int, replies: bool, rng: random.Random) -> str:
    said = f"{turns[place].author}: {turns[place].text}"
    if replies and place and rng.random() < REPLY_SHARE:
        before = turns[place - 1]
        said += f"\n(in reply to {before.author}: {before.text[:CONTEXT_CHARACTERS]})"
    return said


def _negative(
    question: Question, known: list[int], ignored: list[int], turns: Sequence[ChatTurn], rng: random.Random
) -> int | None:
    """Return a turn near by that shares the question's words or its author; never one right beside the evidence."""
    named = [place for place, turn in enumerate(turns) if turn.id in question.negatives]
    if named:
        return rng.choice(named)
    closed = {place for anchor in known for place in (anchor - 1, anchor, anchor + 1)} | set(ignored)
    anchor = rng.choice(known)
    window = range(max(0, anchor - NEAR), min(len(turns), anchor + NEAR + 1))
    free = [place for place in window if place not in closed and len(turns[place].text) > LEAST_CHARACTERS]
    if not free:
        return None
    words, authors = _grams(question.text), {turns[place].author for place in known}

    def likeness(place: int) -> float:
        shared = len(words & _grams(turns[place].text))
        return shared + 0.5 * (turns[place].author in authors) + 0.4 * rng.random()

    return rng.choice(sorted(free, key=likeness, reverse=True)[:3])


def _grams(text: str) -> set[str]:
    low = text.lower()
    words = {word[:6] for word in re.findall(r"[^\W_]{3,}", low)}
    return words | {low[place : place + 2] for place in range(len(low) - 1) if ord(low[place]) > 0x3000}
