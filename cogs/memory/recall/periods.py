"""Periods that English words name: months, days, seasons, "3 days ago"; the patterns and what each one means. Pure."""

from __future__ import annotations

import calendar
import datetime as dt
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from dateutil.relativedelta import relativedelta

_MONTHS = {name.casefold(): number for number, name in enumerate(calendar.month_name) if name}
_MONTHS |= {name.casefold(): number for number, name in enumerate(calendar.month_abbr) if name} | {"sept": 9}
_DAYS = {name.casefold(): number for number, name in enumerate(calendar.day_name)}
_DAYS |= {name.casefold(): number for number, name in enumerate(calendar.day_abbr)}
_SEASONS = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}
_NUMBERS = {
    "a": 1,
    "an": 1,
    "one": 1,
    "two": 2,
    "a couple of": 2,
    "three": 3,
    "a few": 3,
    "four": 4,
    "five": 5,
    "six": 6,
}
_NUMBERS |= {
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "eleven": 11,
    "twelve": 12,
    "一": 1,
    "两": 2,
    "二": 2,
    "三": 3,
}

_MONTH = "(?P<month>" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + r")\b\.?"
_DAY = "(?P<day>" + "|".join(sorted(_DAYS, key=len, reverse=True)) + r")\b"
_SEASON = "(?P<season>" + "|".join(_SEASONS) + r")\b"
_NUMBER = "(?P<number>\\d{1,4}|" + "|".join(sorted(_NUMBERS, key=len, reverse=True)) + ")"
_YEAR = r"(?P<year>(?:19|20)\d\d)\b"


class Period(NamedTuple):
    """From ``start`` to just before ``end``; both aware."""

    start: dt.datetime
    end: dt.datetime


Reading = Callable[[re.Match[str], dt.datetime], Period]


def _midnight(moment: dt.datetime) -> dt.datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def day_at(now: dt.datetime, days: int) -> Period:
    """Return the day that lies ``days`` after that of ``now``."""
    start = _midnight(now) + dt.timedelta(days=days)
    return Period(start, start + dt.timedelta(days=1))


def months_from(start: dt.datetime, count: int) -> Period:
    """Return ``count`` whole months from the one of ``start``."""
    first = _midnight(start).replace(day=1)
    return Period(first, first + relativedelta(months=count))


def _years_ago(now: dt.datetime, count: int) -> Period:
    return months_from(now.replace(year=now.year - count, month=1, day=1), 12)


def _week(now: dt.datetime, ago: int) -> Period:
    monday = _midnight(now) - dt.timedelta(days=now.weekday() + 7 * ago)
    return Period(monday, monday + dt.timedelta(days=7))


def _weekday(match: re.Match[str], now: dt.datetime) -> Period:
    """The last one before today, because nobody remembers a day that is not over."""
    back = (now.weekday() - _DAYS[match["day"]] - 1) % 7 + 1
    return day_at(now, -back)


def _month(match: re.Match[str], now: dt.datetime) -> Period:
    number = _MONTHS[match["month"]]
    named = match.groupdict().get("year")
    year = int(named) if named else now.year - (number > now.month)
    if not named and (match.groupdict().get("which") or "") == "last" and number == now.month:
        year -= 1
    return months_from(now.replace(year=year, month=number, day=1), 1)


def _date(match: re.Match[str], now: dt.datetime) -> Period:
    """A day of a named month, with or without its year."""
    number, date = _MONTHS[match["month"]], int(match["date"])
    named = match["year"]
    start = _midnight(now).replace(year=int(named) if named else now.year, month=number, day=date)
    if not named and start > now:
        start = start.replace(year=start.year - 1)
    return Period(start, start + dt.timedelta(days=1))


def _season(match: re.Match[str], now: dt.datetime) -> Period:
    first = _SEASONS[match["season"]]
    named = match.groupdict().get("year")
    if named:
        return months_from(now.replace(year=int(named), month=first, day=1), 3)
    period = months_from(now.replace(month=first, day=1), 3)
    over = (match.groupdict().get("which") or "") == "last"
    while (period.end if over else period.start) > now:
        period = months_from(period.start.replace(year=period.start.year - 1), 3)
    return period


def _ago(match: re.Match[str], now: dt.datetime) -> Period:
    count = _count(match["number"])
    unit = match["unit"]
    if unit.startswith(("minute", "hour")):
        moment = now - dt.timedelta(**{"hours" if unit.startswith("hour") else "minutes": count})
        return Period(moment, moment)
    if unit.startswith("day"):
        return day_at(now, -count)
    if unit.startswith("week"):
        start = day_at(now, -7 * count).start
        return Period(start, start + dt.timedelta(days=7))
    if unit.startswith("month"):
        return months_from(now - relativedelta(months=count), 1)
    return _years_ago(now, count)


def _around_ago(match: re.Match[str], now: dt.datetime) -> Period:
    """The same inside a question, where "two weeks ago" is said of a day or two more or less."""
    period = _ago(match, now)
    slack = {"d": dt.timedelta(0), "w": dt.timedelta(days=4), "m": dt.timedelta(days=7), "h": dt.timedelta(hours=2)}
    margin = slack.get(match["unit"][0], dt.timedelta(0))
    if match["unit"].startswith("week"):
        return Period(period.start - margin, period.start + margin + dt.timedelta(days=1))
    if match["unit"].startswith("minute"):
        margin = dt.timedelta(minutes=30)
    return Period(period.start - margin, min(period.end + margin, now))


def _count(number: str) -> int:
    return int(number) if number.isdigit() else _NUMBERS[number]


def _unit(match: re.Match[str], now: dt.datetime) -> Period:
    ago = 0 if match["which"] == "this" else 1
    unit = match["unit"]
    if unit == "week":
        return _week(now, ago)
    if unit == "weekend":
        monday = _week(now, ago if now.weekday() >= 5 else 1).start
        return Period(monday + dt.timedelta(days=5), monday + dt.timedelta(days=7))
    if unit == "month":
        return months_from(now - relativedelta(months=ago), 1)
    if unit == "year":
        return _years_ago(now, ago)
    return day_at(now, 0 if match["which"] == "this" else -1)


def _past(match: re.Match[str], now: dt.datetime) -> Period:
    """The last three days, the past two weeks: up to now."""
    days = {"day": 1, "week": 7, "month": 30, "year": 365}[match["unit"].rstrip("s")]
    return Period(day_at(now, -days * _count(match["number"])).start, now)


_NAMED_DAYS = {"今天": 0, "昨天": -1, "昨日": -1, "前天": -2, "today": 0, "yesterday": -1, "tomorrow": 1, "tonight": 0}
_NAMED_DAYS |= {"the day before yesterday": -2}


def _named_day(match: re.Match[str], now: dt.datetime) -> Period:
    return day_at(now, _NAMED_DAYS[match[0]])


def _iso(match: re.Match[str], now: dt.datetime) -> Period:
    start = _midnight(now).replace(year=int(match["y"]), month=int(match["m"]), day=int(match["d"] or 1))
    return Period(start, start + dt.timedelta(days=1)) if match["d"] else months_from(start, 1)


def _year(match: re.Match[str], now: dt.datetime) -> Period:
    return months_from(now.replace(year=int(match["year"]), month=1, day=1), 12)


_ISO = r"(?P<y>\d{4})[-./](?P<m>\d{1,2})(?:[-./](?P<d>\d{1,2}))?\b"
_NAMED = r"the day before yesterday|yesterday|today|tonight|tomorrow|今天|昨天|昨日|前天"
_AGO = rf"{_NUMBER}\s+(?P<unit>minutes?|hours?|days?|weeks?|months?|years?)\s+ago"
_DATE = rf"(?:{_MONTH}\s+(?P<date>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s+{_YEAR})?)"
_DATE_FIRST = rf"(?:(?P<date>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH}(?:,?\s+{_YEAR})?)"
_WHICH = r"(?P<which>last|this|past)"
_UNIT = rf"{_WHICH}\s+(?P<unit>weekend|week|month|year|night)\b"

WHOLE: Final[list[tuple[re.Pattern[str], Reading]]] = [
    (re.compile(pattern), reading)
    for pattern, reading in [
        (_ISO, _iso),
        (_YEAR, _year),
        (_NAMED, _named_day),
        (_AGO, _ago),
        (_UNIT, _unit),
        (rf"(?:{_WHICH}\s+|on\s+)?{_DAY}", _weekday),
        (rf"(?:{_WHICH}\s+|in\s+)?(?:the\s+)?{_SEASON}(?:\s+(?:of\s+)?{_YEAR})?", _season),
        (rf"(?:{_WHICH}\s+|in\s+)?{_MONTH}(?:,?\s+(?:of\s+)?{_YEAR})?", _month),
        (_DATE, _date),
        (_DATE_FIRST, _date),
    ]
]
"""Words that are a date and nothing else."""

_LEADS = (
    "in",
    "during",
    "of",
    "since",
    "after",
    "before",
    "until",
    "till",
    "by",
    "from",
    "between",
    "and",
    "to",
    "around",
)
#: Inside a sentence "may", "march", "fall" and "sun" are also other words, so one of these must stand before them.
_LED = "(?:" + "|".join(rf"(?<=\b{word} )" for word in _LEADS) + ")"

HINTS: Final[list[tuple[re.Pattern[str], Reading]]] = [
    (re.compile(pattern), reading)
    for pattern, reading in [
        (rf"(?<!\d){_ISO}(?!\d)", _iso),
        (rf"\b{_AGO}\b", _around_ago),
        (rf"\b(?:last|past)\s+{_NUMBER}\s+(?P<unit>days?|weeks?|months?|years?)\b", _past),
        (rf"\b{_DATE}", _date),
        (rf"\b{_DATE_FIRST}", _date),
        (rf"\b{_UNIT}", _unit),
        (rf"\b(?:{_NAMED})", _named_day),
        (rf"\b{_WHICH}\s+{_SEASON}", _season),
        (rf"\b{_SEASON}\s+(?:of\s+)?{_YEAR}", _season),
        (rf"{_LED}(?:the\s+)?{_SEASON}", _season),
        (rf"\b{_MONTH}(?:\s+of|,)?\s+{_YEAR}", _month),
        (rf"\b{_WHICH}\s+{_MONTH}", _month),
        (rf"{_LED}{_MONTH}", _month),
        (rf"{_LED}{_YEAR}", _year),
        (rf"\b{_WHICH}\s+{_DAY}", _weekday),
        (rf"(?<=\bon ){_DAY}", _weekday),
    ]
]
"""Words inside a sentence, the longer patterns first."""
