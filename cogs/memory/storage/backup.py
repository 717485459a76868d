"""Backups of a memory on SQLite: one zip with the database as of one moment, and what lies beside it.

The copy is made by SQLite's online backup, so the bot goes on meanwhile. What a backup holds of people who are
forgotten later stays in it until the file is deleted; :func:`restore` forgets them again where the folder that it
restores into still knows of them, which is why it reads that folder's database first.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cogs.memory.errors import BadRequest, StorageError
from cogs.memory.storage.database import known_revisions, sqlite_module
from cogs.memory.storage.person_key import NAME as KEY_NAME
from cogs.memory.storage.person_key import key_in
from cogs.memory.storage.repository import Repository

DATABASE = "mneme.db"
MANIFEST = "manifest.json"
BESIDE = ("person.key",)
FOLDERS = ("guilds", "attachments")
INDEXES = "indexes"
"""Made anew from the vectors of the database."""
FORMAT = 1
PAGES = 4096
"""Pages that are copied between two looks at whether others want to write."""

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class BackupReport:
    """``messages`` in the backup, its ``bytes``, and for a restore how many messages were ``forgotten`` again."""

    messages: int
    bytes: int
    forgotten: int = 0


def back_up(data_dir: Path, target: Path, progress: Progress = lambda _: None) -> BackupReport:
    """Write a verified backup of a data folder, while it is in use.

    Raises:
        BadRequest: there is no database, or the target exists.
        StorageError: the copy could not be made, or is not sound.
    """
    source = data_dir / DATABASE
    if not source.is_file():
        raise BadRequest(f"There is no memory under {data_dir}.")
    if target.exists():
        raise BadRequest(f"{target} exists already; name a file that does not.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".backup-") as name:
            copy = Path(name) / DATABASE
            _copy(source, copy, progress)
            messages, revision = _checked(copy)
            part = Path(name) / "backup.zip"
            files = {DATABASE: copy, **_beside(data_dir)}
            manifest: dict[str, Any] = {"format": FORMAT, "schema": revision, "messages": messages, "sha256": {}}
            with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                for member, file in files.items():
                    archive.write(file, member)
                    manifest["sha256"][member] = _digest(file)
                archive.writestr(MANIFEST, json.dumps(manifest, indent=1))
            os.chmod(part, 0o600)
            os.replace(part, target)
    except OSError as error:
        raise StorageError(f"The backup could not be written: {error.strerror or error}.") from error
    return BackupReport(messages, target.stat().st_size)


def restore(backup: Path, data_dir: Path, secret: str | None = None) -> BackupReport:
    """Put a backup in the place of a data folder's memory, and forget again what that folder had forgotten.

    The caller holds the folder's lock. What was there goes only after the backup is checked whole. ``secret`` is the
    one that wraps the key of people's opt-outs, where one does.

    Raises:
        BadRequest: the file is no backup, is damaged, or is from a newer version; nothing was changed.
        StorageError: the folder cannot be written.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=data_dir, prefix=".restore-") as name:
            fresh = Path(name)
            manifest = _unpacked(backup, fresh)
            if manifest.get("schema") not in known_revisions():
                raise BadRequest(
                    f"{backup.name} is from a newer version of Mneme (schema {manifest.get('schema')}); update the "
                    "program. Nothing was changed."
                )
            messages, _ = _checked(fresh / DATABASE)
            forgotten = _forget_again(fresh, data_dir, secret)
            _put_in_place(fresh, data_dir)
    except zipfile.BadZipFile as error:
        raise BadRequest(f"{backup.name} is no backup of Mneme, or is damaged. Nothing was changed.") from error
    except OSError as error:
        raise StorageError(f"The backup could not be restored: {error.strerror or error}.") from error
    return BackupReport(messages - forgotten, backup.stat().st_size, forgotten)


def _copy(source: Path, target: Path, progress: Progress) -> None:
    sqlite = sqlite_module()
    with (
        contextlib.closing(sqlite.connect(f"file:{source}?mode=ro", uri=True)) as old,
        contextlib.closing(sqlite.connect(target)) as new,
    ):
        try:
            old.backup(new, pages=PAGES, progress=lambda _s, left, total: progress(1 - left / max(total, 1)))
        except sqlite.Error as error:
            raise StorageError(f"The database could not be copied ({error}).") from error


def _checked(database: Path) -> tuple[int, str]:
    """Return how many messages a copy holds and its schema.

    Raises:
        StorageError: it is damaged.
    """
    sqlite = sqlite_module()
    with contextlib.closing(sqlite.connect(database)) as db:
        try:
            (state,) = db.execute("PRAGMA integrity_check").fetchone()
            (messages,) = db.execute("SELECT count(*) FROM messages").fetchone()
            (revision,) = db.execute("SELECT version_num FROM alembic_version").fetchone()
        except (sqlite.Error, TypeError) as error:
            raise StorageError("The database in the backup is damaged. Nothing was changed.") from error
    if state != "ok":
        raise StorageError("The database in the backup is damaged. Nothing was changed.")
    return int(messages), str(revision)


def _beside(data_dir: Path) -> dict[str, Path]:
    found = {name: data_dir / name for name in BESIDE if (data_dir / name).is_file()}
    for folder in FOLDERS:
        for file in sorted((data_dir / folder).rglob("*")) if (data_dir / folder).is_dir() else ():
            if file.is_file() and not file.is_symlink():
                found[file.relative_to(data_dir).as_posix()] = file
    return found


def _unpacked(backup: Path, folder: Path) -> dict[str, Any]:
    """Unpack what the manifest names, and nothing else; each file must have its digest."""
    if not backup.is_file():
        raise BadRequest(f"There is no file {backup}.")
    damaged = BadRequest(f"{backup.name} is no backup of Mneme, or is damaged. Nothing was changed.")
    with zipfile.ZipFile(backup) as archive:
        try:
            if archive.getinfo(MANIFEST).file_size > 64 << 20:
                raise damaged
            manifest = json.loads(archive.read(MANIFEST))
            digests: dict[str, str] = dict(manifest["sha256"])
        except (KeyError, ValueError, TypeError) as error:
            raise damaged from error
        if manifest.get("format") != FORMAT or DATABASE not in digests:
            raise damaged
        for member, digest in digests.items():
            path = Path(member)
            if path.is_absolute() or ".." in path.parts or path.parts[0] not in (DATABASE, *BESIDE, *FOLDERS):
                raise damaged
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                info = archive.getinfo(member)
            except KeyError as error:
                raise damaged from error
            if info.file_size > shutil.disk_usage(folder).free:
                raise StorageError("There is too little room to restore the backup. Nothing was changed.")
            with archive.open(info) as packed, target.open("wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
            if _digest(target) != digest:
                raise damaged
    return dict(manifest)


def _forget_again(fresh: Path, data_dir: Path, secret: str | None) -> int:
    """Carry over what the present database says must not come back, and erase it from the restored one.

    Raises:
        BadRequest: the present database's opt-outs were hashed under another key, so they cannot be carried over.
    """
    if not (data_dir / DATABASE).is_file():
        return 0
    past = _forgotten_in(data_dir / DATABASE)
    repository = Repository.open(f"sqlite:///{fresh / DATABASE}", fresh, secret=secret)
    try:
        if past.digests or past.before:
            present = key_in(past.key, data_dir, secret)
            if present is not None and present != key_in(repository.meta.get(KEY_NAME), fresh, secret):
                raise BadRequest(
                    "The present memory knows of people who said stop under another key than the backup's, so they "
                    "would be remembered again; restore into an empty folder. Nothing was changed."
                )
        gone = 0
        for guild_id, ids in past.tombstones.items():
            gone += len(repository.messages.delete(guild_id, ids, lambda _ids: None))
        repository.people.say_again(past.digests, past.before)
        for author_id, guild_id in repository.people.opted_out_authors():
            ids = repository.messages.ids_where(guild_id, author_id=author_id)
            gone += len(repository.messages.delete(guild_id, ids, lambda _ids: None))
        for (author_id, guild_id), before_ms in repository.people.forgotten_authors().items():
            ids = repository.messages.ids_where(guild_id, author_id=author_id, before_ms=before_ms)
            gone += len(repository.messages.delete(guild_id, ids, lambda _ids: None))
        repository.erase_traces()
    finally:
        repository.close()
    return gone


@dataclass(frozen=True, slots=True)
class _Past:
    """What a database had forgotten: ids by server, hashes of who said stop, and before when who was forgotten."""

    tombstones: dict[int, list[int]]
    digests: list[str]
    before: dict[str, int]
    key: str | None


def _forgotten_in(database: Path) -> _Past:
    sqlite = sqlite_module()
    tombstones: dict[int, list[int]] = {}
    with contextlib.closing(sqlite.connect(f"file:{database}?mode=ro", uri=True)) as db:
        try:
            for message_id, guild_id in db.execute("SELECT message_id, guild_id FROM tombstones"):
                tombstones.setdefault(guild_id, []).append(message_id)
            digests = [row[0] for row in db.execute("SELECT digest FROM opt_outs")]
            known = db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'forgotten'").fetchone()
            before = dict(db.execute("SELECT digest, before_ms FROM forgotten")) if known else {}
            key = db.execute("SELECT value FROM meta WHERE key = ?", (KEY_NAME,)).fetchone()
        except sqlite.Error as error:
            raise StorageError(
                "The present database is damaged, so what it had forgotten is not known; move it away first."
            ) from error
    return _Past(tombstones, digests, before, None if key is None else key[0])


def _put_in_place(fresh: Path, data_dir: Path) -> None:
    for name in (f"{DATABASE}-wal", f"{DATABASE}-shm"):
        (data_dir / name).unlink(missing_ok=True)
    for name in BESIDE:
        (data_dir / name).unlink(missing_ok=True)  # of the memory that goes; the key lies in the database now
        if (fresh / name).is_file():
            os.replace(fresh / name, data_dir / name)
    for folder in FOLDERS:
        shutil.rmtree(data_dir / folder, ignore_errors=True)
        if (fresh / folder).is_dir():
            os.replace(fresh / folder, data_dir / folder)
    shutil.rmtree(data_dir / INDEXES, ignore_errors=True)
    os.replace(fresh / DATABASE, data_dir / DATABASE)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
