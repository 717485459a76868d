"""Two processes that write into one PostgreSQL: no deadlock, no duplicate, nothing lost."""

from __future__ import annotations

import multiprocessing
import random
from pathlib import Path

import sqlalchemy as sa

from cogs.memory.records import ChannelInfo
from cogs.memory.storage.repository import Repository
from cogs.memory.storage.verify import verify_stores
from tests.memory.building import GUILD, message

BATCHES, CHANNELS, SHARED = 40, 20, 400


def _write(url: str, folder: Path, seed: int) -> None:
    repository = Repository.open(url, folder)
    rng = random.Random(seed)
    numbers = list(range(SHARED))
    rng.shuffle(numbers)
    for batch in range(BATCHES):
        part = numbers[batch * 10 : batch * 10 + 10]
        mixed = [message(n, f"Number {n} of the keel", channel=5_000 + n % CHANNELS) for n in part]
        own = [message(1_000 * seed + batch, f"own {batch}", channel=5_000 + batch % CHANNELS)]
        repository.messages.save(mixed + own)
    repository.close()


def test_two_processes_on_the_same_channels_never_end_in_a_deadlock(tmp_path: Path, fresh: str) -> None:
    repository = Repository.open(fresh, tmp_path)
    repository.guilds.upsert_channels([ChannelInfo(5_000 + n, GUILD, f"c{n}") for n in range(CHANNELS)])
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(fresh, tmp_path / str(seed), seed)) for seed in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(300)
    assert [writer.exitcode for writer in writers] == [0, 0]
    with repository.database.reading() as db:
        stored = int(db.scalar(sa.text("SELECT count(*) FROM messages")) or 0)
    assert stored == SHARED + 2 * BATCHES
    found = verify_stores(repository)
    assert (found.without_keywords, found.stray_keywords, found.undead) == (0, 0, 0)
    repository.close()
