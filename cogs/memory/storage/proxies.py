"""Whose a proxy's message is: PluralKit and Tupperbox delete what a person wrote and say it again by a webhook."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Final

from cogs.memory.records import IncomingMessage
from cogs.memory.storage.connection import to_ms

WITHIN_MS: Final = 15_000
"""A proxy speaks at most so long after the person whose words it takes."""
KEPT: Final = 500


@dataclass(frozen=True, slots=True)
class _Said:
    channel_id: int
    author_id: int
    created_ms: int
    text: str


class ProxyWatch:
    """Remembers for a few seconds, in memory only, who just said what, also of people who said stop.

    A webhook that repeats somebody's words right after them, or a part of them without the marks that call the proxy,
    speaks for that person.
    """

    def __init__(self) -> None:
        self._said: deque[_Said] = deque(maxlen=KEPT)
        self._lock = threading.Lock()

    def note(self, message: IncomingMessage) -> None:
        """Note what a person said."""
        text = _plain(message.content)
        if text and not message.webhook and not message.author_is_bot:
            said = _Said(message.channel_id, message.author_id, to_ms(message.created_at), text)
            with self._lock:
                while self._said and self._said[0].created_ms < said.created_ms - WITHIN_MS:
                    self._said.popleft()
                self._said.append(said)

    def person_of(self, message: IncomingMessage) -> int | None:
        """Return the person for whom a webhook speaks, or None where nobody just said that."""
        text, created_ms = _plain(message.content), to_ms(message.created_at)
        if not message.webhook or not text:
            return None
        with self._lock:
            for said in reversed(self._said):
                near = 0 <= created_ms - said.created_ms <= WITHIN_MS
                if near and said.channel_id == message.channel_id and text in said.text:
                    return said.author_id
        return None


def _plain(text: str) -> str:
    return " ".join(text.split())
