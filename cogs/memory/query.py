"""What a query asks for beside its words: people it names, a time it speaks of, the conversation it stands in. Pure."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from cogs.memory.keywords import terms
from cogs.memory.records import Turn

_POINTS_BACK = re.compile(
    r"\b(he|she|it|they|him|her|them|his|hers|its|their|that|this|those|these|there|then|one|same)\b", re.IGNORECASE
)
TURNS = 3
TURN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class QueryInfo:
    """A query, understood. ``names`` are authors that it names, ``during`` the time that it speaks of."""

    query: str
    names: frozenset[str] = frozenset()
    during: tuple[dt.datetime, dt.datetime] | None = None
    terms: tuple[str, ...] = field(default=())


def analyse(query: str, authors: Sequence[str], now: dt.datetime) -> QueryInfo:
    """Return what a query asks for, given the people who wrote in its scope."""
    words = set(terms(query))
    named = frozenset(name for name in authors if (parts := terms(name)) and (parts[0] in words or set(parts) <= words))
    return QueryInfo(query, named, None, tuple(terms(query)))


def conversation_query(query: str, turns: Sequence[Turn]) -> str:
    """Return the query with the last turns before it, where it points back at them ("what did she say about it?")."""
    if not turns or not _POINTS_BACK.search(query):
        return query
    said = "\n".join(f"{turn.author_name}: {turn.content[:TURN_CHARACTERS]}" for turn in turns[-TURNS:])
    return f"{said}\n{query}"
