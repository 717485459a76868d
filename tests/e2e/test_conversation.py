"""A conversation from end to end: people talk, search, ask, edit, delete and look after the memory."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from cogs.bench.loopback_discord import Channel, Person
from tests.e2e.conftest import Harbour

pytestmark = pytest.mark.asyncio(loop_scope="module")
SCORE = re.compile(r"rerank_score (0\.\d+|1\.0+)")


async def recall(
    harbour: Harbour, query: str, person: Person | None = None, place: Channel | None = None, **options: object
) -> str:
    """Return what a person (Ben, unless said) sees of a recall in a place (#general, unless said), less its title."""
    who, where = person or harbour.ben, place or harbour.general
    call = await harbour.server.slash(who, where, "recall", query=query, **options)
    return (await call.answer()).replace(f"Recall: {query}", "")


async def found(harbour: Harbour, query: str, words: str, **more: Any) -> str:
    """Recall until something is found: remembering takes a moment."""
    for _ in range(50):
        text = await recall(harbour, query, **more)
        if words in text:
            return text
        await asyncio.sleep(0.1)
    raise AssertionError(f"{words!r} was never found: {text}")


async def test_what_people_say_is_found_privately_with_a_score_and_a_link(harbour: Harbour) -> None:
    server = harbour.server
    said = await server.say(
        harbour.ann, harbour.general, "The spare anchor lies under the blue tarpaulin behind the shed"
    )
    await server.say(harbour.ben, harbour.general, "Lunch is at one, bring bread")
    await found(harbour, "spare anchor tarpaulin", "blue tarpaulin")
    call = await server.slash(harbour.ben, harbour.general, "recall", query="spare anchor under the tarpaulin", limit=5)
    text = await call.answer()
    assert call.callback is not None
    assert call.callback["type"] == 5, "the command is deferred first"
    assert call.ephemeral
    assert call.answered_at is not None
    assert call.answered_at - call.sent_at < 3
    first = text.split("[2]")[0]
    assert "Ann" in first
    assert "blue tarpaulin" in first
    assert SCORE.search(first)
    assert f"https://discord.com/channels/{harbour.guild.id}/{harbour.general.id}/{said}" in first
    assert "ranked by words" in text


async def test_the_reranker_of_the_profile_scores_recall_and_replies(harbour: Harbour) -> None:
    """The test reranker's score is the share of shared words, which nothing else computes."""
    await harbour.server.say(harbour.ann, harbour.general, "zebra giraffe lion")
    text = await found(harbour, "zebra giraffe", "zebra giraffe lion", limit=1)
    assert "rerank_score 0.667" in text
    asked = await harbour.server.say(harbour.ben, harbour.general, f"<@{harbour.server.world.bot.id}> zebra giraffe?")
    reply = await harbour.server.reply_to(harbour.general, asked, "zebra giraffe lion")
    assert reply.index("zebra giraffe lion") < 200


async def test_a_mention_gets_an_answer_that_cites_and_pings_nobody(harbour: Harbour) -> None:
    server = harbour.server
    await server.say(harbour.ann, harbour.general, "@everyone the regatta starts on Saturday at nine")
    await found(harbour, "when does the regatta start", "regatta starts")
    asked = await server.say(harbour.ben, harbour.general, f"<@{server.world.bot.id}> when does the regatta start?")
    reply = await server.reply_to(harbour.general, asked, "regatta")
    assert "[[1]](<https://discord.com/channels/" in reply
    assert all(body["allowed_mentions"]["parse"] == [] for body in server.rest.sent)
    answered = server.answers_to(harbour.general, asked)[0]
    again = await server.say(harbour.ben, harbour.general, "and the regatta again?", reply_to=int(answered["id"]))
    assert await server.reply_to(harbour.general, again)


async def test_a_reply_in_public_tells_nothing_that_not_everybody_there_may_read(harbour: Harbour) -> None:
    server = harbour.server
    await server.say(harbour.ann, harbour.staff, "The safe combination is 4711 for the regatta cash")
    assert "4711" in await found(harbour, "safe combination", "4711", person=harbour.ann, place=harbour.staff)
    bot = server.world.bot.id
    asked = await server.say(harbour.ann, harbour.general, f"<@{bot}> what is the safe combination for the regatta?")
    assert "4711" not in await server.reply_to(harbour.general, asked)
    inside = await server.say(harbour.ann, harbour.staff, f"<@{bot}> what is the safe combination for the regatta?")
    assert "4711" in await server.reply_to(harbour.staff, inside)
    direct = server.world.direct(harbour.ann)
    private = await server.say(harbour.ann, direct, "what is the safe combination for the regatta?")
    assert "4711" in await server.reply_to(direct, private)
    stranger = server.world.direct(harbour.eve)
    nosy = await server.say(harbour.eve, stranger, "what is the safe combination for the regatta?")
    assert "4711" not in await server.reply_to(stranger, nosy)


async def test_nobody_finds_what_they_cannot_read_nor_learns_that_it_is_there(harbour: Harbour) -> None:
    assert "4711" not in await recall(harbour, "safe combination", harbour.ben)
    call = await harbour.server.slash(harbour.ben, harbour.general, "recall", query="safe", channel="staff")
    nowhere = await harbour.server.slash(harbour.ben, harbour.general, "recall", query="safe", channel="nowhere")
    assert (await call.answer()).replace("staff", "X") == (await nowhere.answer()).replace("nowhere", "X")
    by_id = await harbour.server.slash(
        harbour.ben, harbour.general, "recall", query="safe", channel=str(harbour.staff.id)
    )
    assert "no channel" in await by_id.answer()
    offered = await harbour.server.complete(harbour.ben, harbour.general, "recall", "channel", "")
    names = {choice["name"] for choice in offered}
    assert {"#general", "#crew"} <= names
    assert "#staff" not in names
    await harbour.server.say(harbour.ben, harbour.hidden, "The surprise party is at Ben's place")
    assert "surprise party" in await found(harbour, "surprise party", "surprise party", person=harbour.ben)
    assert "surprise party" not in await recall(harbour, "surprise party", harbour.eve)


async def test_pages_turn_and_show_nothing_that_was_taken_away_meanwhile(harbour: Harbour) -> None:
    server = harbour.server
    for number in range(12):
        await server.say(harbour.ann, harbour.crew, f"Knot number {number}: the bowline and the clove hitch")
    await found(harbour, "bowline number 11", "number 11:")
    call = await server.slash(harbour.ben, harbour.general, "recall", query="bowline clove hitch", limit=12)
    assert "page 1 of 3" in await call.answer()
    before = call.text
    await server.click(call, "Next")
    await call.until(lambda c: "page 2 of 3" in c.text)
    assert call.text != before
    other = await server.click(call, "Next", harbour.eve)
    assert "somebody else" in await other.answer()
    server.world.guilds[harbour.guild.id].channels[1].deny(harbour.crew_role)
    await server.update_channel(harbour.crew)
    await asyncio.sleep(0.3)
    await server.click(call, "Previous")
    await call.until(lambda c: "Knot" not in c.text)
    harbour.crew.allow(harbour.crew_role)
    await server.update_channel(harbour.crew)


async def test_an_edit_and_a_deletion_are_reflected_within_a_second(harbour: Harbour) -> None:
    server = harbour.server
    said = await server.say(harbour.ann, harbour.general, "The mooring fee is forty crowns a week")
    await found(harbour, "mooring fee", "forty crowns")
    await server.edit(harbour.general, said, "The mooring fee is fifty crowns a week")
    await asyncio.sleep(1.0)
    text = await recall(harbour, "mooring fee")
    assert "fifty crowns" in text
    assert "forty crowns" not in text
    await server.delete(harbour.general, said)
    await asyncio.sleep(1.0)
    assert "fifty crowns" not in await recall(harbour, "mooring fee")
    many = [await server.say(harbour.ann, harbour.general, f"quicksand {n}") for n in range(3)]
    await found(harbour, "quicksand", "quicksand 2")
    await server.delete(harbour.general, *many)
    await asyncio.sleep(1.0)
    assert "quicksand 1" not in await recall(harbour, "quicksand")


async def test_find_similar_leaves_the_message_itself_out(harbour: Harbour) -> None:
    server = harbour.server
    one = await server.say(harbour.ann, harbour.general, "We paint the hull red this spring")
    await server.say(harbour.ben, harbour.general, "This spring we paint the hull, red or green?")
    await found(harbour, "paint the hull", "red or green")
    call = await server.menu(harbour.ben, harbour.general, "Find similar", one)
    text = await call.answer()
    assert call.ephemeral
    assert "red or green" in text
    assert "We paint the hull red this spring" not in text


async def test_a_deleted_channel_and_thread_are_forgotten(harbour: Harbour) -> None:
    server = harbour.server
    channel = await server.new_channel(harbour.guild, "temporary")
    await server.say(harbour.ann, channel, "platypus in the temporary channel")
    await found(harbour, "platypus", "platypus in")
    await server.delete_channel(channel)
    await asyncio.sleep(1.0)
    assert "platypus in" not in await recall(harbour, "platypus")


async def test_filters_and_mistakes_get_their_sentences(harbour: Harbour) -> None:
    server = harbour.server
    await server.say(harbour.ann, harbour.general, "The chart is at https://example.org/chart")
    await found(harbour, "chart", "example.org")
    assert "example.org" in await recall(harbour, "chart", has="link", author="Ann", after="yesterday")
    for options, said in (
        ({"query": " "}, "query is empty"),
        ({"query": "x" * 4000}, "4,000 characters"),
        ({"query": "x", "limit": 0}, "between 1 and 50"),
        ({"query": "x", "before": "blorp"}, "blorp"),
        ({"query": "x", "after": "2026-03-01", "before": "2026-02-01"}, "earlier"),
        ({"query": "x", "author": "Zed Nobody"}, "Nobody"),
    ):
        call = await server.slash(harbour.ben, harbour.general, "recall", **options)
        assert said in await call.answer()
    assert "I remember" in await recall(harbour, "\u0007\u202eweird", before="2020-01-01")
    assert "messages since" in await recall(harbour, "昨天的晚餐", before="2020-01-01")


async def test_administration_is_checked_on_the_server(harbour: Harbour) -> None:
    server = harbour.server
    for command, options in (
        ("memory status", {}),
        ("memory profile use", {"name": "minimal"}),
        ("memory retention", {"days": 1}),
        ("memory channels exclude", {"channel": str(harbour.general.id)}),
    ):
        call = await server.slash(harbour.ben, harbour.general, command, **options)
        assert "manage this server" in await call.answer()
    status = await server.slash(harbour.ann, harbour.general, "memory status")
    text = await status.answer()
    assert "Profile: words" in text
    assert re.search(r"Messages: \d+ in \d+ channels", text)
    assert "Latency of recall" in text


async def test_the_profile_is_switched_while_people_search(harbour: Harbour) -> None:
    server = harbour.server
    listed = await server.slash(harbour.ann, harbour.general, "memory profile list")
    assert "words" in await listed.answer()
    asking = [await server.slash(harbour.ben, harbour.general, "recall", query=f"hull {n}") for n in range(6)]
    switch = await server.slash(harbour.ann, harbour.general, "memory profile use", name="minimal")
    asking += [await server.slash(harbour.ben, harbour.general, "recall", query=f"hull {n}") for n in range(6)]
    await switch.until(lambda c: "in use now" in c.text)
    for call in asking:
        text = await call.answer()
        assert "hull" in text
        assert "wrong" not in text
    assert "no reranker" in await recall(harbour, "hull")
    broken = await server.slash(harbour.ann, harbour.general, "memory profile use", name="broken")
    await broken.until(lambda c: "nowhere" in c.text)
    assert "no reranker" in await recall(harbour, "hull"), "the old profile goes on"


async def test_heartbeats_go_on_during_a_long_rerank_and_a_missed_deadline_is_said(harbour: Harbour) -> None:
    server = harbour.server
    for profile, degraded in (("slow", False), ("hasty", True)):
        switch = await server.slash(harbour.ann, harbour.general, "memory profile use", name=profile)
        await switch.until(lambda c: "in use now" in c.text)
        server.gateway.beats.clear()
        text = await recall(harbour, f"hull {profile}")
        assert ("took longer than 0.3 s" in text) is degraded
        assert ("rerank_score" in text) is not degraded
        await asyncio.sleep(1.2)
        assert server.gateway.longest_silence() < 2.0, "heartbeats are due every second"
    switch = await server.slash(harbour.ann, harbour.general, "memory profile use", name="words")
    await switch.until(lambda c: "in use now" in c.text)


async def test_privacy_shows_exports_forgets_and_stops(harbour: Harbour) -> None:
    server = harbour.server
    await server.say(harbour.eve, harbour.general, "My allergy is against walnuts")
    await found(harbour, "allergy walnuts", "walnuts")
    export = await server.slash(harbour.eve, harbour.general, "privacy export")
    await export.until(lambda c: c.files)
    assert "walnuts" in json.dumps(json.loads(export.files[0]), ensure_ascii=False)
    assert export.ephemeral
    shown = await server.slash(harbour.eve, harbour.general, "privacy show")
    assert "of yours" in await shown.answer()
    out = await server.slash(harbour.eve, harbour.general, "privacy opt-out")
    assert "no longer remember" in await out.answer()
    assert "walnuts" not in await recall(harbour, "allergy walnuts")
    await server.say(harbour.eve, harbour.general, "And against hazelnuts")
    await server.say(harbour.ann, harbour.general, "marker after hazelnuts remark")
    text = await found(harbour, "marker hazelnuts", "marker after")
    assert "And against hazelnuts" not in text
    forget = await server.slash(harbour.ann, harbour.general, "privacy forget-me")
    await forget.answer()
    await server.click(forget, "Erase")
    await forget.until(lambda c: "Done" in c.text)
    assert "marker after" not in await recall(harbour, "marker hazelnuts")


async def test_commands_were_registered_once(harbour: Harbour) -> None:
    assert harbour.server.rest.registrations == 1
    names = {command["name"] for command in harbour.server.rest.commands}
    assert names == {"recall", "catchup", "memory", "privacy", "Find similar"}
