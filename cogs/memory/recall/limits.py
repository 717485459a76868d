"""What a question may be, whoever asks: checked before any model, index or database is touched. Pure."""

from __future__ import annotations

from cogs.memory.errors import BadRequest

QUERY_CHARACTERS = 1000
MAX_LIMIT = 50


def checked_query(text: str) -> str:
    """Return a query without control characters.

    Raises:
        BadRequest: nothing is left, or it is longer than :data:`QUERY_CHARACTERS`.
    """
    query = " ".join("".join(c if c.isprintable() or c.isspace() else " " for c in text).split())
    if not query:
        raise BadRequest("Say what to look for: the query is empty.")
    if len(query) > QUERY_CHARACTERS:
        raise BadRequest(f"The query has {len(query):,} characters; shorten it to {QUERY_CHARACTERS:,} or fewer.")
    return query
