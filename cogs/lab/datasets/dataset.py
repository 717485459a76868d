"""A data set for evaluation: messages, queries with a scope, and which messages are relevant to which query."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from cogs.memory.errors import BadRequest, MnemeError
from cogs.memory.recall.dates import parse_when


class DatasetError(MnemeError):
    """A data set cannot be read; the sentence names the file and, where there is one, the line."""


@dataclass(frozen=True, slots=True)
class DatasetMessage:
    """One message of the corpus. ``timestamp`` is aware, or None where the source has none."""

    id: str
    text: str
    author: str = ""
    channel: str = ""
    timestamp: dt.datetime | None = None
    reply_to: str | None = None


@dataclass(frozen=True, slots=True)
class DatasetQuery:
    """One query. ``channel`` is its scope: None searches everywhere. ``asked_at`` is its present.

    ``turns`` are ``(author, text)`` of the conversation that it stands in, oldest first.
    """

    id: str
    text: str
    channel: str | None = None
    category: str | None = None
    asked_at: dt.datetime | None = None
    turns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Dataset:
    """``qrels`` maps a query's id to ``{message id: relevance}``; relevance 0 is judged and not relevant.

    ``warnings`` are sentences on what was odd in the files and how it was taken.
    """

    name: str
    messages: tuple[DatasetMessage, ...]
    queries: tuple[DatasetQuery, ...]
    qrels: Mapping[str, Mapping[str, int]]
    warnings: tuple[str, ...] = field(default=())

    def judged(self) -> tuple[DatasetQuery, ...]:
        """Return the queries that have a relevant message: only these can be measured."""
        return tuple(q for q in self.queries if any(score > 0 for score in self.qrels.get(q.id, {}).values()))


_CLOCK_FIRST = re.compile(r"^(\d{1,2}):(\d{2})\s*([ap]m)?\s+on\s+(.+)$", re.IGNORECASE)
_WEEKDAY = re.compile(r"\s*\((?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\)\s*", re.IGNORECASE)


def read_time(value: object) -> dt.datetime | None:
    """Read a time as data sets write it: ISO 8601, seconds or milliseconds since 1970, ``1:56 pm on 8 May, 2023``.

    Args:
        value: What stands in the file; None, "" and "none" are no time.

    Raises:
        ValueError: it stands for no time that can be read.
    """
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return dt.datetime.fromtimestamp(value / 1000 if abs(value) > 1e11 else value, tz=dt.UTC)
    text = _WEEKDAY.sub(" ", str(value)).strip()
    if not text or text.casefold() in ("none", "null", "nan"):
        return None
    if re.fullmatch(r"-?\d{9,}(\.\d+)?", text):
        return read_time(float(text))
    try:
        moment = dt.datetime.fromisoformat(re.sub(r"^(\d{4})/(\d{1,2})/(\d{1,2})", _iso_date, text))
    except ValueError:
        moment = _spoken(text)
    return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _iso_date(match: re.Match[str]) -> str:
    return f"{match[1]}-{int(match[2]):02}-{int(match[3]):02}"


def _spoken(text: str) -> dt.datetime:
    clock = _CLOCK_FIRST.match(text)
    day = text if clock is None else clock[4]
    try:
        moment = parse_when(day.replace(",", " "), dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    except BadRequest as error:
        raise ValueError(str(error)) from error
    if clock is None:
        return moment
    hour = int(clock[1]) % 12 + 12 * (clock[3].lower() == "pm") if clock[3] else int(clock[1])
    return moment.replace(hour=hour, minute=int(clock[2]))
