"""Keywords: the terms under which a message is found by its words. Pure.

Scripts that are written without spaces are indexed as pairs of characters, so that two Chinese characters are found;
accents are folded, compatibility forms normalised, English plurals and verb endings cut off lightly.
"""

from __future__ import annotations

import re
import unicodedata

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
FOLDS_KEPT = 20_000


class _Folds(dict[int, str]):
    """Maps a character to what is left of it without accents and compatibility forms; bounded.

    Character by character, because normalising a text with a long run of combining marks takes quadratic time.
    """

    def __missing__(self, character: int) -> str:
        decomposed = unicodedata.normalize("NFKD", chr(character))
        folded = "".join(c for c in decomposed if not unicodedata.combining(c))
        if len(self) >= FOLDS_KEPT:
            self.clear()
        self[character] = folded
        return folded


_FOLDS = _Folds()


def _folded(text: str) -> str:
    text = text.casefold()
    return text if text.isascii() else unicodedata.normalize("NFC", text.translate(_FOLDS))


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
