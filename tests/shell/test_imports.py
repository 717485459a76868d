"""``python bot.py import``: its exit code, what it says of files that it leaves out, and beside a running Mneme."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cogs.imports import spool
from cogs.imports.errors import BadExport
from cogs.imports.spool import watching
from cogs.shell.imports import import_command
from tests.imports.stored import stored_only
from tests.imports.test_folders import CASES, said
from tests.memory.building import settings_in


async def test_files_that_are_left_out_are_named_with_the_reason_and_end_in_exit_code_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = [CASES / "folder_with_cut"]
    with pytest.raises(BadExport, match="Nothing was imported"):
        await import_command(settings_in(tmp_path), folder, strict=True, guild_id=None, as_json=False)
    assert await import_command(settings_in(tmp_path), folder, strict=False, guild_id=None, as_json=False) == 3
    told = capsys.readouterr().out
    assert "Imported 1 of 1 messages from 1 channel of Garden club." in told
    assert "1 file was not imported:\n  shed.json cannot be imported: it ends in the middle (line 5" in told


async def test_beside_a_running_mneme_the_running_one_imports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "LOOK_SECONDS", 0.02)
    async with stored_only(tmp_path) as service, watching(service, tmp_path):
        folder = [CASES / "partitions"]
        assert await import_command(settings_in(tmp_path), folder, strict=False, guild_id=None, as_json=True) == 0
        assert await said(service) == {"beds": ["First part: plums", "Second part: pears"]}
    captured = capsys.readouterr()
    assert "the running process imports this" in captured.err
    assert json.loads(captured.out)["imported"] == 2
