"""A query in its conversation: "what did she say about it?" means what the turns before it say. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cogs.memory.records import Turn
from cogs.memory.text.terms import STOP_WORDS, terms

_POINTS_BACK = re.compile(
    r"\b(?:he|she|it|they|him|her|them|his|hers|its|their|theirs|that|this|those|these|there|then|one|same|again)\b",
    re.IGNORECASE,
)
_GOES_ON = re.compile(r"^\s*(?:and|but|so|or|what about|how about|why|when|where|who)\b", re.IGNORECASE)
TURNS = 3
TURN_CHARACTERS = 200
FEW = 2
"""A question with no more telling terms than this, which goes on from something, cannot stand alone."""


def points_back(query: str) -> bool:
    """Return whether a query speaks of something that was said before it."""
    telling = [term for term in terms(query) if term not in STOP_WORDS]
    # A long question that also says "it" explains itself: what it adds from before would only be noise.
    if _POINTS_BACK.search(query):
        return len(telling) <= 5
    return len(telling) <= FEW and _GOES_ON.match(query) is not None


def conversation_query(query: str, turns: Sequence[Turn]) -> str:
    """Return the query with the last turns before it, where it points back at them."""
    if not turns or not points_back(query):
        return query
    said = "\n".join(f"{turn.author_name}: {turn.content[:TURN_CHARACTERS]}" for turn in turns[-TURNS:])
    return f"{said}\n{query}"
