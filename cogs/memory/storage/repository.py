"""Everything that the memory keeps, behind one object. No store is called on the event loop: all of them wait."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

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
from cogs.memory.storage.scope import ScopedReader
from cogs.memory.storage.search_rows import SearchRows
from cogs.memory.storage.vectors import VectorRows


class Repository:
    """The stores of one database. ``write_lock`` is held over "commit, then change the index"."""

    def __init__(self, engine: sa.Engine, hasher: PersonHasher, lock: ProcessLock | None = None) -> None:
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
        self.people = PeopleStore(self.database, self.keywords, hasher)
        self.messages = MessageStore(self.database, self.guilds, self.people, self.keywords)
        self.vectors = VectorRows(self.database)
        self.passages = PassageStore(self.database)
        self.meta = MetaStore(self.database)
        self._eraser = Eraser(self.database)

    @classmethod
    def open(cls, url: str, data_dir: Path, *, secret: str | None = None, exclusive: bool = False) -> Repository:
        """Open a database and bring its schema up to date; ``exclusive`` owns it while the process lives.

        ``secret`` wraps the key of people's opt-outs; a ``person.key`` of an earlier version in ``data_dir`` is taken
        in.

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
            return cls(engine, PersonHasher(key), lock)
        except BaseException:
            if lock is not None:
                lock.release()
            engine.dispose()
            raise

    def erase_traces(self) -> bool:
        """Erase what the files hold of deleted text; return whether it is done, see :class:`Eraser`."""
        return self._eraser.erase_traces()

    def close(self) -> None:
        """Close every connection and file."""
        self.database.close()
        self._eraser.close()
