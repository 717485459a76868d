"""Opening the database: the engine, its pragmas, its migrations, and the lock of its folder.

SQLite comes from the package ``pysqlite3-binary`` where it has a wheel, because forgetting needs FTS5's
``secure-delete`` (SQLite 3.42), which many systems' own library lacks.
"""

from __future__ import annotations

import contextlib
import importlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, OperationalError

from cogs.memory.errors import StorageError, Unstorable

try:  # fcntl is POSIX; Windows locks with msvcrt
    import fcntl
except ImportError:  # pragma: no cover - not on the platforms of the tests
    fcntl = None  # type: ignore[assignment]

PROCESS_LOCK, MIGRATION_LOCK = 0x6D6E656D65, 0x6D6E656D66  # "mneme", and the number after it
"""PostgreSQL's advisory locks: of the process that owns the database, and of whoever changes its schema."""
MIGRATIONS = Path(__file__).with_name("migrations")
MINIMUM_SQLITE = (3, 42, 0)
PROGRAM_LIMIT = "54"
BUSY_MS = 5000
"""How long SQLite waits for another process's lock."""


def sqlite_module() -> ModuleType:
    """Return a DB-API module whose SQLite can forget.

    Raises:
        StorageError: neither the package nor Python's own SQLite is new enough.
    """
    with contextlib.suppress(ImportError):
        return importlib.import_module("pysqlite3.dbapi2")
    if sqlite3.sqlite_version_info < MINIMUM_SQLITE:
        raise StorageError(
            f"SQLite {sqlite3.sqlite_version} is too old to erase deleted text; install pysqlite3-binary or a Python "
            "that carries SQLite 3.42 or newer."
        )
    return sqlite3


def create_engine(url: str) -> sa.Engine:
    """Return an engine for SQLite or PostgreSQL; nothing is opened yet.

    Raises:
        StorageError: the URL is none, or its driver or folder cannot be had.
    """
    try:
        parsed = sa.make_url(url)
    except ArgumentError as error:
        # The URL can hold a password, so it is not repeated.
        raise StorageError("DATABASE_URL is no database URL; write it like postgresql://user@host/name.") from error
    if parsed.get_backend_name() != "sqlite":
        return sa.create_engine(parsed, pool_pre_ping=True, pool_size=5)
    if parsed.database and parsed.database != ":memory:":
        folder = Path(parsed.database).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"The database's folder {folder} cannot be made ({error.strerror}); "
                "check MNEME_DATA_DIR and DATABASE_URL."
            ) from error
    # Python's own transaction control is switched off so that BEGIN IMMEDIATE can be said: a reader that turns
    # writer half-way cannot wait for the lock, it fails.
    engine = sa.create_engine(
        parsed,
        module=sqlite_module(),
        connect_args={"check_same_thread": False, "timeout": 5.0},
        pool_size=5,
    )

    @sa.event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "foreign_keys=ON",
            "secure_delete=ON",
            "temp_store=MEMORY",
            f"busy_timeout={BUSY_MS}",
            "cache_size=-8000",  # for each of up to fifteen connections; what is read comes from the mapped file
            "mmap_size=268435456",
            "journal_size_limit=8388608",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        # How many messages hold a term; it looks at the index when it is asked, and needs no place in the file.
        cursor.execute("CREATE VIRTUAL TABLE temp.keyword_terms USING fts5vocab('main', 'keywords', 'row')")
        # Each occurrence of a term, without counting them: the next term is found at once.
        cursor.execute("CREATE VIRTUAL TABLE temp.keyword_words USING fts5vocab('main', 'keywords', 'instance')")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        readonly = connection.get_execution_options().get("mneme_readonly", False)
        connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")

    return engine


def known_revisions() -> frozenset[str]:
    """Return the schemas that this version of the program can open; each migration's file begins with its number."""
    return frozenset(file.name.partition("_")[0] for file in MIGRATIONS.glob("versions/[0-9]*.py"))


def migrate(engine: sa.Engine) -> None:
    """Bring the schema up to date.

    Raises:
        StorageError: the database is from a newer version of Mneme, damaged, or cannot be reached.
    """
    with storage_errors(), engine.connect() as connection:
        if _is_current(connection):
            return
        connection.rollback()
        # A schema that is up to date, as nearly all are, does not wait for this import.
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with connection.begin():
            # SQLite's BEGIN IMMEDIATE keeps other processes out by itself.
            if engine.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            if _is_current(connection):
                return  # another process was faster
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _is_current(connection: sa.Connection) -> bool:
    """Return whether the schema is this program's.

    Raises:
        StorageError: it is one of a newer program.
    """
    known, current = known_revisions(), None
    if sa.inspect(connection).has_table("alembic_version"):
        current = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    if current is not None and current not in known:
        raise StorageError(
            f"The database is from a newer version of Mneme (schema {current}); update the program, or point "
            "MNEME_DATA_DIR at another folder. Nothing was changed."
        )
    return current == max(known)


@contextlib.contextmanager
def storage_errors() -> Iterator[None]:
    """Turn the driver's errors into sentences; anything else passes as it is."""
    try:
        yield
    except (DataError, IntegrityError) as error:
        raise Unstorable(_sentence(error)) from error
    except DBAPIError as error:
        # PostgreSQL counts what is too large for an index or a word list among the failures that may pass.
        never = str(getattr(error.orig, "sqlstate", "")).startswith(PROGRAM_LIMIT)
        raise (Unstorable if never else StorageError)(_sentence(error)) from error


def _sentence(error: DBAPIError) -> str:
    text = str(error.orig).lower()
    if "disk is full" in text or "no space left" in text or "disk i/o error" in text:
        return "The disk is full or failing, so nothing was written; free some space and try again."
    if "locked" in text or "busy" in text:
        return "The database is busy with another process; try again in a moment."
    if "malformed" in text or "not a database" in text:
        return "The database file is damaged; restore it from a backup, or move it away to begin anew."
    if "readonly" in text or "unable to open" in text:
        return "The database cannot be written or opened; check the folder's permissions."
    if isinstance(error, OperationalError):
        return "The database cannot be reached; check DATABASE_URL and that the server runs."
    return f"The database refused the operation ({type(error.orig).__name__})."
