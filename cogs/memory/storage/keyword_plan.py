"""What a keyword search asks of the index where more messages hold its words than can be ranked. Pure.

Every message with a word that is rare in the scope is ranked. Of frequent words, a message must hold several: as many
as still leave enough messages to rank. BM25 would put those messages first anyway.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

NEWEST: Final = 1_000
"""How many matches are ranked; where a scope has more, its newest ones."""
WORDS_TOGETHER: Final = 5
"""Of so many frequent words, the rarest of them, several have to stand together."""
WALK: Final = 200_000
"""So many messages of frequent words are walked through: SQLite takes about 40 ns for each."""
LEAP: Final = 4
"""What finding the next message of a word within a few channels costs, beside walking through one."""


class Writing(Protocol):
    """How a question to an index is written."""

    def any_of(self, terms: Collection[str]) -> str:
        """Return the question for any of these terms."""

    def both(self, first: str, second: str) -> str:
        """Return the question for both, as one operand; ``first`` is one."""

    def either(self, first: str, second: str) -> str:
        """Return the question for either; ``first`` is an operand."""


class AsFts5:
    """How SQLite's full-text index is asked."""

    def any_of(self, terms: Collection[str]) -> str:
        """Return the question for any of these terms."""
        return " OR ".join('"' + term.replace('"', '""') + '"' for term in terms)

    def both(self, first: str, second: str) -> str:
        """Return the question for both."""
        return f"({first} AND ({second}))"

    def either(self, first: str, second: str) -> str:
        """Return the question for either."""
        return f"{first} OR ({second})"


FTS5: Final = AsFts5()


@dataclass(frozen=True, slots=True)
class Plan:
    """The terms of which one is enough, and those of which ``together`` have to stand in a message."""

    rare: tuple[str, ...]
    frequent: tuple[str, ...]
    together: int
    writing: Writing = FTS5

    def questions(self) -> Iterable[tuple[str, str | None]]:
        """Yield what to ask the index, the most telling first; each later one is for want of results.

        The second of a pair asks for one more word: where there are more matches than are looked at, those that hold
        most might be among the others.
        """
        words = (*self.rare, *self.frequent)[:WORDS_TOGETHER]
        if self.rare:
            yield any_of(self.rare, self.writing), at_least(2, words, self.writing) if len(words) > 1 else None
        for count in range(self.together, 0, -1):
            first = count == self.together and count < len(self.frequent)
            stricter = at_least(count + 1, self.frequent, self.writing) if first else None
            yield at_least(count, self.frequent, self.writing), stricter


def plan(documents: Mapping[str, int], total: int, size: int, wanted: int, writing: Writing = FTS5) -> Plan:
    """Return how to look for ``wanted`` messages of a scope.

    Args:
        documents: in how many messages of the whole database each term stands; at least in one.
        total: how many messages there are.
        size: how many of them lie in the scope; words are taken to be as frequent there as elsewhere.
        wanted: how many messages a question should find.
        writing: how the questions are written.
    """
    expected = {term: math.ceil(n * size / max(1, total)) for term, n in documents.items()}
    rare = [term for term in affordable(expected, NEWEST) if expected[term] <= NEWEST]
    frequent = sorted(documents.keys() - set(rare), key=lambda term: (documents[term], term))[:WORDS_TOGETHER]
    while len(frequent) > 1 and sum(min(documents[term], LEAP * size) for term in frequent) > WALK:
        frequent.pop()
    shares = [expected[term] / max(1, size) for term in frequent]
    return Plan(tuple(rare), tuple(frequent), words_together(shares, size, wanted), writing)


def affordable(documents: Mapping[str, int], most: int) -> list[str]:
    """Return the rarest terms, as many as stand in ``most`` documents together; always one that stands in any.

    Args:
        documents: in how many documents each term stands.
        most: how many documents a search may look at.
    """
    chosen: list[str] = []
    total = 0
    for term in sorted(filter(documents.get, documents), key=lambda term: (documents[term], term)):
        total += documents[term]
        if chosen and total > most:
            break
        chosen.append(term)
    return chosen


def any_of(terms: Collection[str], writing: Writing | None = None) -> str:
    """Return the question for any of these terms; SQLite's where nothing else is said."""
    return (writing or FTS5).any_of(terms)


def at_least(count: int, terms: Sequence[str], writing: Writing | None = None) -> str:
    """Return the question for messages that hold so many of these terms or more.

    Raises:
        ValueError: there are not so many terms, or none has to be held.
    """
    if not 1 <= count <= len(terms):
        raise ValueError(f"no message holds {count} of {len(terms)} terms")
    if count == 1:
        return any_of(terms, writing)
    how = writing or FTS5
    first, rest = any_of(terms[:1], writing), terms[1:]
    with_first = how.both(first, at_least(count - 1, rest, writing))
    return with_first if count > len(rest) else how.either(with_first, at_least(count, rest, writing))


def words_together(shares: Sequence[float], total: int, wanted: int) -> int:
    """Return how many words a message may have to hold while ``wanted`` of ``total`` messages do.

    Args:
        shares: the share of the messages that hold each word; they are taken as independent, which they are not: words
            of one topic stand together more often, so that rather more is found.
        total: how many messages there are.
        wanted: how many should be found. Where not even one word is held by so many, it is one.
    """
    holding = [1.0]  # holding[n]: the share of messages with n of the words so far
    for share in shares:
        without = [each * (1 - share) for each in holding] + [0.0]
        holding = [a + b * share for a, b in zip(without, [0.0, *holding], strict=True)]
    return max((n for n in range(1, len(holding)) if sum(holding[n:]) * total >= wanted), default=min(1, len(shares)))
