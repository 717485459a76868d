"""What the keyword index holds of a message, whichever database it lies in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa

from cogs.memory.records import Filters, Scope
from cogs.memory.text.terms import keyword_text


@dataclass(frozen=True, slots=True)
class Keywords:
    """What the index holds of a message: its terms and its author's, with spaces between them, and where it stands."""

    message_id: int
    body: str
    author: str
    channel_id: int
    guild_id: int


def keywords_of(row: Mapping[Any, Any]) -> Keywords:
    """Return what the index holds of a row of ``messages``."""
    names = " ".join(str(attachment["filename"]) for attachment in row["attachments"])
    body = keyword_text(f"{row['content']} {row['embed_text']} {names}")
    return Keywords(row["id"], body, keyword_text(row["author_name"]), row["channel_id"], row["guild_id"])


class KeywordStore(Protocol):
    """The keyword index, and the search in it.

    Of a person it keeps the terms of their messages and of their name, in the row of each message; they go with the
    message (:meth:`delete`), and an export has them as the message's text.
    """

    def candidates(self, terms: Sequence[str], scope: Scope, filters: Filters, limit: int) -> list[tuple[int, float]]:
        """Return ``(message id, relevance)`` of messages that hold any of ``terms``, best first.

        Relevance is BM25 (positive, greater is better). Where very many messages hold the words, those that hold a
        rare one, or several of the frequent ones, are ranked, the newest of them if they are still too many.
        """

    def write(self, db: sa.Connection, rows: Sequence[Keywords]) -> None:
        """Index messages; the caller deleted what stood there before."""

    def delete(self, db: sa.Connection, message_ids: Collection[int]) -> None:
        """Take messages out of the keyword index."""
