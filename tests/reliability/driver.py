"""The process that is killed: a real memory under a stream of creates, edits, deletes, snapshots and switches."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cogs.memory.embedding import service as embedding_service
from cogs.memory.embedding.specs import EMBEDDERS_FILE, MNEME, EmbedderSpec
from cogs.memory.errors import MnemeError
from cogs.memory.records import ChannelInfo, IncomingMessage, Scope
from cogs.memory.service import MemoryService, verify_service
from tests.memory.building import GUILD, ask, message, settings_in
from tests.reliability.ledger import Operation

CHANNELS = [1_001, 1_002, 1_003]
PROFILES = """
first:
  needs: {memory_gb: 0.1}
  embed_batch: 16
  index: flat-fp16
second:
  needs: {memory_gb: 0.1}
  embedder: short
  embed_batch: 16
  index: flat-int8
third:
  needs: {memory_gb: 0.1}
  embed_batch: 8
  index: flat-int8
"""
WORDS = "garden pizza raid router cat harbour friday potion train lamp violin tomato tax invoice holiday".split()


_numbers = itertools.count()


@dataclass(frozen=True)
class Report:
    """What a restarted memory says of itself."""

    stored: dict[int, str]
    problems: list[str]


def _embedders(path: Path = EMBEDDERS_FILE) -> dict[str, EmbedderSpec]:
    del path
    # Its own vectors cut short: another embedder, for which a switch makes every vector anew.
    return {MNEME.name: MNEME, "short": replace(MNEME, name="short", dim=128)}


async def _open(folder: Path) -> MemoryService:
    embedding_service.load_embedders = _embedders  # type: ignore[attr-defined]  # imported there, not exported
    profiles = folder.parent / "profiles.yaml"
    if not profiles.exists():
        profiles.write_text(PROFILES, encoding="utf-8")
    service = await MemoryService.open(settings_in(folder, profiles_file=profiles, profile=None))
    await service.start()
    await service.upsert_guild(GUILD, "The Guild")
    await service.upsert_channels([ChannelInfo(channel, GUILD, f"channel-{channel}") for channel in CHANNELS])
    return service


def live(connection: Connection, folder: Path, seed: int, first_number: int, expected: dict[int, str] | None) -> None:
    """Run a memory until somebody kills it: examine it first where ``expected`` says what it should hold."""
    torch.set_num_threads(1)
    asyncio.run(_live(connection, folder, seed, first_number, expected))


async def _live(
    connection: Connection, folder: Path, seed: int, first_number: int, expected: dict[int, str] | None
) -> None:
    service = await _open(folder)
    if expected is not None:
        connection.send(await _examine(service, expected, random.Random(seed)))
    else:
        connection.send(None)
    streams = [Stream(service, connection, channel, seed + i, first_number) for i, channel in enumerate(CHANNELS)]
    rows = await asyncio.to_thread(_rows, service)
    for stream in streams:
        stream.take_over(rows)
    await asyncio.gather(*(s.run() for s in streams), _snapshots(service), _switches(service, random.Random(seed)))


def _rows(service: MemoryService) -> dict[int, IncomingMessage]:
    found: dict[int, IncomingMessage] = {}
    for channel in CHANNELS:
        ids = service.repository.messages.ids_where(GUILD, channel_ids=[channel])
        for stored in service.repository.search.messages(ids, Scope.of(GUILD, [channel])).values():
            found[stored.id] = IncomingMessage(
                id=stored.id,
                guild_id=GUILD,
                channel_id=stored.channel_id,
                author_id=stored.author_id,
                author_name=stored.author_name,
                content=stored.content,
                created_at=stored.created_at,
                edited_at=stored.edited_at,
            )
    return found


async def _examine(service: MemoryService, expected: dict[int, str], rng: random.Random) -> Report:
    """Look at the memory from every side, after it has worked off what was queued."""
    await service.drain()
    rows = {i: m.content for i, m in (await asyncio.to_thread(_rows, service)).items()}
    verification = await verify_service(service)
    problems = [] if verification.agrees else [verification.sentence]
    if verification.queued:
        problems.append(f"{verification.queued} messages are still queued after everything was worked off")
    for message_id, text in rng.sample(sorted(expected.items()), min(10, len(expected))):
        problems += await _not_found(service, message_id, text)
    return Report(rows, problems)


async def _not_found(service: MemoryService, message_id: int, text: str) -> list[str]:
    """Return what is wrong with finding a message by its rarest word, and by its own vector."""
    word = text.split()[0]
    hits = [hit.message.id for hit in (await ask(service, word, *CHANNELS)).hits]
    problems = [] if message_id in hits else [f"{word} does not find message {message_id}"]
    with service.slot.acquire() as loadout:
        key = loadout.embedder.model_key
        found = list(service.repository.vectors.read(key, [message_id]))
        if not found:
            return [*problems, f"message {message_id} has no vector"]
        vector = found[0][3][0]
        best = loadout.indexes.store(GUILD).search(vector / np.linalg.norm(vector), frozenset(CHANNELS), 5)
        if message_id not in [i for i, cosine in best if cosine > 0.98]:
            problems.append(f"the vector of message {message_id} does not find it")
    return problems


class Stream:
    """One writer with a channel and authors of its own, so that what it did is known whatever the others do."""

    def __init__(
        self, service: MemoryService, connection: Connection, channel: int, seed: int, first_number: int
    ) -> None:
        self._service = service
        self._connection = connection
        self._channel = channel
        self._rng = random.Random(seed)
        self._numbers = iter(range(first_number + 3_000 * (channel - CHANNELS[0]), 10**9))
        self._authors = [channel * 10 + i for i in range(3)]
        self._alive: dict[int, IncomingMessage] = {}
        self._dead: list[IncomingMessage] = []
        self._replaced: list[IncomingMessage] = []

    def take_over(self, rows: dict[int, IncomingMessage]) -> None:
        """Go on with what an earlier process left."""
        self._alive = {i: m for i, m in rows.items() if m.channel_id == self._channel}

    async def run(self) -> None:
        """Go on until the process is killed."""
        steps: list[tuple[Callable[[], Awaitable[Any]], int]] = [
            (self._create, 40),
            (self._edit, 20),
            (self._delete, 20),
            (self._echo, 8),
            (self._forget_author, 2),
            (self._forget_channel, 1),
        ]
        while True:
            (step,) = self._rng.choices([s for s, _ in steps], [w for _, w in steps])
            await step()
            await asyncio.sleep(self._rng.random() * 0.01)

    def _text(self) -> str:
        rare = "zq" + "".join(self._rng.choices("bcdfghjkmnprstvwxz", k=14))
        return " ".join([rare, *self._rng.choices(WORDS, k=4)])

    async def _do(self, after: dict[int, str | None], work: Awaitable[Any]) -> None:
        number = next(_numbers)
        self._connection.send(Operation(number, after))
        await work
        self._connection.send(number)

    async def _create(self) -> None:
        if len(self._alive) > 60:
            return
        now = dt.datetime.now(dt.UTC)  # whoever was forgotten writes anew; what they wrote before stays away
        new = [
            message(next(self._numbers), self._text(), self._rng.choice(self._authors), self._channel, created_at=now)
            for _ in range(self._rng.randint(1, 6))
        ]
        await self._do({m.id: m.content for m in new}, self._service.remember(new))
        self._alive |= {m.id: m for m in new}

    async def _edit(self) -> None:
        if not self._alive:
            return
        old = self._rng.choice(list(self._alive.values()))
        edited = replace(old, content=self._text(), edited_at=_later(old))
        await self._do({edited.id: edited.content}, self._service.edit(edited))
        self._alive[edited.id] = edited
        self._replaced.append(old)

    async def _delete(self) -> None:
        doomed = self._rng.sample(sorted(self._alive), min(self._rng.randint(1, 4), len(self._alive)))
        await self._do(dict.fromkeys(doomed), self._service.forget_messages(GUILD, doomed))
        self._dead += [self._alive.pop(i) for i in doomed]

    async def _echo(self) -> None:
        """Say again what was deleted, and an old version of what was edited, as a late event or an import would."""
        await self._service.remember([*self._dead[-5:], *self._replaced[-5:]])

    async def _forget_author(self) -> None:
        author = self._rng.choice(self._authors)
        theirs = [m for m in self._alive.values() if m.author_id == author]
        await self._do({m.id: None for m in theirs}, self._service.forget_person(author, None))
        self._dead += theirs
        self._alive = {i: m for i, m in self._alive.items() if m.author_id != author}

    async def _forget_channel(self) -> None:
        await self._do(dict.fromkeys(self._alive), self._service.forget_channel(GUILD, self._channel, keep_record=True))
        self._dead += self._alive.values()
        self._alive = {}


def _later(old: IncomingMessage) -> dt.datetime:
    return (old.edited_at or old.created_at) + dt.timedelta(seconds=1)


async def _snapshots(service: MemoryService) -> None:
    while True:
        with service.slot.acquire() as loadout:
            await asyncio.to_thread(loadout.indexes.save)
        await asyncio.sleep(0.02)


async def _switches(service: MemoryService, rng: random.Random) -> None:
    while True:
        await asyncio.sleep(rng.random() * 0.5)
        try:
            await service.use_profile(rng.choice(["first", "second", "third"]))
        except MnemeError as error:
            raise AssertionError(f"a switch failed: {error}") from error
