"""PluralKit's API: who sent the message that its webhook wrote.

https://pluralkit.me/api/endpoints/#get-proxied-message-information
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import httpx
from pydantic import BaseModel, ValidationError

from cogs.memory.records import IncomingMessage

log = logging.getLogger(__name__)
TIMEOUT_SECONDS: Final = 3.0
AT_ONCE: Final = 5
"""PluralKit asks for no more than ten lookups a second."""
MOST_BYTES: Final = 100_000
PAUSE_SECONDS: Final = 30.0
"""How long nobody is asked after one that did not answer: messages do not wait for PluralKit."""


class _Proxied(BaseModel):
    sender: int


class PluralKit:
    """Asks an instance of PluralKit whose messages those of webhooks are. ``url`` is its API, as ``…/v2``."""

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url = url.rstrip("/")
        self._client = httpx.AsyncClient(
            timeout=TIMEOUT_SECONDS,
            transport=transport,
            follow_redirects=False,
            headers={"Accept-Encoding": "identity"},
        )
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._again_at = 0.0

    async def named(self, messages: Sequence[IncomingMessage]) -> list[IncomingMessage]:
        """Return the messages; those of webhooks with the person for whom they were written, where it is known."""
        return list(await asyncio.gather(*(self._named(message) for message in messages)))

    async def _named(self, message: IncomingMessage) -> IncomingMessage:
        if not message.webhook or message.proxied_for is not None:
            return message
        async with self._gate:
            sender = await self._sender(message.id) if time.monotonic() >= self._again_at else None
        return message if sender is None else replace(message, proxied_for=sender)

    async def _sender(self, message_id: int) -> int | None:
        try:
            async with self._client.stream("GET", f"{self._url}/messages/{message_id}") as response:
                if response.status_code != httpx.codes.OK:
                    return None  # it is not PluralKit's
                data = bytearray()
                async for chunk in response.aiter_raw(8192):  # raw: nothing is decompressed
                    data += chunk
                    if len(data) > MOST_BYTES:
                        return None
            return _Proxied.model_validate_json(bytes(data)).sender
        except (httpx.HTTPError, ValidationError) as error:
            self._again_at = time.monotonic() + PAUSE_SECONDS
            log.warning("PluralKit could not be asked whose a message is: %s", type(error).__name__)
            return None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
