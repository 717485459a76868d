"""How the log is written: as text or as JSON, each line with the id of the interaction or request that it belongs to.

Message text never enters the log; errors are logged by their type and place.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import secrets
import sys
from collections.abc import Iterator

from pythonjsonlogger.json import JsonFormatter

from config.settings import Settings

TEXT = "%(asctime)s %(levelname)-7s %(name)s%(origin)s: %(message)s"
NOISY = (
    "httpx",
    "httpx2",
    "openai",
    "alembic",
    "transformers",
    "sentence_transformers",
    "faiss",
    "discord",
    "mcp",
    "uvicorn",
)
_origin: contextvars.ContextVar[str] = contextvars.ContextVar("origin", default="")


@contextlib.contextmanager
def belonging_to(origin: int | str | None = None) -> Iterator[str]:
    """Mark what is logged inside the block, in tasks begun there too, as belonging to one interaction or request."""
    name = secrets.token_hex(4) if origin is None else str(origin)
    token = _origin.set(name)
    try:
        yield name
    finally:
        _origin.reset(token)


def mark(origin: int | str) -> None:
    """Mark what this task logs from now on."""
    _origin.set(str(origin))


class _Origin(logging.Filter):
    """Adds ``origin``: for text in brackets, for JSON bare."""

    def __init__(self, as_json: bool) -> None:
        super().__init__()
        self._json = as_json

    def filter(self, record: logging.LogRecord) -> bool:
        origin = _origin.get()
        record.origin = origin if self._json else f" [{origin}]" if origin else ""
        return True


def configure(settings: Settings) -> None:
    """Log to standard error; libraries only where they warn."""
    as_json = settings.log_format == "json"
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_Origin(as_json))
    handler.setFormatter(
        JsonFormatter(
            "%(asctime)s %(levelname)s %(name)s %(origin)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            datefmt="%Y-%m-%dT%H:%M:%S%z",
        )
        if as_json
        else logging.Formatter(TEXT)
    )
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
