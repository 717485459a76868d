"""The key under which people's opt-outs are hashed. It belongs to the database, as the opt-outs do.

Where the operator sets ``MNEME_SECRET`` the key lies in the database wrapped by it, so that a copy of the database
alone cannot tell whether somebody opted out.
"""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from cryptography.fernet import Fernet, InvalidToken

from cogs.memory.errors import StorageError
from cogs.memory.storage.connection import META, Database
from cogs.memory.storage.meta import MetaStore
from cogs.memory.storage.tables import Forgotten, OptOut, table_of

NAME: Final = "person_key"
PLAIN, WRAPPED = "plain", "wrapped"
LOST: Final = (
    "This database holds opt-outs that were hashed under a key that is not here, so nobody can tell whose they are; "
    "copy the file person.key of the data folder that was used so far into {folder} and start again."
)
ANOTHER: Final = (
    "{file} is another key than the one under which this database holds opt-outs; move the file away if it belongs to "
    "another memory, or check DATABASE_URL."
)
UNREADABLE: Final = (
    "The key of this database's opt-outs is wrapped by a secret, and MNEME_SECRET is not the one that wrapped it; set "
    "MNEME_SECRET to the secret that was used so far."
)


def person_key(database: Database, data_dir: Path, secret: str | None) -> bytes:
    """Return the database's key; make one, or take in the file of an earlier version, where it has none.

    Raises:
        StorageError: there are opt-outs and the key is not theirs, or cannot be unwrapped. Nothing is changed then.
    """
    file = data_dir / "person.key"
    found = file.read_bytes() if file.is_file() else None
    meta = MetaStore(database)
    stored = meta.get(NAME)
    if stored is None:
        if found is None and _has_opt_outs(database):
            raise StorageError(LOST.format(folder=data_dir))
        with database.writing() as db:  # another process may do the same: the first one's key stays
            database.insert(db, META, [{"key": NAME, "value": _packed(found or os.urandom(32), secret)}])
        stored = meta.get(NAME)
        assert stored is not None
    key = _unpacked(stored, secret)
    if found is not None:
        if found != key and _has_opt_outs(database):
            raise StorageError(ANOTHER.format(file=file))
        file.unlink(missing_ok=True)
    if secret is not None and stored.startswith(PLAIN):
        meta.set(NAME, _packed(key, secret))
    return key


def key_in(stored: str | None, data_dir: Path, secret: str | None) -> bytes | None:
    """Return the key that a database holds, or the file of an earlier version, or None where there is neither.

    Raises:
        StorageError: it is wrapped by another secret.
    """
    file = data_dir / "person.key"
    if stored is None:
        return file.read_bytes() if file.is_file() else None
    return _unpacked(stored, secret)


def _has_opt_outs(database: Database) -> bool:
    with database.reading() as db:
        tables = (table_of(OptOut), table_of(Forgotten))
        return any(db.scalar(sa.select(table.c.digest).limit(1)) is not None for table in tables)


def _packed(key: bytes, secret: str | None) -> str:
    if secret is None:
        return f"{PLAIN}:{key.hex()}"
    salt = os.urandom(16)
    return f"{WRAPPED}:{salt.hex()}:{_cipher(secret, salt).encrypt(key).decode()}"


def _unpacked(stored: str, secret: str | None) -> bytes:
    kind, _, rest = stored.partition(":")
    if kind == PLAIN:
        return bytes.fromhex(rest)
    salt, _, token = rest.partition(":")
    try:
        return _cipher(secret or "", bytes.fromhex(salt)).decrypt(token)
    except (InvalidToken, ValueError) as error:
        raise StorageError(UNREADABLE) from error


def _cipher(secret: str, salt: bytes) -> Fernet:
    derived = hashlib.scrypt(secret.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)
    return Fernet(base64.urlsafe_b64encode(derived))
