"""A database of an earlier version opens with everything in it, and goes back where somebody goes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config

from cogs.memory.records import Filters, Scope
from cogs.memory.storage import keyword_index as repository_keywords
from cogs.memory.storage.database import MIGRATIONS, create_engine
from cogs.memory.storage.verify import verify_stores
from tests.memory.building import GENERAL, GUILD, SECRET, message, running_service


def to_version(url: str, version: str) -> None:
    """Move the database of a closed service to a version."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = create_engine(url)
    with engine.connect() as connection, connection.begin():
        config.attributes["connection"] = connection
        command.downgrade(config, version)
    engine.dispose()


async def test_keywords_of_the_first_version_are_found_by_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(service: Any, channel: int) -> list[int]:
        scope = Scope.of(GUILD, [channel])
        return [i & 0x3FFFFF for i, _ in service.repository.keywords.candidates(["keel"], scope, Filters(), 9)]

    async with running_service(tmp_path) as service:
        await service.remember([message(1, "The keel"), message(2, "A keel of theirs", channel=SECRET)])
        await service.drain()
    to_version(f"sqlite:///{tmp_path / 'mneme.db'}", "0001")
    engine = create_engine(f"sqlite:///{tmp_path / 'mneme.db'}")
    with engine.connect() as db:
        columns = [row[1] for row in db.exec_driver_sql("PRAGMA table_info(keywords)")]
    engine.dispose()
    assert columns == ["body", "author"]
    monkeypatch.setattr(repository_keywords, "MATCHES_AT_MOST", 0)
    async with running_service(tmp_path) as service:
        assert (found(service, GENERAL), found(service, SECRET)) == ([1], [2])
        assert verify_stores(service.repository).agrees
        keel = message(2, "A keel of theirs", channel=SECRET)
        await service.forget_messages(GUILD, [keel.id])
        await service.remember([message(3, "Another keel", channel=SECRET)])
        assert found(service, SECRET) == [3]
    assert holding(tmp_path, b"theirs") == []


async def test_words_on_postgresql_are_found_after_an_upgrade_from_before_bm25(tmp_path: Path, fresh: str) -> None:
    chat = [message(1, "The keel of our boat"), message(2, "我們明天去台北看電影"), message(3, "nothing of it")]
    async with running_service(tmp_path, database_url=fresh) as service:
        await service.remember(chat)
        await service.drain()
    to_version(fresh, "0002")
    async with running_service(tmp_path, database_url=fresh) as service:
        scope = Scope.of(GUILD, [GENERAL])
        for word, number in (("keel", 1), ("台北", 2)):
            found = service.repository.keywords.candidates([word], scope, Filters(), 9)
            assert [i & 0x3FFFFF for i, _ in found] == [number]
        assert verify_stores(service.repository).agrees


def holding(folder: Path, text: bytes) -> list[str]:
    """Return the files of the closed database that hold a text."""
    return [file.name for file in folder.glob("mneme.db*") if text in file.read_bytes()]
