"""The directory of SQLite's full-text index, and what it must not keep of words that are forgotten.

FTS5's ``secure-delete`` takes a deleted word out of the pages of the index. But ``keywords_idx``, the directory that
says on which page of a segment a word is looked for, holds the beginning of the first word of each page (in the worst
case the whole of it), and keeps it when the word goes. An entry of a page may be any text that is greater than every
word before the page and not greater than any word on it, so an entry that begins no living word is replaced by the
next living one: every search and every later deletion finds its page as before (fts5_index.c, "%_idx").
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import sqlalchemy as sa

MAIN_INDEX: Final = b"0"
"""Begins every word of the index proper, and so every entry but the first of a segment, which is empty."""


def forget_in_directory(db: sa.Connection, words: Collection[str]) -> int:
    """Replace the entries that begin deleted words and no living one; return how many there were.

    Args:
        db: a transaction on SQLite in which the words' messages were deleted.
        words: the words that stood in them.
    """
    if not words:
        return 0
    beginnings = {
        MAIN_INDEX + whole[:length]
        for whole in (word.encode() for word in words)
        for length in range(1, len(whole) + 1)
    }
    # FTS5 writes what it deleted when somebody looks, and takes pages that became empty out of the directory itself.
    db.exec_driver_sql("SELECT term FROM temp.keyword_words LIMIT 1").fetchall()
    entries = db.exec_driver_sql("SELECT segid, term, pgno FROM keywords_idx ORDER BY segid, term").fetchall()
    changed, after = 0, (-1, b"")
    for segment, entry, page in reversed(entries):
        begun = bytes(entry)
        later, after = (after[1] if after[0] == segment else None), (segment, begun)
        if begun not in beginnings:
            continue
        following = _next_word(db, begun)
        if following is not None and following.startswith(begun):
            continue
        db.exec_driver_sql("DELETE FROM keywords_idx WHERE segid = ? AND term = ?", (segment, entry))
        # Where the next living word belongs to a later page, or there is none, no living word is on this one at all.
        if following is not None and (later is None or following < later):
            db.exec_driver_sql(
                "INSERT INTO keywords_idx(segid, term, pgno) VALUES (?, ?, ?)", (segment, following, page)
            )
            after = (segment, following)
        changed += 1
    return changed


def _next_word(db: sa.Connection, entry: bytes) -> bytes | None:
    """Return the least living word, as the index holds it, that is not less than an entry."""
    # An entry can end within a character; the words that begin with what is whole come first, and are looked through.
    whole = entry[1:].decode("utf-8", errors="ignore")
    query = "SELECT DISTINCT term FROM temp.keyword_words WHERE term >= ? LIMIT 64"
    last: str | None = whole
    while last is not None:
        found = [str(row[0]) for row in db.exec_driver_sql(query, (last,)).fetchall()]
        for word in found:
            if MAIN_INDEX + word.encode() >= entry:
                return MAIN_INDEX + word.encode()
        last = found[-1] + "\x00" if len(found) == 64 else None
    return None
