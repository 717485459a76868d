"""What a message shows beside its own words, as text, whether it came from Discord or out of an export. Pure.

The gateway and the importers each describe a message as :class:`Shown`; :func:`shown_text` is the only place that turns
it into the text that is remembered, so that a message is remembered alike whichever way it came.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MAX_SHOWN = 16_000
"""Characters that are kept. Discord allows 6,000 in embeds and 4,000 in components; a forward can add as many again."""

VOICE_FILE = "voice-message.ogg"
"""The name that Discord gives to every voice message."""


@dataclass(frozen=True, slots=True)
class ShownEmbed:
    """The words of an embed; ``fields`` holds pairs of name and value."""

    author: str = ""
    title: str = ""
    description: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    footer: str = ""


@dataclass(frozen=True, slots=True)
class ShownFile:
    """What is said about a file: its ``description`` (alt text), and the ``seconds`` of a voice message if known."""

    filename: str
    description: str = ""
    voice: bool = False
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ShownPoll:
    """A poll and its answers."""

    question: str
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """Everything that a message shows beside its words. ``content`` is used of forwarded messages only."""

    content: str = ""
    embeds: tuple[ShownEmbed, ...] = ()
    components: tuple[str, ...] = ()
    poll: ShownPoll | None = None
    stickers: tuple[str, ...] = ()
    files: tuple[ShownFile, ...] = ()
    forwarded: tuple[Shown, ...] = ()


def shown_text(shown: Shown) -> str:
    """Return what a message shows beside its own words, a line for each thing; empty where it shows nothing."""
    return "\n".join(line for line in _lines(shown) if line.strip())[:MAX_SHOWN]


def _lines(shown: Shown) -> Iterator[str]:
    for embed in shown.embeds:
        yield from _embed(embed)
    yield from shown.components
    for forward in shown.forwarded:
        yield forward.content
        yield from _lines(forward)
    if shown.poll is not None:
        yield f"Poll: {shown.poll.question}"
        yield from (f"- {answer}" for answer in shown.poll.answers if answer)
    yield from (f"(sticker: {name})" for name in shown.stickers if name)
    for file in shown.files:
        if file.voice or file.filename == VOICE_FILE:
            yield "(voice message)" if file.seconds is None else f"(voice message, {_length(file.seconds)})"
        if file.description:
            yield f"({file.filename}: {file.description})"


def _embed(embed: ShownEmbed) -> Iterator[str]:
    named = dict(embed.fields)
    if "poll_question_text" in named:
        yield _poll_result(named)
        return
    yield from (embed.author, embed.title, embed.description)
    yield from (f"{name}: {value}" for name, value in embed.fields if name or value)
    yield embed.footer


def _poll_result(fields: dict[str, str]) -> str:
    """Return the sentence of a closed poll, which Discord sends as an embed with these fields.

    https://discord.com/developers/docs/resources/message#embed-fields-by-embed-type-poll-result-embed-fields
    """
    winner, votes = fields.get("victor_answer_text", ""), fields.get("victor_answer_votes", "")
    total = fields.get("total_votes", "")
    counted = f" ({votes} of {total} votes)" if votes and total else f" ({votes} votes)" if votes else ""
    result = f"{winner}{counted}" if winner else "no answer won" + (f" ({total} votes)" if total else "")
    return f"Poll closed: {fields['poll_question_text']} {result}"


def _length(seconds: float) -> str:
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02}"
