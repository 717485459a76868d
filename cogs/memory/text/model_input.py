"""What a model gets to see of a message: the text that is embedded, and the text that is judged. Pure."""

from __future__ import annotations

from typing import Any

from cogs.memory.records import StoredMessage
from cogs.memory.text.terms import terms

LITTLE = 4
"""Up to so many terms a message needs the turn before it to be understood."""
PARENT_CHARACTERS = 200
"""How much of the message that is answered goes along: enough to say what "yes, that one" is about."""


def body(message: StoredMessage) -> str:
    """Return what a message says: its words, its embeds, the names of its files."""
    files = " ".join(attachment.filename for attachment in message.attachments)
    return " ".join(part for part in (message.content.strip(), message.embed_text.strip(), files) if part)


def parent_text(parent: StoredMessage | None) -> str | None:
    """Return who is answered and the beginning of what they said."""
    if parent is None:
        return None
    said = body(parent)
    short = said if len(said) <= PARENT_CHARACTERS else said[:PARENT_CHARACTERS].rstrip() + "…"
    return f"{parent.author_name}: {short}"


def embedding_text(message: StoredMessage, parent: StoredMessage | None) -> str:
    """Return the passage that is embedded: who said it, what, and what it answers."""
    text = f"{message.author_name}: {body(message)}"
    answered = parent_text(parent)
    return text if answered is None else f"{text}\n(in reply to {answered})"


def says_little(message: StoredMessage) -> bool:
    """Return whether a message that replies to nothing is too short to be understood without the turn before it."""
    return message.reply_to_id is None and len(terms(body(message))) <= LITTLE


def rendered(message: StoredMessage, parent: StoredMessage | None, title: str = "") -> str:
    """Return the passage that a general reranker judges: the same with its date, and the title of its thread."""
    thread = f"\n(in the thread {title})" if title else ""
    return f"[{message.created_at:%Y-%m-%d}] {embedding_text(message, parent)}{thread}"


def candidate(message: StoredMessage, parent: StoredMessage | None, title: str = "") -> dict[str, Any]:
    """Return a message as the reranker service takes it.

    Args:
        message: What is judged.
        parent: What it answers: the message that it replies to, or the turn before one that says little.
        title: The title of its thread or forum post, where it stands in one.
    """
    answered = parent_text(parent)
    return {
        "id": message.id,
        "content": body(message),
        "rendered": rendered(message, parent, title),
        "author": message.author_name,
        "channel": message.channel_name,
        "timestamp": message.created_at,
        "start": message.created_at,
        "context": f"{title} – {answered}" if title and answered else title or answered,
    }
