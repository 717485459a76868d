"""The door through which every message comes in: within bounds, and none holding up those behind it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from cogs.memory.errors import Unstorable
from cogs.memory.records import IncomingMessage
from cogs.memory.storage.messages import Saved
from cogs.memory.storage.repository import Repository
from cogs.memory.text.bounds import OutOfBounds, bounded_message

log = logging.getLogger(__name__)


class Door:
    """Commits messages; what cannot be stored is set aside and counted, so that it is not tried for ever.

    Nothing of a message that is set aside is kept.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._set_aside: Counter[int] = Counter()

    def set_aside(self, guild_id: int | None = None) -> int:
        """Return how many messages of a server, or of all, could not be stored since the start."""
        return self._set_aside.total() if guild_id is None else self._set_aside[guild_id]

    def save(self, messages: Sequence[IncomingMessage], *, mark_seen: bool) -> Saved:
        """Commit messages in one transaction where they can be stored together, and else as many as can.

        Raises:
            StorageError: the database cannot be written at the moment.
        """
        # An export holds the bot's own replies, which repeat what others said and may have taken back since.
        own = self._repository.guilds.applications()
        kept: list[IncomingMessage] = []
        for message in messages:
            if (message.author_id, message.guild_id) in own:
                continue
            try:
                kept.append(bounded_message(message))
            except OutOfBounds as error:
                self._put_aside(message, str(error))
        return self._save(kept, mark_seen) if kept else Saved()

    def _save(self, messages: Sequence[IncomingMessage], mark_seen: bool) -> Saved:
        try:
            return self._repository.messages.save(messages, mark_seen=mark_seen)
        except (Unstorable, ValueError, OverflowError) as error:
            if len(messages) == 1:
                self._put_aside(messages[0], type(error.__cause__ or error).__name__)
                return Saved()
        middle = len(messages) // 2
        first, second = (self._save(part, mark_seen) for part in (messages[:middle], messages[middle:]))
        return Saved(first.new + second.new, first.changed + second.changed, first.left | second.left)

    def _put_aside(self, message: IncomingMessage, why: str) -> None:
        self._set_aside[message.guild_id] += 1
        log.warning("the message %d cannot be stored and is set aside: %s", message.id, why)
