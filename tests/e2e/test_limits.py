"""What one person can cost: keystrokes and mentions have their limits; and guests see what guests see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from cogs.bench.loopback_discord import DiscordServer
from cogs.bench.loopback_discord.bot_process import running_bot
from cogs.bench.loopback_discord.world import PRIVATE_THREAD
from tests.e2e.conftest import Harbour, build, profile_settings
from tests.e2e.test_conversation import found, recall

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def limited(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Harbour]:
    """A harbour with many private threads, whose bot keeps to its limits of replies."""
    folder: Path = tmp_path_factory.mktemp("limits")
    server = await DiscordServer().start()
    people = build(server)
    general, guild = people["general"], people["guild"]
    for number in range(60):
        inside = {people["ben"].id} if number == 30 else set()  # type: ignore[attr-defined]
        server.world.channel(guild, f"private-{number}", type=PRIVATE_THREAD, parent=general, members=inside)  # type: ignore[arg-type]
    try:
        settings = profile_settings(folder) | {"MNEME_REPLIES_PER_MINUTE": "6"}
        async with running_bot(server, folder, **settings) as bot:
            yield Harbour(server, bot, folder=folder, **people)  # type: ignore[arg-type]
    finally:
        await server.stop()


async def test_keystrokes_ask_discord_once(limited: Harbour) -> None:
    server = limited.server
    before = len(server.rest.requests)
    typed = [server.complete(limited.ben, limited.general, "recall", "channel", "gene"[:n]) for n in range(5)]
    offered = await asyncio.gather(*typed)
    assert "#general" in [choice["name"] for choice in offered[-1]]
    again = await server.complete(limited.ben, limited.general, "recall", "channel", "private")
    assert [choice["name"] for choice in again] == ["#private-30"]
    asked = [path for _, _, path in server.rest.requests[before:] if "/thread-members/" in path]
    assert len(asked) <= 50, "each keystroke asked for every thread"


async def test_eighty_mentions_get_a_few_answers(limited: Harbour) -> None:
    server, bot = limited.server, limited.server.world.bot.id
    asked = [await server.say(limited.eve, limited.general, f"<@{bot}> question {n}?") for n in range(80)]
    await server.until(lambda: any("catch my breath" in str(m["content"]) for m in said_by_bot(limited)), "a word")

    def answered() -> list[int]:
        return [number for number in asked if server.answers_to(limited.general, number)]

    await server.until(lambda: len(answered()) >= 7, "six answers and the word", 60)
    await asyncio.sleep(1.0)
    assert len(answered()) <= 8
    mine = await server.say(limited.ben, limited.general, f"<@{bot}> and mine?")
    assert await server.reply_to(limited.general, mine)


def said_by_bot(limited: Harbour) -> list[dict[str, object]]:
    return list(limited.server.rest.sent)


async def test_a_guest_finds_nothing_of_what_everyone_may_read(limited: Harbour) -> None:
    server = limited.server
    await server.say(limited.ann, limited.general, "The harbour master sleeps until ten")
    await found(limited, "harbour master sleeps", "until ten")
    limited.guild.guests.add(limited.eve.id)
    try:
        assert "until ten" not in await recall(limited, "harbour master sleeps", limited.eve)
        offered = await server.complete(limited.eve, limited.general, "recall", "author", "a")
        assert offered == []
        direct = server.world.direct(limited.eve)
        asked = await server.say(limited.eve, direct, "when does the harbour master sleep?")
        assert "until ten" not in await server.reply_to(direct, asked)
    finally:
        limited.guild.guests.discard(limited.eve.id)
