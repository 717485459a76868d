"""The part of a message that is shown for a query, with what matches told apart. Pure."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cogs.memory.text.sanitize import defused, discord_length, markdown, whole_links

_ELLIPSIS = "…"
_WORD = re.compile(r"[^\W_]+")
#: Thai, kana, Han: scripts without spaces between words.
_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_COMMON_WORDS = """a an and are at be been by did do does for from had has have he her his how i in is it its of on or
our she that the their them they this to us was we were what when where which who whom why will with you your"""
_COMMON = frozenset(_COMMON_WORDS.split())


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of plain text; ``match`` where it answers the query's words."""

    text: str
    match: bool = False


def excerpt(
    text: str,
    query: str,
    evidence: str | None = None,
    *,
    names: Mapping[int, str] | None = None,
    width: int = 280,
) -> tuple[Span, ...]:
    """Return about ``width`` characters of ``text`` around what matches the query, with the matches told apart.

    The part that the reranker gave as ``evidence`` is preferred where the text contains it. Runs of blank lines are
    closed up, and no link is cut in two. Highlighting compares words without case; in scripts without spaces it
    compares pairs of characters.

    Args:
        text: the message.
        query: the question whose words are highlighted.
        evidence: the part that the reranker gave, preferred where the text contains it.
        names: names for mentions, by id.
        width: characters, about.
    """
    text = re.sub(r"\n\s*\n+", "\n", re.sub(r"[ \t]+", " ", defused(text, names))).strip()
    matches = _matches(text, query)
    start, end = _window(text, matches, defused(evidence, names).strip() if evidence else "", width)
    spans = _split(text, start, end, matches)
    if start > 0:
        spans.insert(0, Span(_ELLIPSIS))
    if end < len(text):
        spans.append(Span(_ELLIPSIS))
    return tuple(spans)


def _window(text: str, matches: Sequence[tuple[int, int]], evidence: str, width: int) -> tuple[int, int]:
    if len(text) <= width:
        return 0, len(text)
    place = text.find(evidence) if evidence else -1
    start = place if place >= 0 else _densest(matches, width) - width // 6
    start = _word_start(text, max(0, min(start, len(text) - width)))
    start = whole_links(text, start)
    end = min(len(text), start + width)
    # A link that fills the whole window would leave nothing to show, so that one is cut.
    whole = whole_links(text, end)
    return start, whole if whole > start else end


def excerpt_markdown(spans: Sequence[Span], limit: int = 1024) -> str:
    """Return the excerpt escaped for Discord with its matches in bold, in at most ``limit`` characters."""
    if any(span.match and _in_link(spans, index) for index, span in enumerate(spans)):
        spans = [Span("".join(span.text for span in spans))]  # Bold inside a link would break the link.
    parts: list[str] = []
    used = 0
    for span in spans:
        escaped = markdown(span.text)
        piece = f"**{escaped}**" if span.match else escaped
        if used + discord_length(piece) > limit - 1:
            rest = fit(span.text, limit - used)
            return "".join(parts) + rest
        parts.append(piece)
        used += discord_length(piece)
    return "".join(parts)


def fit(text: str, limit: int) -> str:
    """Escape plain text for Discord and cut it to ``limit``, never inside an escape or a link."""
    escaped = markdown(text)
    if discord_length(escaped) <= limit:
        return escaped
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if discord_length(markdown(text[:middle])) < limit:
            low = middle
        else:
            high = middle - 1
    return markdown(text[: whole_links(text, low)]) + _ELLIPSIS


def _in_link(spans: Sequence[Span], index: int) -> bool:
    before = "".join(span.text for span in spans[:index])
    after = "".join(span.text for span in spans[index + 1 :])
    return "://" in re.split(r"\s", before)[-1] or after.startswith("://")


def _matches(text: str, query: str) -> list[tuple[int, int]]:
    """Return the (start, end) of the words of ``text`` that the query has too, in order, not overlapping."""
    words: set[str] = set()
    pairs: set[str] = set()
    for word in _WORD.findall(query.casefold()):
        if _UNSPACED.search(word):
            pairs.update(word[place : place + 2] for place in range(max(1, len(word) - 1)))
        elif len(word) > 1 and word not in _COMMON:
            words.add(word)
    found = [match.span() for match in _WORD.finditer(text) if match[0].casefold() in words]
    if pairs:
        found += [(place, place + 2) for place in range(len(text) - 1) if text[place : place + 2] in pairs]
        found += [(place, place + 1) for place, character in enumerate(text) if character in pairs]
    merged: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _densest(matches: Sequence[tuple[int, int]], width: int) -> int:
    """Return where the window of ``width`` characters with the most matches starts."""
    if not matches:
        return 0
    starts = [start for start, _ in matches]
    counts = [(bisect_left(starts, start + width) - place, -start) for place, start in enumerate(starts)]
    return -max(counts)[1]


def _word_start(text: str, place: int) -> int:
    """Move a cut to the start of a word, where one is near."""
    if place == 0 or text[place - 1].isspace():
        return place
    near = text.find(" ", place, place + 20)
    return place if near < 0 else near + 1


def _split(text: str, start: int, end: int, matches: Sequence[tuple[int, int]]) -> list[Span]:
    spans: list[Span] = []
    place = start
    for first, last in matches:
        first, last = max(first, start), min(last, end)
        if first >= last:
            continue
        if first > place:
            spans.append(Span(text[place:first]))
        spans.append(Span(text[first:last], match=True))
        place = last
    if place < end or not spans:
        spans.append(Span(text[place:end]))
    return spans
