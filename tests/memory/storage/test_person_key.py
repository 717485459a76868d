"""The key of opt-outs belongs to the database: whoever said stop stays silent, whatever becomes of the data folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cogs.memory.errors import StorageError
from cogs.memory.service import MemoryService
from cogs.memory.storage.people import PersonHasher
from cogs.memory.storage.repository import Repository
from tests.memory.building import ANNA, GUILD, message, settings_in


def database_in(folder: Path, **more: Any) -> str:
    """Return the URL of the settings' database, made in a folder of its own."""
    return settings_in(folder, **more).sqlalchemy_url


async def opted_out(folder: Path, url: str, **more: Any) -> bool:
    """Return whether a memory with a data folder knows that Anna said stop."""
    repository = Repository.open(url, folder, **more)
    try:
        return repository.people.is_opted_out(ANNA, GUILD)
    finally:
        repository.close()


async def test_an_opt_out_outlives_the_data_folder(tmp_path: Path, where: dict[str, Any]) -> None:
    url = database_in(tmp_path / "database", **where)
    first = Repository.open(url, tmp_path / "one")
    first.people.opt_out(ANNA, GUILD)
    first.close()
    assert not (tmp_path / "one" / "person.key").exists()
    assert await opted_out(tmp_path / "a container deployed anew", url)
    again = Repository.open(url, tmp_path / "two")
    assert again.messages.save([message(1, "I said stop")]).new == ()
    again.close()


async def test_the_key_file_of_an_earlier_version_is_taken_in(tmp_path: Path) -> None:
    url, folder = database_in(tmp_path), tmp_path
    digest = PersonHasher(b"k" * 32).digest(ANNA, GUILD)
    first = Repository.open(url, folder)
    with first.database.writing() as db:  # as an earlier version left it
        db.execute(sa.text("DELETE FROM meta"))
        db.execute(sa.text("INSERT INTO opt_outs VALUES (:digest)"), {"digest": digest})
    first.close()
    with pytest.raises(StorageError, match="under a key that is not here"):
        Repository.open(url, tmp_path / "elsewhere")
    (folder / "person.key").write_bytes(b"k" * 32)
    assert await opted_out(folder, url)
    assert not (folder / "person.key").exists()
    assert await opted_out(folder, url)


async def test_another_key_beside_opt_outs_is_refused_in_one_sentence_and_changes_nothing(tmp_path: Path) -> None:
    url = database_in(tmp_path)
    first = Repository.open(url, tmp_path)
    first.people.opt_out(ANNA, GUILD)
    first.close()
    (tmp_path / "person.key").write_bytes(b"another key, of another memory!!")
    with pytest.raises(StorageError, match="is another key than the one") as refused:
        await MemoryService.open(settings_in(tmp_path))
    assert "\n" not in str(refused.value)
    assert (tmp_path / "person.key").exists()
    (tmp_path / "person.key").unlink()
    assert await opted_out(tmp_path, url)


async def test_a_secret_wraps_the_key_and_another_one_is_refused(tmp_path: Path) -> None:
    url = database_in(tmp_path)
    first = Repository.open(url, tmp_path)
    first.people.opt_out(ANNA, GUILD)
    plain = (first.meta.get("person_key") or "").split(":")[1]
    first.close()
    assert await opted_out(tmp_path, url, secret="horse battery")
    wrapped = Repository.open(url, tmp_path, secret="horse battery")
    assert plain not in (wrapped.meta.get("person_key") or "")
    assert wrapped.erase_traces()
    wrapped.close()
    assert plain.encode() not in (tmp_path / "mneme.db").read_bytes()
    for wrong in (None, "another"):
        with pytest.raises(StorageError, match="set MNEME_SECRET to the secret that was used so far"):
            Repository.open(url, tmp_path, secret=wrong)
    assert await opted_out(tmp_path, url, secret="horse battery")
