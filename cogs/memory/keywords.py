"""Keywords: the terms under which a message is found by its words. Pure.

Scripts that are written without spaces are indexed as pairs of characters, so that two Chinese characters are found;
accents are folded, compatibility forms normalised, English plurals and verb endings cut off lightly.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence

K1, B = 1.2, 0.75
"""BM25's usual constants."""
PLACE = "\ue000"
"""Begins a channel's term: a character of private use, which the full-text index keeps and :func:`terms` never."""
_WORD = re.compile(r"\w+", re.UNICODE)
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)
_COMMON = (
    "a an the and or but if of to in on at by for with from as is are was were be been being do does did have has had "
    "i you he she it we they me him her us them my your his its our their this that these those there here what which "
    "who whom whose when where why how not no so than then too very can will would could should just about during any "
    "s t d ll m re ve"
)
MAX_TERMS = 64


def _folded(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFC", "".join(c for c in decomposed if not unicodedata.combining(c)))


def _stem(word: str) -> str:
    """Cut the commonest English endings, the same way in the index and in the query."""
    if len(word) < 4 or not word.isascii() or not word.isalpha():
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    for ending in ("ing", "ed"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) >= 3:
            return stem[:-1] if len(stem) > 3 and stem[-1] == stem[-2] and stem[-1] not in "ls" else stem
    if word.endswith("es") and word[-3] in "sxz":
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def terms(text: str) -> list[str]:
    """Return the terms of a text in order, repetitions included."""
    found: list[str] = []
    for word in _WORD.findall(_folded(text)):
        position = 0
        for run in _UNSPACED.finditer(word):
            if run.start() > position:
                found.append(_stem(word[position : run.start()]))
            characters = run.group()
            found.extend(characters[i : i + 2] for i in range(max(1, len(characters) - 1)))
            position = run.end()
        if position < len(word):
            found.append(_stem(word[position:].strip("_") or word[position:]))
    return found


STOP_WORDS = frozenset(_COMMON.split()) | frozenset(terms(_COMMON))
"""Terms that tell nothing of a query, as they are written and as they are stemmed ("does" becomes "doe")."""


def keyword_text(text: str) -> str:
    """Return what the full-text index holds of a text: its terms, separated by spaces."""
    return " ".join(terms(text))


def keyword_query(query: str) -> list[str]:
    """Return the distinct terms that a query asks for; its stop words only where there is nothing else."""
    distinct = list(dict.fromkeys(terms(query)))
    telling = [term for term in distinct if term not in STOP_WORDS]
    return (telling or distinct)[:MAX_TERMS]


def place(channel_id: int) -> str:
    """Return the term under which the index finds a channel's messages; no text and no name can spell it."""
    return f"{PLACE}{channel_id:x}"


def idf(documents: int, total: int) -> float:
    """Return how much a term tells that stands in so many of all documents: BM25's formula, made to stay above 0."""
    return math.log(1 + (max(0, total - documents) + 0.5) / (documents + 0.5))


def ranked(bodies: Sequence[tuple[int, str]], rarity: Mapping[str, float], limit: int) -> list[tuple[int, float]]:
    """Return ``(id, BM25)`` of the documents that hold a term, the best first; of equal ones the newer first.

    Args:
        bodies: ``(id, terms with spaces between them)`` of documents.
        rarity: each term that is looked for, with its :func:`idf`.
        limit: how many to return.
    """
    split = [(number, body.split()) for number, body in bodies]
    average = sum(len(words) for _, words in split) / max(1, len(split))
    scored = []
    for number, words in split:
        norm = K1 * (1 - B + B * len(words) / average)
        counts = [(weight, words.count(term)) for term, weight in rarity.items()]
        score = sum(weight * count * (K1 + 1) / (count + norm) for weight, count in counts)
        if score:
            scored.append((number, score))
    return sorted(scored, key=lambda pair: (-pair[1], -pair[0]))[:limit]
