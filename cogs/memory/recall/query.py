"""What a query asks for beside its words: people it names, a time it speaks of. Pure."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from cogs.memory.recall.dates import time_hints
from cogs.memory.text.terms import STOP_WORDS, keyword_query, terms

_ALSO_WORDS = frozenset(
    terms(
        "will may mark art hope grace rose joy bill jack summer april june august dawn faith frank gene guy rich rob "
        "sue pat drew chase hunter sky sunny star angel dean duke earl king max miles nick pearl ray rusty sandy violet"
    )
)
"""Names that are also words: they count as names only where they are written as such inside a sentence."""
_ASKING = frozenset("who whom whose what when where why which how".split())
_MENTION = re.compile(r"<@!?[0-9]+>")


@dataclass(frozen=True, slots=True)
class QueryInfo:
    """A query, understood. ``names`` are authors that it names, ``during`` the time that it speaks of.

    ``terms`` are its distinct telling terms; ``name_terms`` those among them that name an author.
    """

    query: str
    names: frozenset[str] = frozenset()
    during: tuple[dt.datetime, dt.datetime] | None = None
    terms: tuple[str, ...] = field(default=())
    name_terms: frozenset[str] = frozenset()

    @property
    def telling(self) -> tuple[str, ...]:
        """The terms that are no author's name; all of them where there is nothing else."""
        return tuple(term for term in self.terms if term not in self.name_terms) or self.terms


def repeats(query: str, content: str) -> bool:
    """Tell whether a message says the words of the query and no others, mentions aside."""
    asked = _words(query)
    return bool(asked) and _words(_MENTION.sub(" ", content)) == asked


def asks(query: str) -> bool:
    """Tell whether a query is a question, by its mark or its first word."""
    first = next(iter(_words(query)), "")
    return query.rstrip().endswith(("?", "？")) or first in _ASKING


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def analyse(query: str, authors: Sequence[str], now: dt.datetime) -> QueryInfo:
    """Return what a query asks for, given the people who wrote in its scope."""
    words = set(terms(query))
    written = _written_as_names(query)
    named: set[str] = set()
    name_terms: set[str] = set()
    for author in authors:
        parts = terms(author)
        first = parts[0] if parts else ""
        called = first in words and len(first) > 1
        if called and (first in _ALSO_WORDS or first in STOP_WORDS):
            called = first in written
        if called or (len(parts) > 1 and set(parts) <= words):
            named.add(author)
            name_terms |= set(parts) & words
    return QueryInfo(
        query, frozenset(named), time_hints(query, now), tuple(keyword_query(query)), frozenset(name_terms)
    )


def _written_as_names(query: str) -> set[str]:
    """Return the terms that begin with a capital inside a sentence."""
    return {term for match in re.finditer(r"(?<=[\w,;] )[A-Z]\w*", query) for term in terms(match.group())}
