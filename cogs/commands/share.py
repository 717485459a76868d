"""Showing a hit of a private result to everybody in a channel, if everybody there may read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogs.memory.errors import BadRequest
from cogs.memory.records import Scope
from cogs.memory.text.excerpts import excerpt, excerpt_markdown, fit
from cogs.memory.text.presentation import author_label, channel_label, message_text

if TYPE_CHECKING:
    from cogs.memory.service import MemoryService

SHOWN = 1200
REFUSED = (
    "I do not post that here: it is not in the memory any more, or not everybody who can see this channel may read it."
)


async def shared(service: MemoryService, audience: Scope, message_id: int, sharer: str) -> str:
    """Return what to post into a channel: who shares, the quotation, and a link; at most 2,000 characters.

    Args:
        service: The memory.
        audience: What everybody who can see the channel may read.
        message_id: The message to show.
        sharer: The name of whoever shares it.

    Raises:
        BadRequest: the message is gone, or somebody in the channel may not read it; both read the same.
    """
    found = await service.messages([message_id], audience)
    if not found:
        raise BadRequest(REFUSED)
    message = found[0]
    said = excerpt_markdown(excerpt(message_text(message), "", None, width=SHOWN), SHOWN)
    quoted = "\n".join(f"> {line}" for line in said.splitlines())
    head = fit(f"{sharer} shares what {author_label(message)} wrote in {channel_label(message)}:", 300)
    return f"{head}\n{quoted}\n[Jump to message](<{message.jump_url}>)"
