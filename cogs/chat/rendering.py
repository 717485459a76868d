"""What a language model wrote → what Discord and a terminal may show of it. Pure.

A model's words are untrusted too, because memories can talk it into anything: mentions are defused, masked links show
their target, and a citation becomes a link only where its number was really given.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from cogs.memory.records import Hit
from cogs.memory.text.excerpts import excerpt, fit
from cogs.memory.text.presentation import EARLIER, MESSAGE, author_label, channel_label, message_text, stamp, when_text
from cogs.memory.text.sanitize import defused, discord_length, markdown, whole_links

_CODE = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]*`)", re.DOTALL)
_CITATION = re.compile(r"[ \t]?(?<!\\)\[(\d{1,4}(?:\s*[,;–-]\s*\d{1,4})*)\](?!\()")
_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL | re.IGNORECASE)
_OPENING = "<think>"
FITTING = 0.1
"""A quotation is called an answer where the reranker gives it this probability at least."""
BESIDE = 0.05
"""Others are quoted beside it from this probability on: where several answer, they share what is certain."""
_QUOTED = 5
TAKEN_BACK = "…\n-# What this answer rested on was changed or taken back."
_QUOTE_WIDTH = 220


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished text for Discord and for a terminal, and the ids of the messages that it cites, in order."""

    text: str
    plain: str
    cited: tuple[int, ...]


def without_reasoning(text: str, *, final: bool) -> str:
    """Return ``text`` without the ``<think>`` blocks that reasoning models write into their answers.

    While the answer still grows (not ``final``), the beginning of such a mark at its end is held back.
    """
    text = _THINKING.sub("", text)
    if "</think>" in text:  # Templates that open the block themselves leave only its end in the answer.
        text = text.split("</think>")[-1]
    if not final:
        for length in range(min(len(_OPENING), len(text)), 0, -1):
            if _OPENING.startswith(text[-length:].casefold()):
                text = text[:-length]
                break
    return text.strip()


def render_answer(said: str, given: Sequence[Hit], now: dt.datetime, limit: int = MESSAGE) -> Answer:
    """Return a model's words with citations as jump links and the list of what was cited, within ``limit``.

    Citations of numbers that were not given are removed. Markdown of the model's own stays.
    """
    safe = _harmless(said)
    cited = _cited_numbers(safe, len(given))
    sources = "\n".join(
        f"-# [[{number}]](<{given[number - 1].message.jump_url}>) {_marked_source(given[number - 1])}"
        for number in cited[:_QUOTED]
    )

    def rendered(text: str) -> str:
        body = _with_citations(text, given, lambda number, hit: f"[[{number}]](<{hit.message.jump_url}>)")
        return body + (f"\n{sources}" if sources else "")

    plain_sources = "\n".join(f"[{number}] {_source(given[number - 1], now)}" for number in cited[:_QUOTED])
    plain = _with_citations(safe, given, lambda number, _: f"[{number}]")
    return Answer(
        text=_trimmed(safe, rendered, limit),
        plain=plain + (f"\n{plain_sources}" if plain_sources else ""),
        cited=tuple(given[number - 1].message.id for number in cited),
    )


def extractive_answer(
    hits: Sequence[Hit],
    now: dt.datetime,
    empty: str,
    *,
    failure: str | None = None,
    names: Mapping[int, str] | None = None,
) -> Answer:
    """Return the best memories as quotations, marked as such; ``empty`` where there are none.

    Args:
        hits: The recalled memories, best first.
        now: The time that dates are told from.
        empty: The sentence for no hits.
        failure: Why no language model answered, or ``None`` where none is set.
        names: Names by id for mentions inside the quotations.
    """
    if not hits:
        told = f"{failure} {empty}" if failure else empty
        return Answer(markdown(told), told, ())
    told = (
        "Here is what was said"
        if _fits(hits[0], FITTING)
        else "Nothing I remember seems to answer that; the nearest is"
    )
    opening = f"{failure} {told}:" if failure else f"{told} (quoted, no language model):"
    beside = hits[1:] if _fits(hits[0], FITTING) else []
    hits = [hits[0], *(hit for hit in beside if _fits(hit, BESIDE) or hit.replaced_by == hits[0].message.id)]
    blocks, plain, cited = [markdown(opening)], [opening], []
    used = discord_length(blocks[0])
    for number, hit in enumerate(hits[:_QUOTED], start=1):
        body = hit.evidence or message_text(hit.message)
        quote = " ".join("".join(span.text for span in excerpt(body, "", names=names, width=_QUOTE_WIDTH)).split())
        quote = f"{EARLIER}{quote}" if hit.replaced_by else quote
        link = f"[[{number}]](<{hit.message.jump_url}>)"
        block = f"> {fit(quote, 2 * _QUOTE_WIDTH)}\n— {_marked_source(hit)} {link}"
        if used + 1 + discord_length(block) > MESSAGE:
            break
        used += 1 + discord_length(block)
        blocks.append(block)
        plain.append(f"  “{quote}”\n  — {_source(hit, now)} [{number}]")
        cited.append(hit.message.id)
    return Answer("\n".join(blocks), "\n".join(plain), tuple(cited))


def without_quotations(text: str, message_ids: Collection[int]) -> str:
    """Return an answer of :func:`extractive_answer`, as Discord shows it, without what it quotes of some messages.

    Where a quotation cannot be told from the rest any more, nothing is left.
    """
    lines = text.split("\n")
    found = 0
    for place, line in enumerate(lines):
        if line.startswith("— ") and line.endswith(tuple(f"/{message_id}>)" for message_id in message_ids)):
            found += 1
            lines[place] = "— …"
            if place and lines[place - 1].startswith("> "):
                lines[place - 1] = "> …"
    return "\n".join(lines) if found == len(message_ids) else TAKEN_BACK


def _fits(hit: Hit, least: float) -> bool:
    """Return whether a hit may answer at all; where nothing was reranked, nobody knows."""
    return hit.rerank_score is None or hit.rerank_score >= least


def _source(hit: Hit, now: dt.datetime) -> str:
    message = hit.message
    return f"{author_label(message)}, {when_text(message.created_at, now)} · {channel_label(message)}"


def _marked_source(hit: Hit) -> str:
    """Return the same for Discord, which shows everybody their own time."""
    message = hit.message
    # The dot goes along: "#" begins a heading only where a line does, and would be escaped there.
    return f"{markdown(author_label(message))}, {stamp(message.created_at)} {markdown(f'· {channel_label(message)}')}"


def _harmless(text: str) -> str:
    """Defuse a model's words; links in angle brackets and its own Markdown survive."""
    return re.sub(r"\n{3,}", "\n\n", defused(text)).strip()


def _numbers(listed: str, given: int) -> list[int]:
    """Return the given numbers that a citation names: "1", "1, 3", "1-3"."""
    numbers: list[int] = []
    for part in re.split(r"[,;]", listed):
        ends = [int(end) for end in re.split(r"[–-]", part) if end.strip()]
        if not ends:
            continue
        numbers.extend(range(ends[0], min(ends[-1], given) + 1) if len(ends) > 1 else ends)
    return [number for number in dict.fromkeys(numbers) if 1 <= number <= given]


def _cited_numbers(text: str, given: int) -> list[int]:
    found: dict[int, None] = {}
    for place, part in enumerate(_CODE.split(text)):
        if place % 2 == 0:
            for match in _CITATION.finditer(part):
                found.update(dict.fromkeys(_numbers(match[1], given)))
    return list(found)


def _with_citations(text: str, given: Sequence[Hit], link: Callable[[int, Hit], str]) -> str:
    """Replace the citations outside of code; invented ones vanish with the space before them."""

    def replaced(match: re.Match[str]) -> str:
        links = [link(number, given[number - 1]) for number in _numbers(match[1], len(given))]
        space = " " if match[0][0] in " \t" and links else ""
        return space + "".join(links)

    parts = _CODE.split(text)
    return "".join(part if place % 2 else _CITATION.sub(replaced, part) for place, part in enumerate(parts))


def _trimmed(text: str, rendered: Callable[[str], str], limit: int) -> str:
    """Return the longest rendered start of ``text`` within ``limit``; an open code block is closed."""
    whole = rendered(text)
    if discord_length(whole) <= limit:
        return whole
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if discord_length(rendered(_closed(text, middle))) <= limit:
            low = middle
        else:
            high = middle - 1
    return rendered(_closed(text, low))


def _closed(text: str, place: int) -> str:
    cut = text[: whole_links(text, place)].rstrip()
    cut = cut[: cut.rfind("[")] if re.search(r"\[[\d,;\s–-]*$", cut) else cut
    return cut + " …" + ("\n```" if cut.count("```") % 2 else "")
