"""People who are named in a text: by Discord's mention, by a bare id, by "@Name" as exports write it. Pure.

Every expression reads a text once, from left to right.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final

SOMEBODY: Final = "@someone"
"""Stands where somebody was named who is not to be named."""
NAME_WORDS: Final = 4
NAME_CHARACTERS: Final = 40
"""Discord's names have 32 characters at most; an export may add a discriminator."""
_IDS = re.compile(r"<@!?(\d{1,20})>|(?<!\d)(\d{15,20})(?!\d)")
_WORD = re.compile(r"\S+")
_CLOSING = ".,;:!?)]}'\"*_~|"


def ids_in(text: str) -> set[int]:
    """Return every id that a text mentions or holds bare."""
    return {int(mention or bare) for mention, bare in _IDS.findall(text)}


def without_ids(text: str, ids: Collection[int]) -> str:
    """Return a text in which nobody of ``ids`` is mentioned or told by their bare id."""

    def named(match: re.Match[str]) -> str:
        return SOMEBODY if int(match[1] or match[2]) in ids else match[0]

    return _IDS.sub(named, text)


def names_in(text: str) -> set[str]:
    """Return what may be a name after each "@", in lower case: one word, two words and so on."""
    return {name.casefold() for start in _ats(text) for name, _ in _names_from(text, start)}


def without_names(text: str, names: Collection[str]) -> str:
    """Return a text in which none of ``names`` (in lower case) stands after an "@"; the longest that fits goes."""
    parts: list[str] = []
    done = 0
    for start in _ats(text):
        if start < done:
            continue
        fitting = [end for name, end in _names_from(text, start) if name.casefold() in names]
        if fitting:
            parts += [text[done:start], SOMEBODY]
            done = max(fitting)
    return "".join([*parts, text[done:]])


def lines_of(text: str) -> set[str]:
    """Return the lines of a text that may be a name by themselves, in lower case: an embed's author stands so."""
    return {line.strip().casefold() for line in text.splitlines() if 0 < len(line.strip()) <= NAME_CHARACTERS}


def _ats(text: str) -> Iterator[int]:
    start = text.find("@")
    while start >= 0:
        yield start
        start = text.find("@", start + 1)


def _names_from(text: str, at: int) -> Iterator[tuple[str, int]]:
    """Yield each possible name after an "@", with where it ends."""
    part = text[at + 1 : at + 1 + NAME_CHARACTERS]
    if not part or part[0].isspace():
        return
    for count, word in enumerate(_WORD.finditer(part)):
        if count == NAME_WORDS:
            return
        for cut in _cuts(part[: word.end()]):
            yield cut, at + 1 + len(cut)


def _cuts(name: str) -> Iterator[str]:
    """Yield a possible name with and without the punctuation that follows it."""
    yield name
    bare = name.rstrip(_CLOSING)
    if bare and bare != name:
        yield bare
