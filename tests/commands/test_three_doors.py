"""One table of cases: what is asked through Discord, the console and the shell is answered alike."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.commands.doors import (
    Answer,
    ConsoleDoor,
    DiscordDoor,
    guild_view_in,
    sample_service,
    shell_in,
    shell_recall,
)
from tests.memory.word_encoder import word_encoder

THREAD, GENERAL = 1180000000000000205, 1180000000000000201
CASES: dict[str, dict[str, Any]] = {
    "plain": {"query": "torque wrench"},
    "a channel includes its threads": {"query": "engine rebuild parts", "channel": "general"},
    "a channel by mention": {"query": "engine rebuild parts", "channel": f"<#{GENERAL}>"},
    "a thread alone": {"query": "engine rebuild parts", "channel": "engine rebuild"},
    "a channel that nobody has": {"query": "parts", "channel": "nowhere"},
    "a channel that the member cannot read": {"query": "key box", "channel": "keepers-only"},
    "an author": {"query": "supper", "author": "Priya"},
    "an author in other letters": {"query": "supper", "author": "pRIYA"},
    "the letter of several authors": {"query": "supper", "author": "a"},
    "an author that nobody is": {"query": "supper", "author": "Zebedee"},
    "an id beyond all ids": {"query": "supper", "author": "99999999999999999999"},
    "a span": {"query": "engine", "after": "2024-01-01", "before": "2028-01-01"},
    "a span that holds nothing": {"query": "engine", "after": "2026-06-01", "before": "2025-01-01"},
    "no date": {"query": "engine", "after": "notaday"},
    "an attachment": {"query": "engine", "has": "image"},
    "an attachment that there is not": {"query": "engine", "has": "hologram"},
    "a label without messages": {"query": "engine", "label": "food"},
    "a label in other letters": {"query": "engine", "label": "FOOD"},
    "an unknown label": {"query": "engine", "label": "weather"},
    "a limit": {"query": "engine", "limit": 2},
    "no limit at all": {"query": "engine", "limit": 0},
    "a limit beyond the limit": {"query": "engine", "limit": 51},
    "no query": {"query": ""},
    "spaces for a query": {"query": "   "},
    "a query without end": {"query": "word " * 300},
    "everything at once": {
        "query": "engine", "channel": "general", "author": "Oskar", "after": "2024-01-01", "before": "2028-01-01",
        "limit": 3,
    },
}  # fmt: skip


class Answers(NamedTuple):
    """What the three doors answered to one case."""

    discord: Answer
    console: Answer
    shell: Answer


async def _ask(folder: Path, cases: Mapping[str, dict[str, Any]]) -> dict[str, tuple[Answer, Answer]]:
    service = await sample_service(folder)
    try:
        view = guild_view_in(folder)
        await service.set_label(view.id, "food", "what people cook and eat")
        discord, console = DiscordDoor(service, view, "Oskar"), ConsoleDoor(service, view, "Oskar")
        return {name: (await discord.recall(case), await console.recall(case)) for name, case in cases.items()}
    finally:
        await service.close()


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answers]:
    """Ask every case through every door, on one memory."""
    folder = tmp_path_factory.mktemp("doors")
    # Discord shows five hits on a page, so no case is asked for more.
    cases = {name: {"limit": 5, **case} for name, case in CASES.items()}
    with word_encoder(), shell_in(folder):
        inside = asyncio.run(_ask(folder, cases))
        return {name: Answers(*inside[name], shell_recall(case, "Oskar")) for name, case in cases.items()}


@pytest.mark.parametrize("name", CASES)
def test_all_doors_answer_alike(answers: dict[str, Answers], name: str) -> None:
    found = answers[name]
    assert found.discord == found.console == found.shell


def test_a_channel_includes_its_threads(answers: dict[str, Answers]) -> None:
    thread = set(answers["a thread alone"].shell.messages)
    assert thread
    assert thread & set(answers["a channel includes its threads"].shell.messages)
    assert answers["a channel by mention"] == answers["a channel includes its threads"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a channel that nobody has", "There is no channel “nowhere” that you can read."),
        ("a channel that the member cannot read", "There is no channel “keepers-only” that you can read."),
        ("the letter of several authors", "Several people are called something like “a” ("),
        ("an author that nobody is", "Nobody called “Zebedee” has written anything that you can read."),
        ("a span that holds nothing", "Nothing lies between these dates"),
        ("no date", 'I cannot read "notaday" as a date'),
        ("an attachment that there is not", "Has takes link, embed, file, image, video, sound, voice, sticker or"),
        ("an unknown label", "There is no label “weather”; choose one of food."),
        ("no limit at all", "The limit must lie between 1 and 50."),
        ("a limit beyond the limit", "The limit must lie between 1 and 50."),
        ("no query", "Say what to look for: the query is empty."),
        ("spaces for a query", "Say what to look for: the query is empty."),
        ("a query without end", "The query has 1,499 characters; shorten it to 1,000 or fewer."),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(answers: dict[str, Answers], name: str, said: str) -> None:
    refusal = answers[name].shell.refusal
    assert refusal is not None
    assert said in refusal


def test_what_can_be_done_finds_something_and_says_which_time_was_searched(answers: dict[str, Answers]) -> None:
    for name in ("plain", "an author", "a span", "a limit", "everything at once"):
        assert answers[name].shell.messages, name
    assert len(answers["a limit"].shell.messages) == 2
    span = answers["a span"].shell.span
    assert span is not None
    assert span.startswith("Since Monday, 1 January 2024")
    assert "before Saturday, 1 January 2028" in span
    assert answers["plain"].shell.span is None
