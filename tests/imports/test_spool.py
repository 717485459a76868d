"""An import while the bot runs: the running process does it, and whoever asked gets its report."""

from __future__ import annotations

from pathlib import Path

import pytest

from cogs.imports import spool
from cogs.imports.spool import ImportJob, hand_over, watching
from cogs.memory.errors import BadRequest, FolderInUse, StorageError
from cogs.memory.service import MemoryService
from tests.imports.stored import stored_only
from tests.imports.test_folders import CASES, said
from tests.memory.building import settings_in


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often, so that the tests need not wait."""
    monkeypatch.setattr(spool, "LOOK_SECONDS", 0.02)


async def _silent(step: str, done: int, total: int) -> None:
    pass


async def test_a_second_process_hands_its_import_to_the_first(tmp_path: Path) -> None:
    async with stored_only(tmp_path) as service, watching(service, tmp_path):
        with pytest.raises(FolderInUse):
            await MemoryService.open(settings_in(tmp_path))
        answer = await hand_over(tmp_path, ImportJob(paths=(str(CASES / "folder_with_cut"),)), _silent)
        assert await said(service) == {"beds": ["The beds are dug"]}
        assert answer["report"]["imported"] == 1
        assert [each["file"] for each in answer["report"]["not_imported"]] == ["shed.json"]
        assert "1 file was not imported:" in answer["lines"]
    assert list((tmp_path / spool.FOLDER).iterdir()) == []


async def test_what_the_first_process_cannot_do_is_said_to_the_second(tmp_path: Path) -> None:
    async with stored_only(tmp_path) as service, watching(service, tmp_path):
        with pytest.raises(BadRequest, match="There is no file"):
            await hand_over(tmp_path, ImportJob(paths=(str(tmp_path / "typo.json"),)), _silent)
        job = ImportJob(paths=(str(CASES / "folder_with_cut"),), strict=True)
        with pytest.raises(BadRequest, match="Nothing was imported"):
            await hand_over(tmp_path, job, _silent)


async def test_a_job_that_was_cut_off_is_done_after_the_next_start(tmp_path: Path) -> None:
    (tmp_path / spool.FOLDER).mkdir()
    job = ImportJob(paths=(str(CASES / "partitions"),))
    (tmp_path / spool.FOLDER / "1.job").write_text(job.model_dump_json(), encoding="utf-8")
    async with stored_only(tmp_path) as service, watching(service, tmp_path):
        # Jobs are done in their order, so the first is done when the second is.
        await hand_over(tmp_path, ImportJob(paths=(str(CASES / "z_offset.json"),)), _silent)
        assert len((await said(service))["beds"]) == 3


async def test_a_process_that_takes_no_jobs_up_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "TAKEN_WITHIN", 0.1)
    with pytest.raises(StorageError, match="stop it, import, and start it again"):
        await hand_over(tmp_path, ImportJob(paths=(str(CASES),)), _silent)
    assert list((tmp_path / spool.FOLDER).iterdir()) == []


async def test_a_process_that_ends_in_between_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "TAKEN_WITHIN", 0.2)
    write = spool._write

    def taken_up(path: Path, text: str) -> None:
        write(path, text)
        write(path.with_suffix(".state"), '{"step": "Checking", "done": 1, "total": 2}')

    monkeypatch.setattr(spool, "_write", taken_up)
    with pytest.raises(StorageError, match="it goes on with the import when it is started"):
        await hand_over(tmp_path, ImportJob(paths=(str(CASES),)), _silent)
