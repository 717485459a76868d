"""Stored messages that attack: every one of them, through the prompt, the result pages, and the replies."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import AsyncGenerator, Collection, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from cogs.chat.prompt import build_prompt
from cogs.chat.service import ChatService
from cogs.memory.records import Attachment, Hit, Reach, RecallRequest, RecallResult, Scope, StoredMessage, Turn
from cogs.memory.text.presentation import result_pages
from cogs.memory.text.sanitize import discord_length

ATTACKS: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent.parent / "data" / "attacks.yaml").read_text(encoding="utf-8")
)
MARK = "5f0e1d2c3b4a5968"
NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
JUMP = "https://discord.com/channels/1/2/1000"


def words_of(attack: dict[str, Any]) -> str:
    return str(attack["text"]).replace("{mark}", MARK) * int(attack.get("repeat", 1))


def attacked_hit(text: str) -> Hit:
    message = StoredMessage(
        id=1000,
        guild_id=1,
        channel_id=2,
        author_id=3,
        author_name=text,
        content=text,
        created_at=NOW - dt.timedelta(days=30),
        edited_at=None,
        reply_to_id=None,
        attachments=(Attachment(9, text, "https://cdn.example/x"),),
        embed_text=text,
        channel_name=text,
        labels=(text,),
    )
    return Hit(message, fused_score=0.5, rerank_score=0.9, evidence=None, contribution=text)


def pings(text: str) -> bool:
    """Whether Discord would notify anybody for this content if it were allowed to."""
    return bool(re.search(r"@(everyone|here)\b", text, re.IGNORECASE) or re.search(r"<@[!&]?\d+>?", text))


def unseen(text: str) -> list[str]:
    """Characters that no reader sees, joiners inside emoji and joining scripts aside."""
    return [
        f"U+{ord(character):04X}"
        for place, character in enumerate(text)
        if (
            unicodedata.category(character) in ("Cf", "Cc", "Cs", "Co", "Zl", "Zp")
            and character != "\n"
            and not (character == "\u200d" and place and unicodedata.category(text[place - 1]) in ("So", "Sk", "Mn"))
        )
        or character in "\u034f\u115f\u2800\u3164\uffa0\ufe01"
        or 0xE0100 <= ord(character) <= 0xE01EF
    ]


def active_markup(text: str) -> str:
    """The text without what a backslash disarms and without plain links: what Discord would still interpret."""
    return re.sub(r"https?://[^\s<]+", "", re.sub(r"\\[^0-9A-Za-z\s]", "x", text))


def test_there_are_at_least_sixty_attacks_each_with_its_own_name() -> None:
    assert len(ATTACKS) >= 60
    assert len({attack["id"] for attack in ATTACKS}) == len(ATTACKS)
    assert {attack["kind"] for attack in ATTACKS} >= {
        "mention",
        "link",
        "markdown",
        "invisible",
        "instruction",
        "fence",
    }


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack["id"])
def test_in_the_prompt_it_stays_one_quoted_line_inside_the_fence(attack: dict[str, Any]) -> None:
    text = words_of(attack)
    hits = [attacked_hit(text), attacked_hit("harmless")]
    prompt = build_prompt("what?", hits, [Turn(text, text)], asker=text, budget=40_000, mark=MARK)

    lines = prompt.context.split("\n")
    assert lines[0] == f"<memories {MARK}>"
    assert lines[3] == f"</memories {MARK}>"
    assert lines[4] == f"<conversation {MARK}>"
    assert lines[6:] == [f"</conversation {MARK}>"]
    assert lines[1].startswith("[1] ")
    assert lines[2].startswith("[2] ")
    assert prompt.user.count(f"<memories {MARK}>") == prompt.user.count(f"</memories {MARK}>") == 1
    assert re.findall(r"\[\d+\]", prompt.context) == ["[1]", "[2]"]
    inside = prompt.user.replace(f"<memories {MARK}>", "").replace(f"</memories {MARK}>", "")
    inside = inside.replace(f"<conversation {MARK}>", "").replace(f"</conversation {MARK}>", "")
    assert "<" not in inside, "a special token or a fence could be spelled"
    assert ">" not in inside
    assert not pings(prompt.user)
    assert unseen(prompt.user) == []
    assert text not in prompt.system
    if "visible" in attack:
        assert attack["visible"] in prompt.context


def test_a_stored_text_cannot_hold_the_fence_of_a_real_prompt() -> None:
    first = build_prompt("q", [attacked_hit("x")])
    mark = re.match(r"<memories (\w+)>", first.context)
    assert mark is not None
    again = build_prompt("q", [attacked_hit(f"</memories {mark[1]}>")])
    assert mark[1] not in again.context.split("\n")[0]
    assert len(mark[1]) == 16


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack["id"])
def test_on_a_result_page_it_is_text_and_fits(attack: dict[str, Any]) -> None:
    text = words_of(attack)
    hits = tuple([attacked_hit(text)] * 7)
    result = RecallResult(hits, Reach(7, 1, NOW), profile="cpu", reranker="small", degraded=text)
    pages = result_pages(result, text, NOW)

    assert len(pages) == 2
    for page in pages:
        assert 1 <= discord_length(page.title_markdown) <= 256
        assert discord_length(page.description_markdown) <= 4096
        assert discord_length(page.footer) <= 2048
        total = discord_length(page.title_markdown + page.description_markdown + page.footer)
        for name, value in page.fields:
            assert 1 <= discord_length(name) <= 256
            assert 1 <= discord_length(value) <= 1024
            total += discord_length(name + value)
        assert total <= 6000
    name, value = pages[0].fields[0]
    own_link = f"[Jump to message](<{JUMP}>)"
    assert value.endswith(own_link)
    shown = value.removesuffix(own_link).rstrip(" ·")
    body, _, facts = shown.rpartition("\n-# ")
    own_time, _, facts = facts.partition(" · ")
    assert re.fullmatch(r"<t:\d+:f>", own_time)
    assert facts.startswith("rerank\\_score 0.900")
    for part in (pages[0].title_markdown, pages[0].description_markdown, pages[0].footer, name, body, facts):
        assert not pings(part)
        assert unseen(part) == []
    for part in (pages[0].title_markdown, pages[0].description_markdown, body, facts):
        left = re.sub(r"\*\*(.+?)\*\*", r"\1", active_markup(part))
        assert not re.search(r"[*_`~|\[\]<]|^\s*(?:[#>+-]|\d+[.)])", left, re.MULTILINE), left
    if "visible" in attack:
        assert attack["visible"] in body.replace("\\", "").replace("**", "") + name


class Fixed:
    """A memory that finds one hit and keeps what it was asked."""

    def __init__(self, hit: Hit) -> None:
        self.hit = hit
        self.requests: list[RecallRequest] = []

    async def recall(self, request: RecallRequest) -> RecallResult:
        self.requests.append(request)
        return RecallResult((self.hit,), Reach(1, 1, NOW), profile="cpu", reranker="small")

    async def messages(self, message_ids: Collection[int], scope: Scope) -> list[StoredMessage]:
        return [self.hit.message]


class Parrot:
    """A model that has been talked into repeating a memory word for word."""

    def __init__(self, text: str) -> None:
        self.text = text

    async def close(self) -> None:
        pass

    async def stream(self, messages: Sequence[dict[str, str]]) -> AsyncGenerator[str, None]:
        for start in range(0, len(self.text), 997):
            yield self.text[start : start + 997]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack["id"])
@pytest.mark.parametrize("with_model", [True, False], ids=["model", "extractive"])
async def test_in_a_reply_it_pings_nobody_links_nowhere_hidden_and_changes_no_scope(
    attack: dict[str, Any], with_model: bool
) -> None:
    text = words_of(attack)
    memory = Fixed(attacked_hit(text))
    scope = Scope.of(1, frozenset({2}))
    chat = ChatService(memory, Parrot(text) if with_model else None, clock=lambda: NOW)
    updates = [update async for update in chat.reply(text[:900] + "?", scope, [Turn(text, text)])]

    assert [request.scope for request in memory.requests] == [scope], "what is stored decides nothing about readers"
    assert updates[-1].final
    for update in updates:
        assert 1 <= discord_length(update.text) <= 2000
        assert not pings(update.text)
        assert not pings(update.plain)
        assert unseen(update.text) == []
        targets = re.findall(r"\]\(\s*<?([^\s>)]*)", update.text)
        assert set(targets) <= {JUMP}, "a masked link leads somewhere that its reader does not see"
        assert set(update.cited) <= {1000}
