"""Who may come in: one-time links, sessions of the page, and tokens for REST and MCP.

A link and a token name a person of one server and are signed with a key of the data folder; a session lives in this
process. None of them says what its person may read: that is asked anew with every request (:mod:`cogs.web.directory`).
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cachetools import TTLCache
from itsdangerous import BadData, URLSafeTimedSerializer

from cogs.memory.errors import BadRequest, StorageError

LINK_SECONDS = 600
SESSION_SECONDS = 12 * 3600
TOKEN_SECONDS = 90 * 86_400
SESSIONS = 1000
"""Sessions that are open at once; beyond it the oldest ends."""
LINKS = 10_000
LINK_REFUSED = "This link has expired or was used already; ask for a new one with /memory page."
NOT_VALID = "This token is not valid any more; ask for a new one with /memory page."


@dataclass(frozen=True, slots=True)
class Person:
    """Whoever acts: a member of one server."""

    guild_id: int
    user_id: int


@dataclass(frozen=True, slots=True)
class Session:
    """An open page. ``csrf`` stands in every form, so that another site cannot send one."""

    id: str = field(repr=False)
    person: Person
    csrf: str = field(repr=False)


class Gate:
    """Issues and checks links, sessions and tokens.

    Args:
        key: The secret that signs; 32 random bytes.
        clock: Returns seconds since the epoch.
    """

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._links = URLSafeTimedSerializer(key, salt="mneme page link")
        self._tokens = URLSafeTimedSerializer(key, salt="mneme token")
        self._used: TTLCache[str, None] = TTLCache(LINKS, 2 * LINK_SECONDS, timer=clock)
        self._sessions: TTLCache[str, Session] = TTLCache(SESSIONS, SESSION_SECONDS, timer=clock)
        # Which links were used is known in this process only, so one from before its start counts as used.
        self._started = int(clock())

    def link(self, person: Person) -> str:
        """Return the secret part of a link that opens one session within :data:`LINK_SECONDS`."""
        return str(self._links.dumps([person.guild_id, person.user_id, secrets.token_urlsafe(16)]))

    def check_link(self, link: str) -> Person:
        """Return whom a link is for, without using it up: a chat client looks at links to preview them.

        Raises:
            BadRequest: it is none, has expired, or was used.
        """
        return self._opened(link)[0]

    def enter(self, link: str) -> Session:
        """Open a session and use the link up.

        Raises:
            BadRequest: as :meth:`check_link`.
        """
        person, nonce = self._opened(link)
        self._used[nonce] = None
        session = Session(secrets.token_urlsafe(32), person, secrets.token_urlsafe(32))
        self._sessions[session.id] = session
        return session

    def _opened(self, link: str) -> tuple[Person, str]:
        try:
            (guild_id, user_id, nonce), made = self._links.loads(
                link[:1000], max_age=LINK_SECONDS, return_timestamp=True
            )
        except BadData as error:
            raise BadRequest(LINK_REFUSED) from error
        if nonce in self._used or made.timestamp() < self._started:
            raise BadRequest(LINK_REFUSED)
        return Person(int(guild_id), int(user_id)), str(nonce)

    def session(self, session_id: str | None) -> Session | None:
        """Return an open session."""
        return None if session_id is None else self._sessions.get(session_id)

    def leave(self, session: Session) -> None:
        """End a session."""
        self._sessions.pop(session.id, None)

    def token(self, person: Person) -> str:
        """Return a token for REST and MCP; it is good for :data:`TOKEN_SECONDS`."""
        return str(self._tokens.dumps([person.guild_id, person.user_id]))

    def bearer(self, token: str) -> Person:
        """Return whom a token is for.

        Raises:
            BadRequest: it is none, or has expired.
        """
        try:
            guild_id, user_id = self._tokens.loads(token[:1000], max_age=TOKEN_SECONDS)
        except BadData as error:
            raise BadRequest(NOT_VALID) from error
        return Person(int(guild_id), int(user_id))


def page_key(data_dir: Path) -> bytes:
    """Return the data folder's key, made at the first call; only its owner may read the file.

    Raises:
        StorageError: it can be neither read nor written.
    """
    path = data_dir / "page.key"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(secrets.token_bytes(32))
        except FileExistsError:
            pass
        key = path.read_bytes()
    except OSError as error:
        raise StorageError(f"The key of the page cannot be kept at {path} ({error.strerror}).") from error
    if len(key) != 32:
        raise StorageError(f"The key of the page at {path} is damaged; delete the file to have a new one made.")
    return key
