"""What a keyword search asks of SQLite's index where more messages hold its words than can be ranked. Pure.

Every message with a word that is rare in the scope is ranked. Of frequent words, a message must hold several: as many
as still leave enough messages to rank. BM25 would put those messages first anyway.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

NEWEST: Final = 1_000
"""So many matches are looked at, the newest of the scope."""
WORDS_TOGETHER: Final = 5
"""Of so many frequent words, the rarest of them, several have to stand together."""
WALK: Final = 200_000
"""So many messages of frequent words are walked through: SQLite takes about 40 ns for each."""
LEAP: Final = 4
"""What finding the next message of a word within a few channels costs, beside walking through one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The terms of which one is enough, and those of which ``together`` have to stand in a message."""

    rare: tuple[str, ...]
    frequent: tuple[str, ...]
    together: int

    def questions(self) -> Iterable[tuple[str, str | None]]:
        """Yield what to ask SQLite's index, the most telling first; each later one is for want of results.

        The second of a pair asks for one more word: where there are more matches than are looked at, those that hold
        most might be among the others.
        """
        words = (*self.rare, *self.frequent)[:WORDS_TOGETHER]
        if self.rare:
            yield any_of(self.rare), at_least(2, words) if len(words) > 1 else None
        for count in range(self.together, 0, -1):
            first = count == self.together and count < len(self.frequent)
            yield at_least(count, self.frequent), at_least(count + 1, self.frequent) if first else None


def plan(documents: Mapping[str, int], total: int, size: int, wanted: int) -> Plan:
    """Return how to look for ``wanted`` messages of a scope.

    Args:
        documents: in how many messages of the whole database each term stands; at least in one.
        total: how many messages there are.
        size: how many of them lie in the scope; words are taken to be as frequent there as elsewhere.
        wanted: how many messages a question should find.
    """
    expected = {term: math.ceil(n * size / max(1, total)) for term, n in documents.items()}
    rare = [term for term in affordable(expected, NEWEST) if expected[term] <= NEWEST]
    frequent = sorted(documents.keys() - set(rare), key=lambda term: (documents[term], term))[:WORDS_TOGETHER]
    while len(frequent) > 1 and sum(min(documents[term], LEAP * size) for term in frequent) > WALK:
        frequent.pop()
    shares = [expected[term] / max(1, size) for term in frequent]
    return Plan(tuple(rare), tuple(frequent), words_together(shares, size, wanted))


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


def any_of(terms: Iterable[str]) -> str:
    """Return SQLite's full-text question for any of these terms."""
    return " OR ".join('"' + term.replace('"', '""') + '"' for term in terms)


def at_least(count: int, terms: Sequence[str]) -> str:
    """Return SQLite's full-text question for messages that hold so many of these terms or more.

    Raises:
        ValueError: there are not so many terms, or none has to be held.
    """
    if not 1 <= count <= len(terms):
        raise ValueError(f"no message holds {count} of {len(terms)} terms")
    if count == 1:
        return any_of(terms)
    first, rest = any_of(terms[:1]), terms[1:]
    with_first = f"({first} AND ({at_least(count - 1, rest)}))"
    return with_first if count > len(rest) else f"{with_first} OR ({at_least(count, rest)})"


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
