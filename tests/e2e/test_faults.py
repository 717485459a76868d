"""What goes wrong between the bot and Discord: refusals at the door, drops, storms, absences, and the end."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from cogs.bench.loopback_discord import Channel, DiscordServer
from cogs.bench.loopback_discord.bot_process import BotProcess, launch, running_bot
from tests.e2e.conftest import Harbour, build, profile_settings

pytestmark = pytest.mark.asyncio(loop_scope="module")
LONG_AGO = dt.datetime(2023, 5, 1, 12, tzinfo=dt.UTC)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def port(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[DiscordServer, Path, Harbour]]:
    """A server without a bot: each test starts its own on the same data."""
    folder = tmp_path_factory.mktemp("faults")
    server = await DiscordServer().start()
    people = build(server)
    nobody = BotProcess(None, folder / "bot.log")  # type: ignore[arg-type]
    yield server, folder, Harbour(server, nobody, folder=folder, **people)  # type: ignore[arg-type]
    await server.stop()


async def seen(harbour: Harbour, query: str, place: Channel | None = None) -> str:
    """Return what Ben sees of a recall, less its title."""
    call = await harbour.server.slash(harbour.ben, place or harbour.general, "recall", query=query)
    return (await call.answer()).replace(f"Recall: {query}", "")


async def eventually(harbour: Harbour, query: str, *words: str, absent: tuple[str, ...] = ()) -> None:
    """Recall until all words are there and none of the absent ones."""
    text = ""
    for _ in range(80):
        text = await seen(harbour, query)
        if all(word in text for word in words) and not any(word in text for word in absent):
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"{words} were not found, or {absent} were: {text}")


async def test_a_wrong_token_is_one_sentence_and_exit_code_2(port: tuple[DiscordServer, Path, Harbour]) -> None:
    server, folder, _ = port
    bot = await launch(server, folder, DISCORD_TOKEN="wrong.token.here")
    assert await asyncio.wait_for(bot.process.wait(), 60) == 2
    assert "Discord does not accept the token" in bot.log
    assert "Traceback" not in bot.log
    assert "wrong.token.here" not in bot.log


async def test_a_missing_intent_is_one_sentence_and_exit_code_2(port: tuple[DiscordServer, Path, Harbour]) -> None:
    server, folder, _ = port
    server.gateway.content_allowed = False
    bot = await launch(server, folder)
    assert await asyncio.wait_for(bot.process.wait(), 60) == 2
    server.gateway.content_allowed = True
    assert "Message Content Intent" in bot.log
    assert "Traceback" not in bot.log.split("accept the token")[-1]


async def test_drops_storms_failures_duplicates_and_disorder_lose_nothing(
    port: tuple[DiscordServer, Path, Harbour],
) -> None:
    server, folder, harbour = port
    async with running_bot(server, folder, **profile_settings(folder, "minimal")) as bot:
        for number in range(4):
            await server.say(harbour.ann, harbour.general, f"heron number {number} before the drop")
            await server.gateway.drop()
            await server.say(harbour.ann, harbour.general, f"heron number {number} while nobody listened")
            await asyncio.sleep(0.4)
        await server.until(lambda: server.gateway.resumed >= 1, "a resumed session")
        for words in (f"heron number {n} {w}" for n in range(4) for w in ("before the drop", "while nobody listened")):
            await eventually(harbour, words, words)

        await server.gateway.drop(forget=True)
        await server.say(harbour.ann, harbour.general, "osprey said to a forgotten session")
        await server.until(server.gateway.ready.is_set, "a new session", 60)
        await eventually(harbour, "osprey", "osprey said to a forgotten session")

        storm = server.fail("POST", r"/webhooks/", 429, times=3)
        failing = server.fail("POST", r"/channels/\d+/messages", 502, times=2)
        assert "heron number" in await seen(harbour, "heron")
        asked = await server.say(harbour.ben, harbour.general, f"<@{server.world.bot.id}> where is the osprey?")
        assert "osprey" in await server.reply_to(harbour.general, asked)
        assert storm.hits == 3
        assert failing.hits == 2

        message = server.world.write(harbour.ann, harbour.general, "cormorant told twice")
        await server.announce(harbour.ann, harbour.general, message)
        await server.announce(harbour.ann, harbour.general, message)
        gone = server.world.write(harbour.ann, harbour.general, "cormorant deleted before it came")
        await server.delete(harbour.general, int(gone["id"]))
        await server.announce(harbour.ann, harbour.general, gone)
        await eventually(harbour, "cormorant", "told twice", absent=("before it came",))
        assert (await seen(harbour, "cormorant")).count("told twice") == 1

        call = await server.slash(harbour.ben, harbour.general, "recall", query="heron")
        call.expired = True
        assert "heron number" in await seen(harbour, "heron again"), "an expired interaction harms nobody else"
        assert "Traceback" not in bot.log.split("accept the token")[-1].split("Message Content")[-1]


async def test_what_happened_while_the_bot_was_away_is_noticed_on_return(
    port: tuple[DiscordServer, Path, Harbour],
) -> None:
    server, folder, harbour = port
    settings = profile_settings(folder, "minimal")
    async with running_bot(server, folder, **settings) as bot:
        edited = await server.say(harbour.ann, harbour.general, "pelican tides at seven")
        deleted = await server.say(harbour.ann, harbour.general, "pelican secret to be deleted")
        doomed = await server.new_channel(harbour.guild, "doomed")
        await server.say(harbour.ann, doomed, "pelican in a doomed channel")
        await eventually(harbour, "pelican", "at seven", "to be deleted", "doomed channel")
        last = [await server.say(harbour.ann, harbour.general, f"albatross {n} at the very end") for n in range(40)]
        began = time.monotonic()
        assert await bot.terminate() == 0
        assert time.monotonic() - began < 10
    server.change(harbour.general, edited, "pelican tides at eight")
    del harbour.general.messages[deleted]
    harbour.guild.channels.remove(doomed)
    del server.world.channels[doomed.id]
    for number in range(230):
        server.world.write(harbour.ben, harbour.general, f"gull number {number} while away")
    fresh = server.world.channel(harbour.guild, "fresh")
    server.world.write(harbour.ben, fresh, "kingfisher in a channel made while away")
    async with running_bot(server, folder, **settings):
        for number in (0, 99, 100, 229):
            await eventually(harbour, f"gull number {number} while", f"gull number {number} while")
        await eventually(harbour, "pelican tides", "at eight", absent=("at seven", "to be deleted", "doomed channel"))
        await eventually(harbour, "kingfisher", "made while away")
        for number in range(0, len(last), 5):
            await eventually(harbour, f"albatross {number} at the very end", f"albatross {number} at")


async def test_backfill_reads_the_past_can_be_stopped_and_goes_on_after_a_kill(
    port: tuple[DiscordServer, Path, Harbour],
) -> None:
    server, folder, harbour = port
    old = server.world.channel(harbour.guild, "archive")
    for number in range(420):
        moment = LONG_AGO + dt.timedelta(minutes=number)
        server.world.write(harbour.ann, old, f"dodo entry {number} of the log book", when=moment)
    settings = profile_settings(folder, "minimal")
    async with running_bot(server, folder, **settings) as bot:
        assert "dodo entry" not in await seen(harbour, "dodo entry"), "the past is read only when somebody asks"
        slow = server.fail("GET", rf"/channels/{old.id}/messages", 429, times=3, retry_after=0.8)
        call = await server.slash(harbour.ann, harbour.general, "memory backfill", channel=str(old.id))
        await call.until(lambda c: "Reading the past" in c.text)
        await server.until(lambda: slow.hits, "a request of the backfill")
        await server.click(call, "Stop")
        await call.until(lambda c: "Stopped" in c.text)
        server.rest.faults.clear()
        again = await server.slash(harbour.ann, harbour.general, "memory backfill", channel=str(old.id))
        await again.until(lambda c: "read" in c.text)
        await bot.kill()
    async with running_bot(server, folder, **settings):
        await eventually(harbour, "dodo entry 0 of the log book", "dodo entry 0 of")
        await eventually(harbour, "dodo entry 419 of the log book", "dodo entry 419 of")
        third = await server.slash(harbour.ann, harbour.general, "memory backfill", channel=str(old.id))
        await third.until(lambda c: "Done" in c.text)
        assert " 0 of them new" in third.text, "a second reading changes nothing"


async def test_opt_in_remembers_only_what_an_administrator_names(tmp_path: Path) -> None:
    server = await DiscordServer().start()
    harbour = Harbour(server, BotProcess(None, tmp_path / "x"), folder=tmp_path, **build(server))  # type: ignore[arg-type]
    try:
        async with running_bot(server, tmp_path, MNEME_REMEMBER="opt-in"):
            await server.say(harbour.ann, harbour.general, "puffin said before anybody agreed")
            await asyncio.sleep(2.0)
            named = await server.slash(
                harbour.ann, harbour.general, "memory channels include", channel=str(harbour.crew.id)
            )
            assert "remembered from now on" in await named.answer()
            await server.say(harbour.ann, harbour.crew, "puffin said in the named channel")
            await server.say(harbour.ann, harbour.general, "puffin said where nobody agreed")
            await eventually(harbour, "puffin", "named channel", absent=("nobody agreed", "anybody agreed"))
            excluded = await server.slash(
                harbour.ann, harbour.general, "memory channels exclude", channel=str(harbour.crew.id)
            )
            await excluded.answer()
            assert "named channel" not in await seen(harbour, "puffin")
    finally:
        await server.stop()
