"""Dates as people write them: "last tuesday", "2026-03-01", "2pm", "上周二". Pure, given the present.

A phrase is read whole: by the English grammar of :mod:`periods`, by that grammar after its words were found in one of
the languages of :mod:`date_words`, or by dateparser, for dates with a month's name in any other language. What could
mean two things is refused. Everything is understood as a period, half open: "march" is all of March. A point in time is
an empty period; a time of day is the last such time.
Seasons are the northern hemisphere's, by whole months: spring is March to May.
"""

from __future__ import annotations

import datetime as dt
import re
from itertools import pairwise

from cogs.memory.errors import BadRequest
from cogs.memory.recall.date_words import in_english
from cogs.memory.recall.periods import DAYS, HINTS, MONTHS, NUMBERS, WHOLE, Period, day_at, months_from
from cogs.memory.text.bounds import EARLIEST, LATEST
from cogs.memory.text.sanitize import one_line

_LONGEST = 60
_STAMP = re.compile(r"<t:(\d{1,12})(?::([a-z]))?>")
_BEFORE_DATES = re.compile(r"^(?:(?:since|from|on|in|at|around|the)\s+)+")
_ISO_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[t ]\d{2}:")
_CLOCK = (
    r"(?:(?P<named>noon|midnight)|(?<= at )(?P<bare>[01]?\d|2[0-3])|(?P<hour>[01]?\d|2[0-3])"
    r"(?::(?P<minute>[0-5]\d)(?::[0-5]\d)? ?(?P<half>[ap]\.?m\.?)?| ?(?P<half_alone>[ap]\.?m\.?)))"
)
_TIME = re.compile(rf"(?:^|(?<= )){_CLOCK}$")
_TIME_FIRST = re.compile(rf"{_CLOCK} (?:on )?(?P<day>.+)")
_GRAMMAR = frozenset({"ago", "last", "this", "next", "past", "one", "second", "the"})
_ENGLISH = frozenset(
    re.findall(r"[a-z]+", " ".join([*MONTHS, *DAYS, *NUMBERS, "minutes hours days weeks months years of"]))
)
_LANGUAGES = "en de fr es it pt nl pl cs sv da fi tr el ru uk he ar fa hi zh ja ko vi id"


def parse_when(text: str, now: dt.datetime, end_of: bool = False, tz: dt.tzinfo = dt.UTC) -> dt.datetime:
    """Read a date as a person writes it.

    What no grammar here reads goes to dateparser, whose first call loads its tables (a second or so): call this in a
    thread where an event loop runs.

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
        here = now.astimezone(tz)
        period = _stamp(words, here) or _english(words, here) or _other_language(words, here) or _guess(words, here)
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
                period = reading(match, here)
            except (OverflowError, ValueError):
                continue  # "in 1999 days ago": words that only look like a date.
            if period is not None:
                found.append((match.start(), match.end(), period))
    if not found:
        return None
    found.sort(key=lambda item: item[0])
    joined = _joined(words, found, here)
    start, end = max(joined.start, EARLIEST), joined.end
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


def _stamp(words: str, now: dt.datetime) -> Period | None:
    """Read Discord's own form of a time, ``<t:1775290000:F>``; with ``d`` or ``D`` it shows a day."""
    match = _STAMP.fullmatch(words)
    if match is None:
        return None
    moment = dt.datetime.fromtimestamp(int(match[1]), now.tzinfo)
    return day_at(moment, 0) if match[2] == "d" else Period(moment, moment)


def _english(words: str, now: dt.datetime) -> Period | None:
    words = _BEFORE_DATES.sub("", words)
    if words == "now":
        return Period(now, now)
    if _ISO_TIME.match(words):
        moment = dt.datetime.fromisoformat(words.upper())
        moment = moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)
        return Period(moment, moment)
    period = _read(words, now)
    if period is None and (match := _TIME.search(words)):
        day = words[: match.start()].removesuffix(" ").removesuffix(" at").removesuffix(",")
        period = _at_time(match, day or None, now)
    elif period is None and (match := _TIME_FIRST.fullmatch(words)):
        period = _at_time(match, match["day"], now)
    return period


def _at_time(match: re.Match[str], named_day: str | None, now: dt.datetime) -> Period | None:
    """Read a time of day: of the day that is named, or the last such time."""
    hour, minute, half = (
        int(match["hour"] or match["bare"] or 0),
        int(match["minute"] or 0),
        (match["half"] or match["half_alone"] or "")[:1],
    )
    if match["named"]:
        hour = 12 if match["named"] == "noon" else 0
    elif half:
        if not 1 <= hour <= 12:
            raise ValueError("no such time")
        hour = hour % 12 + (12 if half == "p" else 0)
    day = day_at(now, 0) if named_day is None else _read(_BEFORE_DATES.sub("", named_day), now)
    if day is None or day.end - day.start > dt.timedelta(days=1) or day.end == day.start:
        return None
    moment = day.start.replace(hour=hour, minute=minute)
    if named_day is None and moment > now:
        moment = day_at(now, -1).start.replace(hour=hour, minute=minute)
    return Period(moment, moment)


def _other_language(words: str, now: dt.datetime) -> Period | None:
    """Read a phrase in the languages that know all of its words; where they differ it is refused."""
    found = {period for told in in_english(words) if (period := _english(told, now)) is not None}
    if len(found) > 1:
        raise ValueError("the languages differ")
    return next(iter(found), None)


def _read(words: str, now: dt.datetime) -> Period | None:
    for pattern, reading in WHOLE:
        match = pattern.fullmatch(words)
        if match is not None:
            return reading(match, now)
    return None


def _guess(words: str, now: dt.datetime) -> Period | None:
    """Ask dateparser, which reads many languages, and refuse where it would guess at what means nothing."""
    either = re.fullmatch(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{2,4})", words)
    if either:
        raise BadRequest(
            f"{words} could be two dates; write it like {_ordered(either)}, with the year first, then the month."
        )
    said = set(re.findall(r"[^\W\d_]+", words))
    digits = any(character.isdigit() for character in words)
    if not said or said & _GRAMMAR or sum(map(len, said)) < 2 or (words.isascii() and sum(map(len, said)) < 3):
        return None  # It takes "x", "a" and "7" for months, and "3 ago" for August.
    if not digits and (said <= _ENGLISH or any(True for _ in in_english(words))):
        return None  # Words of dates that make no date.
    from dateparser.date import DateDataParser  # loads tables for a second

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
    if not digits and (" " in words or abs(moment - now) > dt.timedelta(days=3)):
        return None  # It takes "last week" of many languages for a day, and "this morning" for tomorrow.
    if data.period == "time":
        return Period(moment, moment)
    if data.period == "month":
        return months_from(moment, 1)
    if data.period == "year":
        return months_from(moment.replace(month=1, day=1), 12)
    return day_at(moment, 0)


def _ordered(either: re.Match[str]) -> str:
    """Return the same date as one of the two that it could be, or an example where it could be more."""
    if len(either[3]) != 4:
        return "2026-03-01"
    return f"{either[3]}-{int(either[1]):02}-{int(either[2]):02}"
