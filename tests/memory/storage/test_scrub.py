"""SQLite moves rows and leaves their copies behind; after a scrub no byte of deleted text is left."""

from __future__ import annotations

import random
import re
from pathlib import Path

from cogs.memory.storage.database import create_engine, migrate, sqlite_module
from cogs.memory.storage.people import PersonHasher
from cogs.memory.storage.repository import Repository
from tests.memory.building import GUILD, message


def test_what_was_moved_before_it_was_deleted_is_gone_from_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "mneme.db"
    engine = create_engine(f"sqlite:///{path}")
    migrate(engine)
    repository = Repository(engine, PersonHasher(b"key"))
    rng = random.Random(1)
    words = ["zq" + "".join(rng.choices("bcdfghjkmnp", k=14)) for _ in range(600)]
    alive: dict[int, str] = {}
    for number, word in enumerate(words):
        said = message(number, f"{word} " + "pad " * rng.randint(1, 150))
        repository.messages.save([said])
        alive[said.id] = word
        if number % 3:
            gone = rng.choice(sorted(alive))
            repository.messages.delete(GUILD, [gone], lambda _: None)
            del alive[gone]
    assert repository.erase_traces()
    found = {match.decode() for match in re.findall(rb"zq[bcdfghjkmnp]{14}", path.read_bytes())}
    assert found <= set(alive.values())
    assert not (path.with_name("mneme.db-wal")).stat().st_size
    repository.close()
    check = sqlite_module().connect(path)
    assert check.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert check.execute("SELECT count(*) FROM messages").fetchone()[0] == len(alive)
    check.close()
