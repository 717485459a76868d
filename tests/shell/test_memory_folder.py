"""After ``make run`` without a token, the other commands find the sample server, and say so."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.settings import Settings
from tests.commands.doors import sample_service, shell, shell_in
from tests.memory.word_encoder import word_encoder


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A default data folder in which only the sample server was tried."""
    folder = tmp_path_factory.mktemp("runtime")

    async def make_run() -> None:
        await (await sample_service(folder / "sample")).close()

    with word_encoder(), shell_in(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Settings, "data_dir_was_set", property(lambda _: False))
        asyncio.run(make_run())
        yield folder


def test_the_sample_is_searched_where_nothing_else_is_remembered(runtime: Path) -> None:
    for _ in range(2):  # the first of them must not leave an empty memory behind that hides the sample from the next
        code, out, err = shell("recall", "torque wrench", "--limit", "5")
        assert code == 0, err
        assert "https://discord.com/channels/1180000000000000001/" in out
        assert f"this is the sample server, in {runtime / 'sample'}." in err
    assert not (runtime / "mneme.db").exists()


def test_a_memory_of_ones_own_comes_first(runtime: Path, tmp_path: Path) -> None:
    export = runtime / "own.json"
    export.write_text(
        '{"guild": {"id": "900000000000000001", "name": "Own"}, "channel": {"id": "900000000000000002", "type": '
        '"GuildTextChat", "name": "den"}, "messages": [{"id": "1477335035412480001", "type": "Default", "timestamp": '
        '"2026-02-28T18:02:00+00:00", "content": "the torque of my own", "author": {"id": "900000000000000003", '
        '"name": "me", "nickname": "Me", "isBot": false}, "attachments": [], "embeds": []}], "messageCount": 1}'
    )
    code, out, err = shell("import", str(export))
    assert code == 0, out + err
    code, out, err = shell("recall", "torque")
    assert "my own" in out
    assert "sample" not in err


def test_a_folder_that_was_named_is_used_as_it_is(runtime: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Settings, "data_dir_was_set", property(lambda _: True))
        patch.setenv("MNEME_DATA_DIR", str(tmp_path))
        code, _, err = shell("recall", "torque wrench")
    assert code == 2
    assert "Nothing is remembered yet" in err
