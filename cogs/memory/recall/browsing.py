"""Reading without a question: lists by time, and the talk around a message. Everything lies in the reader's scope."""

from __future__ import annotations

import asyncio
import datetime as dt

from cogs.memory.errors import BadRequest
from cogs.memory.inference.model_slot import ModelSlot
from cogs.memory.models.loadout import Loadout
from cogs.memory.recall.limits import MAX_LIMIT
from cogs.memory.records import Conversation, Filters, Hit, Order, Reach, RecallResult, Scope, StoredMessage
from cogs.memory.storage.connection import from_ms, to_ms
from cogs.memory.storage.repository import Repository

TURNS_AT_MOST = 25
ANSWERS = 5
UNKNOWN = "This message is not in the memory."


class Browsing:
    """Lists messages, and shows the talk around one.

    Args:
        repository: the rows.
        slot: the models in use, which a result names.
    """

    def __init__(self, repository: Repository, slot: ModelSlot[Loadout]) -> None:
        self._repository = repository
        self._slot = slot

    async def listed(self, scope: Scope, filters: Filters, order: Order, limit: int) -> RecallResult:
        """Return messages of a scope by time.

        Raises:
            BadRequest: the limit is not between 1 and 50.
        """
        if not 1 <= limit <= MAX_LIMIT:
            raise BadRequest(f"The limit must lie between 1 and {MAX_LIMIT}.")

        def work() -> tuple[Hit, ...]:
            rows = self._repository.search
            ids = rows.listed(scope, filters, newest=order != "oldest", limit=limit)
            found = rows.messages(ids, scope)
            return tuple(Hit(found[i], 0.0) for i in ids if i in found)

        with self._slot.acquire() as loadout:
            profile = loadout.profile.name
        hits = await asyncio.to_thread(work)
        return RecallResult(hits, Reach(0, 0, None), profile, order="oldest" if order == "oldest" else "newest")

    async def span(
        self, scope: Scope, after: dt.datetime, before: dt.datetime, most: int, after_id: int = 0
    ) -> tuple[list[StoredMessage], bool]:
        """Return what was said in a span of time, in order, and whether there was more than ``most`` before it.

        Args:
            scope: what the reader may read.
            after: the first moment.
            before: the last moment.
            most: how many messages at most, the newest.
            after_id: only messages after this one.
        """
        span = self._repository.search.span
        found = await asyncio.to_thread(span, scope, to_ms(after), to_ms(before), most + 1, after_id)
        return found[-most:], len(found) > most

    async def last_said(self, author_id: int, scope: Scope) -> tuple[int, dt.datetime] | None:
        """Return the id and the time of what somebody wrote last in a scope."""
        found = await asyncio.to_thread(self._repository.search.last_said, author_id, scope)
        return None if found is None else (found[0], from_ms(found[1]))

    async def around(self, message_id: int, scope: Scope, before: int, after: int) -> Conversation:
        """Return a message with the turns around it in its channel.

        Raises:
            BadRequest: it is not remembered, or not within the scope; both read the same.
        """
        return await asyncio.to_thread(self._around, message_id, scope, before, after)

    def _around(self, message_id: int, scope: Scope, before: int, after: int) -> Conversation:
        rows = self._repository.search
        before, after = min(max(before, 0), TURNS_AT_MOST), min(max(after, 0), TURNS_AT_MOST)
        ids = rows.around(message_id, scope, before + 1, after + 1)
        if message_id not in ids:
            raise BadRequest(UNKNOWN)
        place = ids.index(message_id)
        shown = ids[max(0, place - before) : place + after + 1]
        answers = [i for i in rows.answers(message_id, scope, ANSWERS + len(shown)) if i not in shown][:ANSWERS]
        found = rows.messages([*shown, *answers], scope)
        if message_id not in found:
            raise BadRequest(UNKNOWN)
        parent_id = found[message_id].reply_to_id
        far = parent_id is not None and parent_id not in shown
        parent = rows.messages([parent_id], scope).get(parent_id) if far and parent_id is not None else None
        return Conversation(
            message=found[message_id],
            turns=tuple(found[i] for i in shown if i in found),
            answers_to=parent,
            answered_by=tuple(found[i] for i in answers if i in found),
            earlier=place > before,
            later=len(ids) - place - 1 > after,
        )
