"""One loopback Discord and one bot for each module of end-to-end tests: a start costs seconds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from cogs.bench.loopback_discord import Channel, DiscordServer, Guild, Person
from cogs.bench.loopback_discord.bot_process import BotProcess, running_bot
from cogs.bench.loopback_discord.world import MANAGE_GUILD, PRIVATE_THREAD, PUBLIC_THREAD
from tests.memory.ingest.test_labels import with_word_reranker

PROFILES = """
words:
  reranker: words
  candidates: 40
minimal:
  reranker: null
slow:
  reranker: slow
  deadline_ms: 8000
hasty:
  reranker: slow
  deadline_ms: 300
broken:
  reranker: nowhere
"""
RERANKERS = """
words:
  format: tests.memory.word_reranker:load
  options: {score_field: content}
slow:
  format: tests.e2e.slow_reranker:load
  options: {score_field: content}
nowhere:
  format: qwen3
  id: nobody/nothing
"""


@dataclass
class Harbour:
    """A small server: Ann manages it, Ben is crew, Eve is nobody; #staff is for managers."""

    server: DiscordServer
    bot: BotProcess
    guild: Guild
    ann: Person
    ben: Person
    eve: Person
    general: Channel
    crew: Channel
    staff: Channel
    thread: Channel
    hidden: Channel
    crew_role: int
    folder: Path


def build(server: DiscordServer) -> dict[str, object]:
    """Make the server, before anybody connects."""
    world = server.world
    ann, ben, eve = (world.person(name) for name in ("Ann", "Ben", "Eve"))
    owner = world.person("Owner")
    guild = world.guild("Harbour", owner, ann, ben, eve)
    world.role(guild, "Bot", (1 << 52) - 1, world.bot)
    managers = world.role(guild, "Managers", MANAGE_GUILD, ann)
    crew_role = world.role(guild, "Crew", 0, ann, ben)
    general = world.channel(guild, "general")
    crew = world.channel(guild, "crew").deny(guild.id).allow(crew_role)
    staff = world.channel(guild, "staff").deny(guild.id).allow(managers)
    thread = world.channel(guild, "engine", type=PUBLIC_THREAD, parent=general)
    hidden = world.channel(guild, "surprise", type=PRIVATE_THREAD, parent=general, members={ben.id})
    return {
        "guild": guild, "ann": ann, "ben": ben, "eve": eve, "general": general, "crew": crew, "staff": staff,
        "thread": thread, "hidden": hidden, "crew_role": crew_role,
    }  # fmt: skip


def profile_settings(folder: Path, profile: str = "words") -> dict[str, str]:
    """Return settings with the tests' own profiles."""
    folder.mkdir(parents=True, exist_ok=True)
    with_word_reranker(folder)
    (folder / "profiles.yaml").write_text(PROFILES)
    (folder / "rerankers.yaml").write_text(RERANKERS)
    return {
        "MNEME_PROFILE": profile,
        "MNEME_PROFILES_FILE": str(folder / "profiles.yaml"),
        "MNEME_RERANKERS_FILE": str(folder / "rerankers.yaml"),
    }


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def harbour(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Harbour]:
    """A server with a bot on it for the whole module."""
    folder = tmp_path_factory.mktemp("e2e")
    server = await DiscordServer().start()
    people = build(server)
    try:
        async with running_bot(server, folder, **profile_settings(folder)) as bot:
            yield Harbour(server, bot, folder=folder, **people)  # type: ignore[arg-type]
    finally:
        await server.stop()
