"""The talk around a message, whoever asks: some turns before and after, what it answers, and what answers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cogs.commands.asker import Asker
from cogs.memory.records import Conversation, JsonObject, StoredMessage
from cogs.memory.text.talk import TalkView, talk_view

if TYPE_CHECKING:
    from cogs.memory.service import MemoryService

TURNS = 3
STEP = 8
"""How many more turns "earlier" and "later" bring."""


@dataclass(frozen=True, slots=True)
class AroundAnswer:
    """What is answered to a look around a message; every door renders it. ``before`` and ``after`` count turns."""

    conversation: Conversation
    asker: Asker
    before: int
    after: int

    def view(self, names: Mapping[int, str] | None = None) -> TalkView:
        """Return what a person reads; ``names`` are those of mentioned members, roles and channels."""
        return talk_view(self.conversation, self.asker.now, names)

    def as_text(self) -> str:
        """Return the conversation as plain text."""
        return self.view().text

    def as_json(self) -> JsonObject:
        """Return the conversation as one JSON object: ids as strings, times ISO 8601 in UTC."""
        talk = self.conversation
        return {
            "message_id": str(talk.message.id),
            "turns": [_turn(turn) for turn in talk.turns],
            "answers_to": None if talk.answers_to is None else _turn(talk.answers_to),
            "answered_by": [_turn(turn) for turn in talk.answered_by],
            "earlier": talk.earlier,
            "later": talk.later,
        }


async def around(
    service: MemoryService, asker: Asker, message_id: int, before: int = TURNS, after: int = TURNS
) -> AroundAnswer:
    """Show a message in its conversation, within what the asker may read.

    Args:
        service: The memory.
        asker: Who asks.
        message_id: The message.
        before: How many turns before it; 25 at most.
        after: How many turns after it; 25 at most.

    Raises:
        BadRequest: it is not remembered, or the asker may not read it; both read the same.
    """
    return AroundAnswer(await service.browsing.around(message_id, asker.scope, before, after), asker, before, after)


def _turn(message: StoredMessage) -> JsonObject:
    return {
        "id": str(message.id),
        "author": message.author_name,
        "timestamp": message.created_at.isoformat(),
        "content": message.content,
        "reply_to_id": None if message.reply_to_id is None else str(message.reply_to_id),
        "jump_url": message.jump_url,
    }
