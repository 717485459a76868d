"""The members that a query names, in every script, and the query without their names. Pure.

A name says who, not what: left in the text that is embedded, it draws everything that its owner ever wrote. So it is
cut out of the vector's text, and fusion sees it as signals of its own. What is read here is read to rank, never to
filter, so a name that is taken for a word, or a word for a name, costs some order and hides nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cogs.memory.text.terms import STOP_WORDS, terms

_ALSO_WORDS = frozenset(
    terms(
        "will may mark art hope grace rose joy bill jack summer april june august dawn faith frank gene guy rich rob "
        "sue pat drew chase hunter sky sunny star angel dean duke earl king max miles nick pearl ray rusty sandy violet"
    )
)
"""Names that are also words: they count as names only where they are written as such inside a sentence."""
_WORD = re.compile(r"\w+", re.UNICODE)
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_HONORIFIC = re.compile("^(?:さん|くん|ちゃん|さま|様|氏|先生|君|桑|คุณ)")
_POSSESSIVE = re.compile(r"^['’](?:s|S)\b|^['’](?=\s|$)")
_ENGLISH = re.compile(
    r"\b(?:the|is|are|was|were|does|do|did|what|who|where|when|how|why|of|has|have|had|his|her|about|an?)\b",
    re.IGNORECASE,
)
_SUFFIXES = frozenset(
    "s n lle lla lta ssa sta ta en em es e i ia a om ovi owi u ja ju je ów in ın un ün nin nın da de dan den ya ye "
    "ra re nak nek val vel ot at et а у ом е ы и я ю ем ою ові ів на нің ның ға ге".split()
)
_AFTER_VOWEL = frozenset("y i e u ę ą o ou ie ze ii и ы е у ю ой ей о і ї єю ою ię".split())
_VOWELS = frozenset("aeiouyáéíóúаеиоуыяюіїє")
_HANGUL_ENDINGS = frozenset(
    "은 는 이 가 을 를 의 에게 한테 께 와 과 랑 이랑 도 만 씨 님 씨는 씨가 씨의 "
    "님은 님이 님의 이는 이가 이의 이네 네 야 아".split()
)
_PREFIXES = frozenset("و ل ب ك ف ול ל ב מ ש ה כ ו".split())


@dataclass(frozen=True, slots=True)
class Named:
    """The authors that a query names, their terms as they stand in it and as they write, and where it names them."""

    authors: frozenset[str] = frozenset()
    terms: frozenset[str] = frozenset()
    spans: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class _Token:
    start: int
    end: int
    folded: str
    term: str
    capital: bool


def named_in(query: str, authors: Sequence[str]) -> Named:
    """Return whom a query names, given the names under which people wrote in its scope."""
    tokens = [
        _Token(m.start(), m.end(), _folded(m.group()), next(iter(terms(m.group())), ""), m.group()[0].isupper())
        for m in _WORD.finditer(query)
    ]
    written = {token.term for token in tokens if token.capital and token.start}
    english = _ENGLISH.search(query) is not None
    found: set[str] = set()
    spans: set[tuple[int, int]] = set()
    firsts = {_folded(part) for author in authors for part in _WORD.findall(author)[:1]}
    for author in authors:
        places = _places(query, tokens, author, written, firsts, english)
        if places:
            found.add(author)
            spans.update(places)
    ordered = tuple(sorted(spans))
    called = frozenset(term for start, end in ordered for term in terms(query[start:end]))
    # "Annas Katze": what others wrote of her says "Anna".
    usual = frozenset(term for author in found for term in terms(author)[:1])
    return Named(frozenset(found), called | usual, ordered)


def without_names(query: str, named: Named) -> str:
    """Return the query without the names in it; the query itself where nothing telling would be left."""
    rest, position = [], 0
    for start, end in named.spans:
        if start >= position:
            rest.append(query[position:start])
        position = max(position, end)
        for ending in (_POSSESSIVE, _HONORIFIC):
            match = ending.match(query[position:])
            if match is not None:
                position += match.end()
    rest.append(query[position:])
    left = re.sub(r"\s+([?!.,;:？！。，])", r"\1", " ".join("".join(rest).split()))
    return left if any(term not in STOP_WORDS for term in terms(left)) else query


def _places(
    query: str, tokens: Sequence[_Token], author: str, written: set[str], firsts: set[str], english: bool
) -> list[tuple[int, int]]:
    """Return where a query names an author.

    Args:
        query: The question.
        tokens: Its words.
        author: The name under which somebody wrote.
        written: The terms that begin with a capital inside the query.
        firsts: The first names of all authors, folded: what is one of theirs is no inflected form of another.
        english: Whether the query is in English, which does not inflect names.
    """
    parts = _WORD.findall(author)
    if not parts:
        return []
    if _UNSPACED.search(parts[0]):
        return _unspaced(query, parts)
    stems = [terms(part)[0] for part in parts if terms(part)]
    if not stems:
        return []
    first = stems[0]
    a_word = first in _ALSO_WORDS or first in STOP_WORDS
    exact = [token for token in tokens if token.term == first and len(first) > 1]
    if a_word and first not in written:
        exact = []
    whole = len(stems) > 1 and set(stems) <= {token.term for token in tokens}
    if exact or whole:
        return [(t.start, t.end) for t in tokens if t.term in stems and (whole or t.capital or not a_word)]
    name = _folded(parts[0])
    return [
        (token.start, token.end)
        for token in tokens
        if token.folded not in firsts and _inflected(token, name, english=english)
    ]


def _unspaced(query: str, parts: Iterable[str]) -> list[tuple[int, int]]:
    """Return where a query holds a name that is written without spaces; of three characters two are the given name."""
    parts = list(parts)
    whole = "".join(parts)
    wanted = [whole, *(part for part in parts if len(part) > 1)]
    if len(parts) == 1 and len(whole) == 3 and "\u3400" <= whole[0] <= "\u9fff":
        wanted.append(whole[1:])
    for name in wanted:
        if len(name) > 1 and name in query:
            return [(match.start(), match.end()) for match in re.finditer(re.escape(name), query)]
    return []


def _inflected(token: _Token, name: str, *, english: bool) -> bool:
    """Return whether a word is a name with the ending of a case, or with what scripts join to its front."""
    word = token.folded
    if len(name) < 2 or word == name or english:
        return False
    if "\uac00" <= name[0] <= "\ud7a3":
        return word.startswith(name) and word[len(name) :] in _HANGUL_ENDINGS
    if "\u0590" <= name[0] <= "\u06ff":
        return len(name) > 2 and word.endswith(name) and word[: -len(name)] in _PREFIXES
    if not token.capital or len(name) < 3:
        return False
    if word.startswith(name):
        ending = word[len(name) :]
        return ending in _SUFFIXES and (len(name) > 3 or ending == "s")
    stem = name[:-1]
    return len(name) > 3 and name[-1] in _VOWELS and word.startswith(stem) and word[len(stem) :] in _AFTER_VOWEL


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold())
