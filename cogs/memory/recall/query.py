"""What a query asks for beside its words: people it names, a time it speaks of. Pure."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from cogs.memory.recall.dates import time_hints
from cogs.memory.recall.names import named_in, without_names
from cogs.memory.text.terms import keyword_query

LEAST_WHOLE = 0.4
REPEATED = 5
"""The same letter so many times is no word of any language."""
_UNSAID = re.compile(r"[b-df-hj-np-tv-xz]{4}|^[^aeiouy]+$")
_MENTION = re.compile(r"<@!?[0-9]+>")


@dataclass(frozen=True, slots=True)
class QueryInfo:
    """A query, understood. ``names`` are authors that it names, ``during`` the time that it speaks of.

    ``terms`` are its distinct telling terms; ``name_terms`` those among them that name an author; ``meaning`` is the
    query without those names. ``names_share`` is the share of the messages in its scope that these authors wrote.
    """

    query: str
    names: frozenset[str] = frozenset()
    during: tuple[dt.datetime, dt.datetime] | None = None
    terms: tuple[str, ...] = field(default=())
    name_terms: frozenset[str] = frozenset()
    meaning: str = ""
    names_share: float = 0.0

    @property
    def telling(self) -> tuple[str, ...]:
        """The terms that are no author's name; all of them where there is nothing else."""
        return tuple(term for term in self.terms if term not in self.name_terms) or self.terms


def says_nothing(query: str) -> bool:
    """Tell whether a query holds nothing to look for: no letter or digit, or one letter over and over."""
    said = [character for character in query.casefold() if character.isalnum()]
    return not said or (len(said) >= REPEATED and len(set(said)) == 1)


def is_no_word(term: str) -> bool:
    """Tell whether a term of the Latin script can hardly be said: no vowel, or many consonants on end."""
    return term.isascii() and term.isalpha() and len(term) >= REPEATED and _UNSAID.search(term) is not None


def repeats(query: str, content: str) -> bool:
    """Tell whether a message says the words of the query and no others, mentions aside."""
    asked = _words(query)
    return bool(asked) and _words(_MENTION.sub(" ", content)) == asked


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def analyse(query: str, authors: Sequence[str], now: dt.datetime) -> QueryInfo:
    """Return what a query asks for, given the people who wrote in its scope."""
    named = named_in(query, authors)
    return QueryInfo(
        query,
        named.authors,
        time_hints(query, now),
        tuple(keyword_query(query)),
        named.terms,
        without_names(query, named),
    )


def whole_weight(names_share: float) -> float:
    """Return what the vector of the whole query weighs beside that of the query without names, which weighs 1.

    A name in the vector finds what its owner wrote, which helps where many write and says nothing where two do.
    """
    return max(LEAST_WHOLE, 1.0 - names_share)
