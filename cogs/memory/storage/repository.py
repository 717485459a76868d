"""Everything that the memory keeps, behind one object. No store is called on the event loop: all of them wait."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from cogs.memory.storage.admission import Admission
from cogs.memory.storage.connection import Database
from cogs.memory.storage.database import create_engine, migrate
from cogs.memory.storage.erasing import Eraser
from cogs.memory.storage.guilds import GuildStore
from cogs.memory.storage.judgements import JudgementStore
from cogs.memory.storage.keyword_index import SqliteKeywords
from cogs.memory.storage.keywords import KeywordStore
from cogs.memory.storage.labels import LabelStore
from cogs.memory.storage.messages import MessageStore
from cogs.memory.storage.meta import MetaStore
from cogs.memory.storage.overview import OverviewRows
from cogs.memory.storage.people import PeopleStore, PersonHasher
from cogs.memory.storage.person_key import person_key
from cogs.memory.storage.postgresql_keywords import PostgresqlKeywords
from cogs.memory.storage.prepared_passages import PassageStore
from cogs.memory.storage.process_lock import ProcessLock
from cogs.memory.storage.quotations import QuotationStore
from cogs.memory.storage.rewriting import HOURS, Rewriter
from cogs.memory.storage.scope import ScopedReader
from cogs.memory.storage.search_rows import SearchRows
from cogs.memory.storage.silence import SilenceStore
from cogs.memory.storage.steady_clock import SteadyClock
from cogs.memory.storage.vectors import VectorRows
from config.settings import Settings


class Repository:
    """The stores of one database. ``write_lock`` is held over "commit, then change the index"."""

    def __init__(
        self,
        engine: sa.Engine,
        hasher: PersonHasher,
        lock: ProcessLock | None = None,
        rewrite_hours: float = HOURS,
        *,
        known_webhooks_only: bool = False,
    ) -> None:
        """Build the stores over a database whose schema is up to date.

        Args:
            engine: the database.
            hasher: hashes people's ids with the database's key.
            lock: what keeps other processes out, if anything; it is given free by :meth:`close`.
            rewrite_hours: within how many hours PostgreSQL's files let go of what was deleted.
            known_webhooks_only: whether messages of webhooks are left out where nobody knows whose they are.
        """
        self.database = Database(engine, lock)
        self.write_lock = self.database.write_lock
        scoped = ScopedReader(self.database)
        self.search = SearchRows(self.database, scoped)
        self.keywords: KeywordStore = (SqliteKeywords if self.database.sqlite else PostgresqlKeywords)(
            self.database, scoped
        )
        self.guilds = GuildStore(self.database)
        self.labels = LabelStore(self.database)
        self.overview = OverviewRows(self.database, scoped)
        self.judgements = JudgementStore(self.database, scoped)
        self.people = PeopleStore(self.database, hasher)
        self.quotations = QuotationStore(self.database)
        self.silence = SilenceStore(self.database, self.people, self.keywords, self.quotations)
        admission = Admission(self.database, self.people, self.silence, SteadyClock(), known_webhooks_only)
        self.messages = MessageStore(self.database, self.guilds, self.keywords, self.quotations, admission)
        self.vectors = VectorRows(self.database)
        self.passages = PassageStore(self.database)
        self.meta = MetaStore(self.database)
        self._eraser = Eraser(self.database)
        self.rewriter = Rewriter(self.database, rewrite_hours)

    @classmethod
    def open(
        cls,
        url: str,
        data_dir: Path,
        *,
        secret: str | None = None,
        exclusive: bool = False,
        rewrite_hours: float = HOURS,
        known_webhooks_only: bool = False,
    ) -> Repository:
        """Open a database and bring its schema up to date.

        Args:
            url: SQLAlchemy's URL of it.
            data_dir: where the ``person.key`` of an earlier version is, which is taken in.
            secret: what wraps the key of people's opt-outs, if anything.
            exclusive: whether to own the database while the process lives.
            rewrite_hours: within how many hours PostgreSQL's files let go of what was deleted.
            known_webhooks_only: whether messages of webhooks are left out where nobody knows whose they are.

        Raises:
            StorageError: it cannot be opened, another process owns it, or the key of its opt-outs is not here.
        """
        engine = create_engine(url)
        lock = ProcessLock(engine) if exclusive and engine.dialect.name == "postgresql" else None
        try:
            if lock is not None:
                lock.acquire()
            migrate(engine)
            key = person_key(Database(engine), data_dir, secret)
            return cls(engine, PersonHasher(key), lock, rewrite_hours, known_webhooks_only=known_webhooks_only)
        except BaseException:
            if lock is not None:
                lock.release()
            engine.dispose()
            raise

    def erase_traces(self) -> bool:
        """Erase what the files hold of deleted text; return whether it is done, see :class:`Eraser`."""
        return self._eraser.erase_traces()

    @classmethod
    def from_settings(cls, settings: Settings, exclusive: bool = False) -> Repository:
        """Open the database that the settings name, see :meth:`open`."""
        return cls.open(
            settings.sqlalchemy_url,
            settings.data_dir,
            secret=None if settings.secret is None else settings.secret.get_secret_value(),
            exclusive=exclusive,
            rewrite_hours=settings.rewrite_hours,
            known_webhooks_only=settings.webhooks == "known",
        )

    @property
    def erasing(self) -> str:
        """What people are told about the bytes of what they erase, in this database."""
        if self.database.sqlite:
            return (
                "It is out of every answer at once, and overwritten in the files within seconds; backups that the "
                "operator made keep it until they are deleted."
            )
        return (
            "It is out of every answer at once, and overwritten in the database's files and log within "
            f"{self.rewriter.hours:g} hours; "
            "standbys and backups that the operator made keep it until they are replaced."
        )

    def close(self) -> None:
        """Close every connection and file."""
        self.database.close()
        self._eraser.close()
