"""What every kind of export is to the importer: whose messages it holds, and those messages, checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from cogs.imports.sources import Source
from cogs.memory.records import ChannelInfo, IncomingMessage


@dataclass(frozen=True, slots=True)
class ExportHeader:
    """Whose messages the file holds; ``parent_name`` names a thread's channel where the file tells it."""

    guild_id: int
    guild_name: str
    channel: ChannelInfo
    parent_name: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A message that is left out, and why."""

    reason: Literal["system", "empty"]


class Export(Protocol):
    """A file of messages of one channel. ``warnings`` is filled while the messages are read to their end."""

    source: Source
    warnings: list[str]

    @property
    def position(self) -> int:
        """Bytes read so far."""

    def header(self) -> ExportHeader:
        """Return whose messages the file holds.

        Raises:
            BadExport: the file does not tell it, or it is a conversation that is not remembered.
        """

    def messages(self, header: ExportHeader) -> Iterator[IncomingMessage | Skipped]:
        """Yield every message, checked; reading to the end checks the whole file.

        Raises:
            BadExport: the file is cut off, broken, or a field is not what it must be.
        """
