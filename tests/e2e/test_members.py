"""What members do beyond a search, with the real bot: look around a hit, share it, list, catch up, open the page."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from cogs.bench.loopback_discord import DiscordServer
from cogs.bench.loopback_discord.bot_process import running_bot
from tests.e2e.conftest import Harbour, build, profile_settings
from tests.e2e.test_conversation import found
from tests.web.building import csrf_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


PORT = free_port()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def paged(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Harbour]:
    """A harbour whose bot serves the page."""
    folder: Path = tmp_path_factory.mktemp("page")
    server = await DiscordServer().start()
    people = build(server)
    try:
        async with running_bot(
            server, folder, **profile_settings(folder), MNEME_WEB=f"127.0.0.1:{PORT}", MNEME_LOG_FORMAT="json"
        ) as bot:
            yield Harbour(server, bot, folder=folder, **people)  # type: ignore[arg-type]
    finally:
        await server.stop()


async def test_a_hit_is_seen_in_its_conversation_and_more_of_it_on_request(paged: Harbour) -> None:
    server = paged.server
    for number in range(12):
        await server.say(paged.ann, paged.general, f"turn number {number} about nothing much")
    await server.say(paged.ben, paged.general, "the bilge pump is broken again")
    await found(paged, "bilge pump broken", "bilge pump")
    call = await server.slash(paged.ben, paged.general, "recall", query="bilge pump broken", limit=1)
    await call.answer()
    talk = await server.choose(call, "Show the talk around")
    text = await talk.answer()
    assert talk.ephemeral
    assert "turn number 11" in text
    assert "turn number 3" not in text
    await server.click(talk, "Earlier")
    await talk.until(lambda shown: "turn number 3 " in shown.text)


async def test_a_hit_is_shared_only_where_everybody_may_read_it(paged: Harbour) -> None:
    server = paged.server
    await server.say(paged.ann, paged.staff, "the strongbox opens with 9184 @everyone")
    await found(paged, "strongbox opens", "9184", person=paged.ann, place=paged.staff)
    call = await server.slash(paged.ann, paged.general, "recall", query="strongbox opens with", limit=1)
    assert "9184" in await call.answer()
    refused = await server.choose(call, "Share in this channel")
    assert "not everybody" in await refused.answer()
    assert "9184" not in refused.text
    inside = await server.slash(paged.ann, paged.staff, "recall", query="strongbox opens with", limit=1)
    await inside.answer()
    shared = await server.choose(inside, "Share in this channel")
    await shared.until(lambda shown: "9184" in shown.text)
    assert "Ann shares what Ann wrote" in shared.text


async def test_without_a_query_messages_are_listed_and_catching_up_tells_the_talk(paged: Harbour) -> None:
    server = paged.server
    await server.say(paged.ben, paged.general, "I was here")
    await server.say(paged.ann, paged.general, f"<@{paged.ben.id}> which varnish do we need for the rail?")
    await server.say(paged.ann, paged.staff, "staff only: the audit is on Tuesday")
    await found(paged, "varnish for the rail", "varnish")
    listed = await server.slash(paged.ben, paged.general, "recall", author="Ann", sort="newest", limit=1)
    text = await listed.answer()
    assert "varnish" in text
    assert "newest first" in text
    caught = await server.slash(paged.ben, paged.general, "catchup")
    told = await caught.answer()
    assert caught.ephemeral
    assert "@you" in told
    assert "varnish" in told
    assert "audit" not in told


async def test_a_manager_opens_the_page_by_a_link_and_sees_what_they_may_read_until_they_leave(paged: Harbour) -> None:
    server = paged.server
    await server.say(paged.ann, paged.staff, "the spare fuse is in drawer 17")
    await found(paged, "spare fuse drawer", "drawer 17", person=paged.ann, place=paged.staff)
    nosy = await server.slash(paged.ben, paged.general, "memory page")
    assert "may manage this server" in await nosy.answer()
    call = await server.slash(paged.ann, paged.general, "memory page")
    assert "direct messages" in await call.answer()
    assert "link=" not in call.text, "the link itself goes by direct message"
    sent = list(server.world.direct(paged.ann).messages.values())[-1]["content"]
    link = re.search(r"<(http\S+)>", sent)
    assert link is not None
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{PORT}") as client:
        shown = await client.get(link[1])
        secret = re.search(r'name="link" value="([^"]+)"', shown.text)
        assert secret is not None
        assert (await client.post("/enter", data={"link": secret[1]})).status_code == 303
        page = await client.get("/recall")
        answer = await client.post("/recall", data={"csrf": csrf_of(page.text), "query": "spare fuse drawer"})
        assert "drawer 17" in answer.text
        assert "rerank_score" in answer.text
        assert "mneme_gateway_latency_seconds" in (await client.get("/metrics")).text
        for _ in range(100):  # discord.py waits for more servers before it calls itself ready
            if (state := (await client.get("/readyz")).text) == "ready":
                break
            await asyncio.sleep(0.1)
        assert state == "ready"
        roles = paged.ann.roles.pop(paged.guild.id)
        await asyncio.sleep(1.1)  # an answer of Discord counts for a second
        gone = await client.post("/recall", data={"csrf": csrf_of(page.text), "query": "spare fuse drawer"})
        paged.ann.roles[paged.guild.id] = roles
        assert gone.status_code == 403
        assert "drawer 17" not in gone.text
    assert "drawer 17" not in paged.bot.log
    assert "spare fuse" not in paged.bot.log
    assert secret[1] not in paged.bot.log
