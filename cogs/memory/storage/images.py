"""The images and videos of messages, kept for models that see them: fetched once at ingestion, bounded, gone with it.

Nothing is fetched unless a profile names a model that sees images, and only from Discord's own file servers. A file is
named by numbers only, and it is written only while the message still stands as it was read.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

import sqlalchemy as sa

from cogs.memory.records import Attachment, StoredMessage
from cogs.memory.storage.connection import MESSAGES, Database

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)
ORIGINS: Final = ("https://cdn.discordapp.com", "https://media.discordapp.net")
ENDINGS: Final = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi")
LARGEST_FILE: Final = 25 * 2**20
KEPT_BYTES: Final = 2 * 2**30
MOST_IMAGES: Final = 4
TIMEOUT_SECONDS: Final = 10.0


class ReadMessage(Protocol):
    """A message as it was read for embedding."""

    @property
    def message(self) -> StoredMessage:
        """The message."""

    @property
    def revision(self) -> int:
        """Its revision at that time."""


def is_image(attachment: Attachment) -> bool:
    """Return whether a file is an image or a video that can be read and is not too large."""
    kind = (attachment.content_type or "").lower()
    named = attachment.filename.lower().endswith(ENDINGS)
    shown = kind.startswith(("image/", "video/")) and "svg" not in kind if kind else named
    return shown and attachment.size <= LARGEST_FILE


class ImageStore:
    """Files under ``folder/<message id>/<attachment id>``.

    Of a person it keeps the images and videos of their messages, where a model sees them; :meth:`forget` deletes them
    with the message, and an export names their addresses.
    """

    def __init__(
        self,
        folder: Path,
        database: Database,
        *,
        origins: Sequence[str] | None = None,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._folder = folder
        self._database = database
        self._origins = frozenset(ORIGINS if origins is None else origins)
        self._kept_bytes = kept_bytes
        self._bytes: int | None = None

    def files(self, message_id: int) -> tuple[Path, ...]:
        """Return the images of a message that are here, in the order of its attachments."""
        folder = self._folder / str(message_id)
        if not folder.is_dir():
            return ()
        found = [file for file in folder.iterdir() if file.name.isdigit()]
        return tuple(sorted(found, key=lambda file: int(file.name)))

    def fetch(self, items: Sequence[ReadMessage]) -> list[tuple[Path, ...]]:
        """Bring the images of messages here; return what each has. What cannot be fetched is left out."""
        if self._bytes is None:
            self._bytes = self._sweep()
        import httpx  # only profiles with a model that sees images come here

        from cogs.memory.bounded_http import PLAIN, BoundedTransport

        with httpx.Client(
            headers=PLAIN,
            timeout=TIMEOUT_SECONDS,
            follow_redirects=False,
            transport=BoundedTransport(LARGEST_FILE),
        ) as client:
            for item in items:
                for attachment in [a for a in item.message.attachments if is_image(a)][:MOST_IMAGES]:
                    if not (self._folder / str(item.message.id) / str(attachment.id)).is_file():
                        data = self._download(client, attachment)
                        if data is not None:
                            self._keep(item, attachment.id, data)
        if self._bytes > self._kept_bytes:
            self._bytes = self._prune()
        return [self.files(item.message.id) for item in items]

    def _download(self, client: httpx.Client, attachment: Attachment) -> bytes | None:
        import httpx

        try:
            parts = urlsplit(attachment.url)
            if f"{parts.scheme}://{parts.netloc}" not in self._origins:
                log.info("an image is not on Discord's file servers and is left out")
                return None
            with client.stream("GET", attachment.url) as response:
                if response.status_code != 200:
                    log.info("an image could not be fetched: status %d", response.status_code)
                    return None
                return response.read()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            # The address of a private channel's file is a secret of its own.
            log.info("an image could not be fetched: %s", type(error).__name__)
            return None

    def _keep(self, item: ReadMessage, attachment_id: int, data: bytes) -> None:
        folder = self._folder / str(item.message.id)
        # A deletion holds the same lock, so it comes wholly before (nothing is written) or after (all is removed).
        with self._database.write_lock:
            with self._database.reading() as db:
                revision = db.scalar(sa.select(MESSAGES.c.revision).where(MESSAGES.c.id == item.message.id))
            if revision != item.revision:
                return
            folder.mkdir(parents=True, exist_ok=True)
            part = folder / f"{attachment_id}.part"
            part.write_bytes(data)
            os.replace(part, folder / str(attachment_id))
        self._bytes = (self._bytes or 0) + len(data)

    def forget(self, message_ids: Collection[int]) -> None:
        """Delete the images of messages."""
        if self._folder.is_dir():
            for message_id in message_ids:
                shutil.rmtree(self._folder / str(message_id), ignore_errors=True)

    def _folders(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        found = [folder for folder in self._folder.iterdir() if folder.name.isdigit()]
        return sorted(found, key=lambda folder: int(folder.name))

    def _sweep(self) -> int:
        """Delete what a crash left of messages that are gone; return the bytes of the rest."""
        folders = self._folders()
        ids = [int(folder.name) for folder in folders]
        with self._database.reading() as db:
            query = sa.select(MESSAGES.c.id).where(MESSAGES.c.id.in_(self._database.ids(ids)))
            standing = set(db.scalars(query)) if ids else set()
        self.forget([message_id for message_id in ids if message_id not in standing])
        return sum(_size(folder) for folder in folders if folder.is_dir())

    def _prune(self) -> int:
        """Delete the images of the oldest messages until the rest takes nine tenths of the bound; return its bytes."""
        folders = self._folders()
        total = sum(_size(folder) for folder in folders)
        for folder in folders:
            if total <= self._kept_bytes * 0.9:
                break
            total -= _size(folder)
            shutil.rmtree(folder, ignore_errors=True)
        return total


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
