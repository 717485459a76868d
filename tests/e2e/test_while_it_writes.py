"""A language model writes slowly, and meanwhile people delete what it quotes or close off where it was said."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from cogs.bench.loopback_discord import Channel, DiscordServer, Guild, Person
from cogs.bench.loopback_discord.bot_process import running_bot
from tests.chat.test_language_model import piece
from tests.e2e.conftest import build

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class SlowWriter:
    """An OpenAI-compatible endpoint: quotes all memories, and goes on as long as it is told to."""

    prompts: list[str] = field(default_factory=list)
    dawdle: bool = True
    url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        prompt = (await request.json())["messages"][1]["content"]
        self.prompts.append(prompt)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        memories = prompt[: prompt.index("</memories")]
        with contextlib.suppress(ConnectionResetError):  # the bot hangs up on what it no longer wants
            await response.write(piece(memories[:1500]))
            while self.dawdle:
                await asyncio.sleep(0.1)
                await response.write(piece(" and"))
            await response.write(piece(" THE END."))
            await response.write(b"data: [DONE]\n\n")
        return response


@dataclass
class Harbour:
    server: DiscordServer
    writer: SlowWriter
    guild: Guild
    ann: Person
    ben: Person
    general: Channel


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def harbour(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Harbour]:
    folder: Path = tmp_path_factory.mktemp("writing")
    server = await DiscordServer().start()
    people = build(server)
    writer = SlowWriter()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", writer.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    model = {"MNEME_LLM_BASE_URL": f"http://127.0.0.1:{runner.addresses[0][1]}/v1", "MNEME_LLM_MODEL": "slow"}
    try:
        async with running_bot(server, folder, **model):
            kept = {name: people[name] for name in ("guild", "ann", "ben", "general")}
            yield Harbour(server, writer, **kept)  # type: ignore[arg-type]
    finally:
        await runner.cleanup()
        await server.stop()


async def ask(harbour: Harbour, question: str, quoted: str) -> int:
    """Ask in #general, once it can be found, until the growing reply quotes something; return the question's id."""
    for _ in range(50):
        if (
            quoted
            in await (await harbour.server.slash(harbour.ben, harbour.general, "recall", query=question)).answer()
        ):
            break
        await asyncio.sleep(0.1)
    harbour.writer.dawdle = True
    bot = harbour.server.world.bot.id
    asked = await harbour.server.say(harbour.ben, harbour.general, f"<@{bot}> {question}")
    await harbour.server.reply_to(harbour.general, asked, quoted)
    return asked


def shown(harbour: Harbour, asked: int) -> str:
    return str(harbour.server.answers_to(harbour.general, asked)[0]["content"])


async def ended(harbour: Harbour, asked: int, secret: str) -> str:
    """Wait until the reply no longer shows something while the model would still write, and then until its end."""
    await harbour.server.until(lambda: secret not in shown(harbour, asked), f"a reply without {secret}", 5)
    harbour.writer.dawdle = False
    return await harbour.server.reply_to(harbour.general, asked, "THE END.")


async def test_what_is_deleted_while_it_writes_leaves_the_reply(harbour: Harbour) -> None:
    said = await harbour.server.say(harbour.ann, harbour.general, "The vault code is 7741, the door squeaks")
    await harbour.server.say(harbour.ann, harbour.general, "The vault was painted green")
    asked = await ask(harbour, "what is the vault code and its colour?", "7741")
    await harbour.server.delete(harbour.general, said)
    reply = await ended(harbour, asked, "7741")
    assert "7741" not in reply
    assert "painted green" in reply
    assert "7741" not in harbour.writer.prompts[-1]
    assert len(harbour.server.answers_to(harbour.general, asked)) == 1


async def test_what_is_closed_off_while_it_writes_leaves_the_reply(harbour: Harbour) -> None:
    annex = await harbour.server.new_channel(harbour.guild, "annex")
    await harbour.server.say(harbour.ann, annex, "The annex key hangs behind the stove")
    await harbour.server.say(harbour.ann, harbour.general, "Nobody has cleaned the annex this year")
    asked = await ask(harbour, "where hangs the annex key?", "behind the stove")
    await harbour.server.update_channel(annex.deny(harbour.guild.id))
    reply = await ended(harbour, asked, "behind the stove")
    assert "behind the stove" not in reply
    assert "cleaned the annex" in reply
    assert "behind the stove" not in harbour.writer.prompts[-1]


async def test_in_a_direct_message_deletions_count_and_discord_is_not_asked_again_and_again(harbour: Harbour) -> None:
    server = harbour.server
    said = await server.say(harbour.ann, harbour.general, "The lantern oil stands in the red cupboard")
    await server.say(harbour.ann, harbour.general, "The lantern has a new wick")
    for _ in range(50):
        call = await server.slash(harbour.ben, harbour.general, "recall", query="lantern oil")
        if "red cupboard" in await call.answer():
            break
        await asyncio.sleep(0.1)
    direct = server.world.direct(harbour.ben)
    harbour.writer.dawdle = True
    asked = await server.say(harbour.ben, direct, "where is the lantern oil?")
    await server.reply_to(direct, asked, "red cupboard")
    before = len(server.rest.requests)
    await asyncio.sleep(2.5)
    since = [path for _, _, path in server.rest.requests[before:]]
    assert not [path for path in since if "/members/" in path or "/thread-members/" in path]
    await server.delete(harbour.general, said)
    await server.until(
        lambda: "red cupboard" not in server.answers_to(direct, asked)[0]["content"], "a reply without", 5
    )
    harbour.writer.dawdle = False
    reply = await server.reply_to(direct, asked, "THE END.")
    assert "new wick" in reply
    assert "red cupboard" not in reply
