from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from cogs.chat import service
from cogs.chat.language_model import LlmError, LlmTimeout
from cogs.chat.pacing import Pacer
from cogs.chat.rendering import render_answer, without_reasoning
from cogs.chat.service import ChatService, ReplyUpdate, question_of
from cogs.memory.errors import BadRequest
from cogs.memory.records import Hit, Reach, RecallRequest, RecallResult, Scope, StoredMessage, Turn
from cogs.memory.text.sanitize import discord_length

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
SCOPE = Scope.of(10, frozenset({20}))


def hit(content: str, number: int, author: str = "Ana", evidence: str | None = None) -> Hit:
    created = dt.datetime(2026, 5, 3, 14, 5, tzinfo=dt.UTC)
    message = StoredMessage(number, 10, 20, 1, author, content, created, None, None, channel_name="garden")
    return Hit(message, 0.5, 0.9, evidence=evidence)


HITS = (hit("We painted the fence blue.", 31), hit("The paint is in the shed.", 32, "Bo"))


class Memory:
    def __init__(self, *hits: Hit) -> None:
        self.hits = hits
        self.requests: list[RecallRequest] = []

    async def recall(self, request: RecallRequest) -> RecallResult:
        self.requests.append(request)
        return RecallResult(self.hits, Reach(1204, 4, NOW - dt.timedelta(days=29)), "cpu", "small-ce")

    async def messages(self, message_ids: Collection[int], scope: Scope) -> list[StoredMessage]:
        return [hit.message for hit in self.hits if hit.message.id in message_ids]


class Model:
    """Says its pieces one by one, then fails where told to."""

    def __init__(self, *pieces: str, error: LlmError | None = None) -> None:
        self.pieces = pieces
        self.error = error
        self.asked: list[Sequence[dict[str, str]]] = []

    async def close(self) -> None:
        pass

    async def stream(self, messages: Sequence[dict[str, str]]) -> AsyncGenerator[str, None]:
        self.asked.append(messages)
        for piece in self.pieces:
            yield piece
        if self.error is not None:
            raise self.error


async def replies(
    memory: Memory, model: Model | None, question: str = "What colour?", seconds_between_updates: float = 0.0
) -> list[ReplyUpdate]:
    chat = ChatService(memory, model, clock=lambda: NOW, seconds_between_updates=seconds_between_updates)
    return [update async for update in chat.reply(question, SCOPE, [Turn("Cy", "hi")], asker="Dee")]


async def test_a_reply_grows_and_ends_with_links_to_what_it_cites() -> None:
    model = Model("It was ", "blue [1]", ", I think.")
    updates = await replies(Memory(*HITS), model)
    assert [update.final for update in updates] == [False, False, False, True]
    assert updates[0].text == "It was"
    last = updates[-1]
    assert last.text == (
        "It was blue [[1]](<https://discord.com/channels/10/20/31>), I think.\n"
        "-# [[1]](<https://discord.com/channels/10/20/31>) Ana, <t:1777817100:f> · #garden"
    )
    assert last.plain == "It was blue [1], I think.\n[1] Ana, 3 May, 14:05 UTC · #garden"
    assert last.cited == (31,)
    assert last.given == (31, 32)
    assert not last.extractive
    assert last.result is not None
    assert last.result.reranker == "small-ce"
    assert '"Bo" wrote: The paint is in the shed.' in model.asked[0][1]["content"]


async def test_invented_citations_vanish() -> None:
    last = (await replies(Memory(*HITS), Model("Blue [1], red [7], green [0] and [2, 9] or [1-4]; arr is `a[1]`.")))[-1]
    assert last.cited == (31, 32)
    assert "[7]" not in last.plain
    assert "[9]" not in last.plain
    assert last.plain.startswith("Blue [1], red, green and [2] or [1][2]; arr is `a[1]`.")


async def test_the_scope_and_the_turns_reach_the_memory_as_they_are() -> None:
    memory = Memory(*HITS)
    chat = ChatService(memory, None, limit=3, clock=lambda: NOW)
    _ = [u async for u in chat.reply("x" * 3900, SCOPE, [Turn("Cy", "hi")], exclude_ids=frozenset({5}))]
    request = memory.requests[0]
    assert request.scope == SCOPE
    assert request.turns == (Turn("Cy", "hi"),)
    assert request.limit >= 3
    assert request.evidence
    assert request.repeated == "none"
    assert request.exclude_ids == {5}
    assert request.asked_at == NOW
    assert len(request.query) == 1000


async def test_what_the_reranker_thinks_unlikely_is_not_called_an_answer() -> None:
    unlikely = [replace(hit, rerank_score=0.01) for hit in HITS]
    (only,) = await replies(Memory(*unlikely), None)
    assert only.plain.startswith("Nothing I remember seems to answer that; the nearest is")
    assert only.cited == (31,)


@pytest.mark.parametrize(("scores", "cited"), [((0.5, 0.06), (31, 32)), ((0.5, 0.02), (31,)), ((0.08, 0.06), (31,))])
async def test_what_shares_an_answer_is_quoted_beside_it(scores: tuple[float, ...], cited: tuple[int, ...]) -> None:
    rated = [replace(hit, rerank_score=score) for hit, score in zip(HITS, scores, strict=False)]
    (only,) = await replies(Memory(*rated), None)
    assert only.plain.startswith("Here is what was said") == (scores[0] > 0.1)
    assert only.cited == cited


async def test_without_a_model_the_best_memories_are_quoted_and_marked() -> None:
    (only,) = await replies(Memory(*HITS), None)
    assert only.final
    assert only.extractive
    assert only.cited == (31, 32)
    assert only.text == (
        "Here is what was said (quoted, no language model):\n"
        "> We painted the fence blue.\n"
        "— Ana, <t:1777817100:f> · #garden [[1]](<https://discord.com/channels/10/20/31>)\n"
        "> The paint is in the shed.\n"
        "— Bo, <t:1777817100:f> · #garden [[2]](<https://discord.com/channels/10/20/32>)"
    )
    assert "“The paint is in the shed.”\n  — Bo" in only.plain


async def test_a_model_that_fails_in_the_middle_leaves_the_quotations_and_the_reason() -> None:
    model = Model("It was bl", error=LlmTimeout("The language model fell silent in mid-answer.", "stream"))
    updates = await replies(Memory(*HITS), model)
    assert updates[-1].final
    assert updates[-1].extractive
    assert updates[-1].notice == "The language model fell silent in mid-answer."
    assert updates[-1].text.startswith(
        "The language model fell silent in mid-answer. Here is what was said:\n> We painted"
    )


@pytest.mark.parametrize("said", ["", "  \n", "<think>hm", "<think>hm</think>", "\u200b\u2060"])
async def test_a_model_that_says_nothing_is_told_of(said: str) -> None:
    updates = await replies(Memory(*HITS), Model(said))
    assert len(updates) == 1
    assert updates[0].extractive
    assert updates[0].notice == "The language model returned nothing."


async def test_nothing_remembered_says_how_far_the_memory_reaches() -> None:
    (only,) = await replies(Memory(), None)
    assert "1,204 messages since 3 May in 4 channels" in only.text
    assert only.cited == ()


@pytest.mark.parametrize("question", ["", "   ", "\u200b\n"])
async def test_an_empty_question_is_a_sentence(question: str) -> None:
    with pytest.raises(BadRequest, match="Ask me something"):
        await replies(Memory(*HITS), None, question)


async def test_tokens_saved_by_evidence_are_reported() -> None:
    saved: list[int] = []
    memory = Memory(hit("lorem ipsum " * 50 + "blue", 31, evidence="blue"))
    chat = ChatService(memory, Model("Blue [1]."), on_tokens_saved=saved.append)
    updates = [update async for update in chat.reply("What colour?", SCOPE)]
    assert saved == [updates[-1].tokens_saved]
    assert saved[0] > 100


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<think>secret</think>Blue.", "Blue."),
        ("thinking aloud</think>\nBlue.", "Blue."),
        ("<think>never closed", ""),
        ("Blue. <thi", "Blue."),
        ("Blue. <", "Blue."),
        ("a < b", "a < b"),
    ],
)
def test_reasoning_is_not_part_of_the_answer(text: str, shown: str) -> None:
    assert without_reasoning(text, final=False) == shown


@pytest.mark.parametrize(
    "said",
    [
        "word [1] " * 900,
        "```python\n" + "x = a[1]\n" * 400 + "```",
        "👩 " * 1500,
        "https://example.org/" + "a" * 4000,
        "[1][2]" * 700,
    ],
)
def test_a_long_answer_is_trimmed_whole(said: str) -> None:
    answer = render_answer(said, HITS, NOW)
    assert discord_length(answer.text) <= 2000
    assert answer.text.count("```") % 2 == 0
    assert answer.text.count("](<") == answer.text.count(">)")
    assert " …" in answer.text


def test_the_pacer_spaces_edits_and_always_shows_the_last() -> None:
    pacer = Pacer(1.2)
    assert pacer.due(0.0, "a")
    pacer.shown(0.0, "a")
    assert not pacer.due(1.0, "ab")
    assert pacer.due(1.2, "ab")
    assert not pacer.due(5.0, "a"), "nothing new to show"
    assert pacer.due(0.1, "ab", final=True)


def test_an_hours_stream_stays_within_discords_pace() -> None:
    pacer = Pacer()
    edits = []
    for tick in range(3600):
        now = tick / 20
        if pacer.due(now, f"text {tick}"):
            pacer.shown(now, f"text {tick}")
            edits.append(now)
    assert all(second - first >= 1.2 - 1e-9 for first, second in pairwise(edits))
    assert len(edits) > 100


def test_the_question_is_what_is_left_without_the_mention() -> None:
    assert question_of("<@99> what did <@5> say?", 99) == "what did <@5> say?"
    assert question_of("so <@!99>, when?", 99) == "so , when?"


async def test_a_long_answer_is_rendered_now_and_then_and_not_for_each_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0

    def counted(said: str, *more: Any, **named: Any) -> Any:
        nonlocal read
        read += len(said)
        return render_answer(said, *more, **named)

    monkeypatch.setattr(service, "render_answer", counted)
    pieces = ["word "] * 4_000
    updates = await replies(Memory(*HITS), Model(*pieces), seconds_between_updates=0.2)
    assert updates[-1].final
    assert read < 20 * len("".join(pieces)), "each piece would read all pieces before it"
