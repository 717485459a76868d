"""Dates as people write them: "last tuesday", "2026-03-01", "3 days ago", "last spring". Pure, given the present.

Everything is understood as a period, half open: "march" is all of March. A point in time is an empty period.
Seasons are the northern hemisphere's, by whole months: spring is March to May.
"""

from __future__ import annotations

import datetime as dt
import re
from itertools import pairwise

from cogs.memory.errors import BadRequest
from cogs.memory.recall.periods import HINTS, WHOLE, Period, day_at, months_from
from cogs.memory.text.bounds import EARLIEST, LATEST
from cogs.memory.text.sanitize import one_line

_LONGEST = 60
_LANGUAGES = "en de fr es it pt nl pl cs sv da fi tr el ru uk he ar fa hi zh ja ko vi id"


def parse_when(text: str, now: dt.datetime, end_of: bool = False, tz: dt.tzinfo = dt.UTC) -> dt.datetime:
    """Read a date as a person writes it.

    Other languages than English are read by dateparser, whose first call loads its tables (a second or so): call
    this in a thread where an event loop runs.

    Args:
        text: The words.
        now: The present, aware; "yesterday" is measured from it.
        end_of: Return the end of the period ("march" → 1 April 00:00) instead of its start.
        tz: The time zone in which days begin and end.

    Returns:
        An aware time in UTC.

    Raises:
        BadRequest: the words are no date, or could be two.
    """
    words = " ".join(text.split()).casefold()
    try:
        if len(words) > _LONGEST:
            raise ValueError("no date is that long")
        period = _read(words, now.astimezone(tz))
        if period is None:
            period = _guess(words, now.astimezone(tz))
        if period is not None:
            moment = (period.end if end_of else period.start).astimezone(dt.UTC)
            return min(max(moment, EARLIEST), LATEST)  # before all messages or after them; nothing lies beyond
    except (OverflowError, ValueError):
        pass  # A year 0 or a 31 February: no date, and told like any other.
    shown = one_line(text, 40)
    raise BadRequest(f'I cannot read "{shown}" as a date; write it like 2026-03-01, "last tuesday" or "3 days ago".')


def time_hints(query: str, now: dt.datetime, tz: dt.tzinfo = dt.UTC) -> tuple[dt.datetime, dt.datetime] | None:
    """Return the period that a question's time words point to, or ``None`` where it has none.

    "What did she say last spring?" gives that spring. The words may be wrong by a little, so this is meant as a boost
    and not as a filter. "since", "after", "before" and "between" open or join periods. Times are in UTC.
    """
    words = query.casefold()
    here = now.astimezone(tz)
    found: list[tuple[int, int, Period]] = []
    for pattern, reading in HINTS:
        for match in pattern.finditer(words):
            if any(start < match.end() and match.start() < end for start, end, _ in found):
                continue  # A longer pattern has read these words already.
            try:
                found.append((match.start(), match.end(), reading(match, here)))
            except (OverflowError, ValueError):
                continue  # "in 1999 days ago": words that only look like a date.
    if not found:
        return None
    found.sort(key=lambda item: item[0])
    period = _joined(words, found, here)
    start, end = max(period.start, EARLIEST), period.end
    return (start.astimezone(dt.UTC), end.astimezone(dt.UTC)) if start < end else None


def _joined(words: str, found: list[tuple[int, int, Period]], now: dt.datetime) -> Period:
    for (_, first_end, first), (second_start, _, second) in pairwise(found):
        if re.fullmatch(r"\s*(?:and|to|until|till|-|–|bis|到)\s*(?:in\s+)?", words[first_end:second_start]):
            return Period(first.start, max(second.end, first.end))
    begin, _, period = found[0]
    before = re.search(r"\b(since|after|before|until|till|by)\s+(?:the\s+)?$", words[:begin])
    if before is None:
        return period
    if before[1] == "since":
        return Period(period.start, now)
    if before[1] == "after":
        return Period(period.end, now)
    return Period(EARLIEST, period.start if before[1] == "before" else period.end)


def _read(words: str, now: dt.datetime) -> Period | None:
    for pattern, reading in WHOLE:
        match = pattern.fullmatch(words)
        if match is not None:
            return reading(match, now)
    return None


def _guess(words: str, now: dt.datetime) -> Period | None:
    """Ask dateparser, which reads many languages, and refuse where it would guess at what means nothing."""
    letters = sum(character.isalpha() for character in words)
    digits = sum(character.isdigit() for character in words)
    if letters < 3 and digits < 3 and words.isascii():
        return None  # It takes "x", "a" and "7" for months.
    if words == "now":
        return Period(now, now)
    either = re.fullmatch(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{2,4})", words)
    if either and either[1] != either[2] and int(either[1]) <= 12 and int(either[2]) <= 12:
        raise BadRequest(
            f"{words} could be two dates; write it like {_ordered(either)}, with the year first, then the month."
        )
    from dateparser.date import DateDataParser  # its tables take a while, and most dates are read without it

    parser = DateDataParser(
        languages=_LANGUAGES.split(),
        settings={
            "RELATIVE_BASE": now.replace(tzinfo=None),
            "PREFER_DATES_FROM": "past",
            "PREFER_DAY_OF_MONTH": "first",
            "PREFER_MONTH_OF_YEAR": "first",
            "RETURN_TIME_AS_PERIOD": True,
        },
    )
    data = parser.get_date_data(words)
    if data.date_obj is None:
        return None
    moment = data.date_obj if data.date_obj.tzinfo else data.date_obj.replace(tzinfo=now.tzinfo)
    if data.period == "time":
        return Period(moment, moment)
    if data.period == "month":
        return months_from(moment, 1)
    if data.period == "year":
        return months_from(moment.replace(month=1, day=1), 12)
    return day_at(moment, 0)


def _ordered(either: re.Match[str]) -> str:
    year = either[3] if len(either[3]) == 4 else f"20{either[3]:0>2}"
    return f"{year}-{int(either[1]):02}-{int(either[2]):02}"
