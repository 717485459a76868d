"""An import handed to the process that runs already: a job in ``MNEME_DATA_DIR/imports``, and its report beside it.

Only one process may write to a memory, so whoever wants to import while the bot runs leaves a job there; the bot looks
for jobs, imports the files that they name, and writes how far it is and what came of it. A job that was cut off by the
end of the process is done after its next start: importing twice changes nothing. Whoever can write into the folder can
write the database itself, so a job is trusted as much as the person at the shell.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from cogs.imports.importing import ImportProgress, import_files
from cogs.memory.access.guild_view_files import save_guild_view_of
from cogs.memory.errors import BadRequest, FolderInUse, MnemeError, StorageError
from cogs.memory.records import JsonObject
from cogs.memory.storage.folder_lock import FolderLock

if TYPE_CHECKING:
    from cogs.memory.service import MemoryService

log = logging.getLogger(__name__)
FOLDER: Final = "imports"
LOOK_SECONDS: Final = 1.0
TAKEN_WITHIN: Final = 20.0
"""Seconds within which a running process takes a job up, however busy its event loop is."""

TELL_SECONDS: Final = 0.5
KEEP_SECONDS: Final = 7 * 24 * 3600
"""How long a report waits for somebody who went away."""


class ImportJob(BaseModel):
    """What is to be imported; the paths are absolute."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    paths: tuple[str, ...]
    strict: bool = False
    guild_id: int | None = None


class _State(BaseModel):
    """How far a job is; with ``error`` or ``report`` it has ended."""

    step: str = ""
    done: int = 0
    total: int = 0
    error: str | None = None
    report: dict[str, Any] | None = None
    lines: list[str] = []


def _write(path: Path, text: str) -> None:
    """Write a file so that nobody reads half of it."""
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


# --- the process that asks ----------------------------------------------------------------------------------------


async def hand_over(data_dir: Path, job: ImportJob, progress: ImportProgress) -> JsonObject:
    """Have the running process import; return ``{"report": …, "lines": […]}``.

    Raises:
        StorageError: it does not take the job up, or it ended before the job was done.
        BadRequest: it could not do it; the sentence says why.
    """
    folder = data_dir / FOLDER
    name = f"{time.time_ns()}-{secrets.token_hex(4)}"
    waiting, state = folder / f"{name}.job", folder / f"{name}.state"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(_write, waiting, job.model_dump_json())
    except OSError as error:
        raise StorageError(f"The job cannot be written into {folder} ({error.strerror}).") from error
    deadline = time.monotonic() + TAKEN_WITHIN
    seen, looked = None, time.monotonic()
    while True:
        await asyncio.sleep(LOOK_SECONDS / 2)
        told = await asyncio.to_thread(_read_state, state)
        if told != seen:
            seen, looked = told, time.monotonic()
        elif told is not None and time.monotonic() - looked > TAKEN_WITHIN:
            await asyncio.to_thread(_still_runs, data_dir)
            looked = time.monotonic()
        if told is None:
            if time.monotonic() > deadline:
                waiting.unlink(missing_ok=True)
                raise StorageError(
                    "The Mneme that runs on this folder does not take imports up; stop it, import, and start it again."
                )
            continue
        if told.error is not None or told.report is not None:
            state.unlink(missing_ok=True)
        if told.error is not None:
            raise BadRequest(told.error)
        if told.report is not None:
            return {"report": told.report, "lines": told.lines}
        if told.step:
            await progress(told.step, told.done, told.total)


def _still_runs(data_dir: Path) -> None:
    lock = FolderLock(data_dir)
    try:
        lock.acquire()
    except FolderInUse:
        return
    lock.release()
    raise StorageError("The Mneme that ran on this folder has ended; it goes on with the import when it is started.")


def _read_state(path: Path) -> _State | None:
    try:
        return _State.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


# --- the process that runs ----------------------------------------------------------------------------------------


async def watch(service: MemoryService, data_dir: Path) -> None:
    """Do the jobs of a folder, one after the other, until cancelled."""
    folder = data_dir / FOLDER
    while True:
        try:
            for job in await asyncio.to_thread(_jobs, folder):
                await _do(service, job, data_dir)
        except OSError as error:
            log.warning("imports that were handed over wait: %s", error)
        await asyncio.sleep(LOOK_SECONDS)


@contextlib.asynccontextmanager
async def watching(service: MemoryService, data_dir: Path) -> AsyncIterator[None]:
    """Do the jobs of a folder while the body runs."""
    task = asyncio.create_task(watch(service, data_dir), name="handed-over imports")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _jobs(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    for old in folder.glob("*.state"):
        if time.time() - old.stat().st_mtime > KEEP_SECONDS:
            old.unlink(missing_ok=True)
    return sorted(folder.glob("*.job"))


async def _do(service: MemoryService, path: Path, data_dir: Path) -> None:
    """Do one job. Its file goes last, so that one that is cut off is done again."""
    told = 0.0
    state_file = path.with_suffix(".state")

    async def tell(state: _State) -> None:
        await asyncio.to_thread(_write, state_file, state.model_dump_json())

    async def progress(step: str, done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= TELL_SECONDS:
            told = now
            await tell(_State(step=step, done=done, total=total))

    try:
        job = ImportJob.model_validate_json(await asyncio.to_thread(path.read_bytes))
        await tell(_State(step="Checking"))
        paths = [Path(each) for each in job.paths]
        report = await import_files(service, paths, progress, strict=job.strict, guild_id=job.guild_id)
        for folder in {each if each.is_dir() else each.parent for each in paths}:
            await asyncio.to_thread(save_guild_view_of, folder, data_dir)
        await tell(_State(report=report.as_json(), lines=report.lines()))
        log.info("imported what was handed over: %d messages are new", report.imported)
    except ValidationError:
        await tell(_State(error="The job could not be read."))
    except MnemeError as error:
        await tell(_State(error=str(error)))
    await asyncio.to_thread(path.unlink, missing_ok=True)
