"""A database that an earlier version left, kept as a file for each schema, opens with everything in it."""

from __future__ import annotations

import lzma
import shutil
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from cogs.memory.records import Filters, Scope
from cogs.memory.storage.database import MIGRATIONS, known_revisions
from cogs.memory.storage.verify import verify_stores
from config.settings import PROJECT_DIR
from tests.memory.building import GENERAL, GUILD, SECRET, ask, message, running_service, texts

DATABASES = sorted((PROJECT_DIR / "tests" / "data" / "databases").glob("*.db.xz"))
DELETED, OPTED_OUT = 5, 999


@pytest.mark.parametrize("kept", DATABASES, ids=[path.name.partition(".")[0] for path in DATABASES])
async def test_what_an_earlier_version_remembered_is_found_and_what_it_forgot_is_not(
    tmp_path: Path, kept: Path
) -> None:
    _unpack(kept, tmp_path)
    async with running_service(tmp_path) as service:
        await service.drain()
        assert "spare key lies under the blue flower pot" in texts(await ask(service, "where is the spare key?"))[0]
        assert "星期五" in texts(await ask(service, "我们什么时候见面"))[0]
        assert texts(await ask(service, "plan", filters=Filters(has="file"))) == ["Here is the plan"]
        assert not any("4711" in text for text in texts(await ask(service, "what is the code for keepers?")))
        assert "4711" in texts(await ask(service, "what is the code for keepers?", SECRET))[0]
        assert [label.name for label in await service.labels(GUILD)] == ["repairs"]
        assert await service.is_opted_out(OPTED_OUT, GUILD)
        assert await service.remember([message(DELETED, "This one is deleted later")]) == 0
        assert await service.remember([message(9, "Not any more", author=OPTED_OUT)]) == 0
        assert verify_stores(service.repository).agrees
        reach = await service.reach(Scope.of(GUILD, [GENERAL, SECRET]))
        assert (reach.messages, reach.channels) == (5, 2)


def _unpack(kept: Path, folder: Path) -> None:
    (folder / "mneme.db").write_bytes(lzma.decompress(kept.read_bytes()))
    shutil.copy(kept.parent / "person.key", folder / "person.key")


def test_there_is_a_file_for_every_schema_but_the_newest() -> None:
    versions = PROJECT_DIR / "cogs" / "memory" / "storage" / "migrations" / "versions"
    schemas = sorted(path.name[:4] for path in versions.glob("[0-9]*.py"))
    assert [path.name[:4] for path in DATABASES] == schemas[: len(DATABASES)]
    assert len(DATABASES) >= 2


def test_the_numbers_of_the_files_are_the_order_of_the_migrations() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    script = ScriptDirectory.from_config(config)
    assert known_revisions() == {revision.revision for revision in script.walk_revisions()}
    assert script.get_current_head() == max(known_revisions())
