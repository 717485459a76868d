"""Periods that English words name: months, days, seasons, "3 days ago"; the patterns and what each one means. Pure."""

from __future__ import annotations

import calendar
import datetime as dt
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from dateutil.relativedelta import relativedelta

MONTHS = {name.casefold(): number for number, name in enumerate(calendar.month_name) if name}
MONTHS |= {name.casefold(): number for number, name in enumerate(calendar.month_abbr) if name} | {"sept": 9}
DAYS = {name.casefold(): number for number, name in enumerate(calendar.day_name)}
DAYS |= {name.casefold(): number for number, name in enumerate(calendar.day_abbr)}
_SEASONS = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}
NUMBERS = {
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
NUMBERS |= {
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

_SHORT = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks", "mo": "months", "y": "years"}

_MONTH = "(?P<month>" + "|".join(sorted(MONTHS, key=len, reverse=True)) + r")\b\.?"
_DAY = "(?P<day>" + "|".join(sorted(DAYS, key=len, reverse=True)) + r")\b"
_SEASON = "(?P<season>" + "|".join(_SEASONS) + r")\b"
_NUMBER = "(?P<number>\\d{1,4}|" + "|".join(sorted(NUMBERS, key=len, reverse=True)) + ")"
_YEAR = r"(?P<year>(?:19|20)\d\d)\b"


class Period(NamedTuple):
    """From ``start`` to just before ``end``; both aware."""

    start: dt.datetime
    end: dt.datetime


Reading = Callable[[re.Match[str], dt.datetime], Period | None]


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
    back = (now.weekday() - DAYS[match["day"]] - 1) % 7 + 1
    return day_at(now, -back)


def _month(match: re.Match[str], now: dt.datetime) -> Period:
    number = MONTHS[match["month"]]
    named = match.groupdict().get("year")
    year = int(named) if named else now.year - (number > now.month)
    if not named and (match.groupdict().get("which") or "") == "last" and number == now.month:
        year -= 1
    return months_from(now.replace(year=year, month=number, day=1), 1)


def _date(match: re.Match[str], now: dt.datetime) -> Period:
    """A day of a named month, with or without its year."""
    number, date = MONTHS[match["month"]], int(match["date"])
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
    unit = _SHORT.get(match["unit"], match["unit"])
    if unit.startswith(("min", "hour")):
        moment = _earlier(now, count, unit)
        return Period(moment, moment)
    if unit.startswith("day"):
        return day_at(now, -count)
    if unit.startswith("week"):
        start = day_at(now, -7 * count).start
        return Period(start, start + dt.timedelta(days=7))
    if unit.startswith("month"):
        return months_from(now - relativedelta(months=count), 1)
    return _years_ago(now, count)


def _earlier(now: dt.datetime, count: int, unit: str) -> dt.datetime:
    """Return the moment some minutes or hours ago, also across a change of the clocks."""
    ago = dt.timedelta(hours=count) if unit.startswith("hour") else dt.timedelta(minutes=count)
    return (now.astimezone(dt.UTC) - ago).astimezone(now.tzinfo)


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
    return int(number) if number.isdigit() else NUMBERS[number]


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
    count, unit = _count(match["number"] or "one"), match["unit"].rstrip("s")
    if unit in ("minute", "min", "hour"):
        return Period(_earlier(now, count, unit), now)
    if unit in ("month", "year"):
        ago = relativedelta(months=count) if unit == "month" else relativedelta(years=count)
        return Period(_midnight(now) - ago, now)
    return Period(day_at(now, -count * (7 if unit == "week" else 1)).start, now)


def _day_of_month(match: re.Match[str], now: dt.datetime) -> Period:
    """The last 5th, 28th or 31st, which not every month has."""
    date = int(match["date"])
    first = _midnight(now).replace(day=1)
    for back in range(12):
        month = first - relativedelta(months=back)
        start = month + dt.timedelta(days=date - 1)
        if date >= 1 and start.month == month.month and start <= now:
            return day_at(start, 0)
    raise ValueError("no month has such a day")


def _day_of_week(match: re.Match[str], now: dt.datetime) -> Period:
    monday = _week(now, 1 if match["which"] == "last" else 0).start
    return day_at(monday, DAYS[match["day"]])


def _iso_week(match: re.Match[str], now: dt.datetime) -> Period:
    """A week by its number, or a day of it; the last such week where no year is said."""
    named, number = match["y"], int(match["week"])
    start = dt.date.fromisocalendar(int(named or now.year), number, int(match.groupdict().get("weekday") or 1))
    if not named and start > now.date():
        start = dt.date.fromisocalendar(now.year - 1, number, 1)
    first = dt.datetime.combine(start, dt.time(), now.tzinfo)
    return Period(first, first + dt.timedelta(days=1 if match.groupdict().get("weekday") else 7))


def _by_dots(match: re.Match[str], now: dt.datetime) -> Period:
    """25.11.2025 and 25.11.: with dots the day comes first, everywhere."""
    start = _midnight(now).replace(year=int(match["y"] or now.year), month=int(match["number"]), day=int(match["date"]))
    return day_at(start.replace(year=start.year - 1) if not match["y"] and start > now else start, 0)


def _part_of_day(match: re.Match[str], now: dt.datetime) -> Period:
    day = _weekday(match, now) if match["day"] else day_at(now, -1 if match["yesterday"] else 0)
    first, last = {"morning": (5, 12), "afternoon": (12, 18), "evening": (18, 24)}[match["part"]]
    return Period(day.start + dt.timedelta(hours=first), day.start + dt.timedelta(hours=last))


def _quarter(match: re.Match[str], now: dt.datetime) -> Period:
    return months_from(now.replace(year=int(match["y"]), month=3 * int(match["quarter"]) - 2, day=1), 3)


def _by_slashes(match: re.Match[str], now: dt.datetime) -> Period | None:
    """A day and a month in either order, where only one order makes a date; else nothing."""
    first, second, year = int(match["first"]), int(match["second"]), int(match["y"])
    if first != second and first <= 12 and second <= 12:
        return None
    day, month = (second, first) if second > 12 else (first, second)
    return day_at(now.replace(year=year, month=month, day=day), 0)


_NAMED_DAYS = {"今天": 0, "昨天": -1, "昨日": -1, "前天": -2, "today": 0, "yesterday": -1, "tomorrow": 1, "tonight": 0}
_NAMED_DAYS |= {"the day before yesterday": -2, "day before yesterday": -2}


def _named_day(match: re.Match[str], now: dt.datetime) -> Period:
    return day_at(now, _NAMED_DAYS[match[0]])


def _iso(match: re.Match[str], now: dt.datetime) -> Period:
    start = _midnight(now).replace(year=int(match["y"]), month=int(match["m"]), day=int(match["d"] or 1))
    return Period(start, start + dt.timedelta(days=1)) if match["d"] else months_from(start, 1)


def _year(match: re.Match[str], now: dt.datetime) -> Period:
    return months_from(now.replace(year=int(match["year"]), month=1, day=1), 12)


_ISO = r"(?P<y>\d{4})[-./](?P<m>\d{1,2})(?:[-./](?P<d>\d{1,2}))?\b"
_NAMED = r"(?:the )?day before yesterday|yesterday|today|tonight|tomorrow|今天|昨天|昨日|前天"
_AGO = rf"{_NUMBER}\s+(?P<unit>minutes?|mins?|hours?|days?|weeks?|months?|years?)\s+ago"
_PAST_MANY = rf"(?:last|past)\s+{_NUMBER}\s+(?P<unit>minutes?|mins?|hours?|days?|weeks?|months?|years?)\b"
_PAST_ONE = r"(?:last|past)\s+(?P<number>)(?P<unit>minute|hour)\b"
_DATE = rf"(?:{_MONTH}\s+(?P<date>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s+{_YEAR})?)"
_DATE_FIRST = rf"(?:(?P<date>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH}(?:,?\s+{_YEAR})?)"
_WHICH = r"(?P<which>last|this|past)"
_UNIT = rf"{_WHICH}\s+(?P<unit>weekend|week|month|year|night)\b"

WHOLE: Final[list[tuple[re.Pattern[str], Reading]]] = [
    (re.compile(pattern), reading)
    for pattern, reading in [
        (_ISO, _iso),
        (r"(?P<y>\d{4})(?P<m>\d\d)(?P<d>\d\d)", _iso),
        (r"(?P<first>\d{1,2})[/-](?P<second>\d{1,2})[/-](?P<y>\d{4})", _by_slashes),
        (r"(?P<date>\d{1,2})\.(?P<number>\d{1,2})\.(?P<y>\d{4})?", _by_dots),
        (
            rf"(?:this|today|(?P<yesterday>yesterday)|(?:last\s+)?{_DAY})\s+(?P<part>morning|afternoon|evening)",
            _part_of_day,
        ),
        (r"(?P<y>\d{4})-?w(?P<week>\d{1,2})(?:-?(?P<weekday>[1-7]))?", _iso_week),
        (r"weeks?\s+(?P<week>\d{1,2})(?:\s+(?:of\s+)?(?P<y>\d{4}))?", _iso_week),
        (r"q(?P<quarter>[1-4])\s+(?P<y>\d{4})", _quarter),
        (r"(?P<date>\d{1,2})(?:st|nd|rd|th)", _day_of_month),
        (r"(?P<number>\d{1,4})\s?(?P<unit>m|min|h|d|w|mo|y)", _ago),
        (_PAST_ONE, _past),
        (_PAST_MANY, _past),
        (rf"{_DAY}\s+of[ _](?P<which>last|this)[ _]week", _day_of_week),
        (rf"(?P<which>last|this)\s+week\s+{_DAY}", _day_of_week),
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

_LEADS = ("in", "during", "since", "after", "before", "until", "till", "from", "between", "around")
#: Inside a sentence "may", "march", "fall" and "sun" are also other words, and "April" is also a name, so one of these
#: must stand before them.
_LED = "(?:" + "|".join(rf"(?<=\b{word} )" for word in _LEADS) + ")"
_LED_YEAR = "(?:" + "|".join(rf"(?<=\b{word} )" for word in (*_LEADS, "of", "by", "and", "to")) + ")"
_END = r"(?=\s*(?:[?.!,;:)]|$))"
_SURE = "(?P<month>" + "|".join(sorted(MONTHS.keys() - {"may", "march", "mar"}, key=len, reverse=True)) + r")\b\.?"
_UNSURE = r"(?P<month>may|march|mar)\b"
_ORDINAL = r"(?P<date>\d{1,2})(?:st|nd|rd|th)"
_FULL_DAY = "(?P<day>" + "|".join(name.casefold() for name in calendar.day_name) + r")\b"


def _from_to(match: re.Match[str], now: dt.datetime) -> Period:
    """Two months and all between them: "from march to may"."""
    months = [MONTHS[match[name]] for name in ("first", "second")]
    first, second = (months_from(now.replace(year=now.year - (n > now.month), month=n, day=1), 1) for n in months)
    if first.start > second.start:
        first = months_from(first.start - relativedelta(years=1), 1)
    return Period(first.start, second.end)


_MONTH_NAME = "|".join(sorted(MONTHS, key=len, reverse=True))
HINTS: Final[list[tuple[re.Pattern[str], Reading]]] = [
    (re.compile(pattern), reading)
    for pattern, reading in [
        (rf"(?<!\d){_ISO}(?!\d)", _iso),
        (rf"\b{_AGO}\b", _around_ago),
        (rf"\b{_PAST_MANY}", _past),
        (
            rf"\b(?:from|between)\s+(?P<first>{_MONTH_NAME})\s+(?:and|to|until|till)\s+(?P<second>{_MONTH_NAME})\b",
            _from_to,
        ),
        (rf"\b{_SURE}\s+(?P<date>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s+{_YEAR})?", _date),
        (rf"\b{_UNSURE}\s+{_ORDINAL}\b(?:,?\s+{_YEAR})?", _date),
        (rf"\b{_UNSURE}\s+(?P<date>\d{{1,2}}),?\s+{_YEAR}", _date),
        (rf"(?:{_LED}|(?<=\bon )){_UNSURE}\s+(?P<date>\d{{1,2}})\b(?P<year>)", _date),
        (rf"\b{_UNSURE}\s+(?P<date>\d{{1,2}})(?P<year>){_END}", _date),
        (rf"\b(?P<date>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?{_SURE}(?:,?\s+{_YEAR})?", _date),
        (rf"\b{_ORDINAL}\s+(?:of\s+)?{_UNSURE}(?:,?\s+{_YEAR})?", _date),
        (rf"\b(?P<date>\d{{1,2}})\s+(?:of\s+)?{_UNSURE},?\s+{_YEAR}", _date),
        (rf"(?<=\bon )(?P<date>\d{{1,2}})\s+{_UNSURE}(?P<year>)", _date),
        (rf"\b(?P<date>\d{{1,2}})\s+{_UNSURE}(?P<year>){_END}", _date),
        (rf"\b{_UNIT}", _unit),
        (rf"\b(?:{_NAMED})", _named_day),
        (rf"\b{_WHICH}\s+{_SEASON}", _season),
        (rf"\b{_SEASON}\s+(?:of\s+)?{_YEAR}", _season),
        (rf"{_LED}(?:the\s+)?(?P<season>spring|summer|autumn|winter)\b", _season),
        (r"(?:(?<=\bin )|(?<=\bduring ))(?:the\s+)?(?P<season>fall)\b", _season),
        (rf"\b{_MONTH}(?:\s+of|,)?\s+{_YEAR}", _month),
        (rf"\b{_WHICH}\s+{_SURE}", _month),
        (rf"\b(?P<which>last)\s+{_UNSURE}", _month),
        (rf"\b(?:end|middle|beginning|start)\s+of\s+{_MONTH}", _month),
        (rf"{_LED}{_MONTH}", _month),
        (rf"{_LED_YEAR}{_YEAR}", _year),
        (rf"\b{_WHICH}\s+{_FULL_DAY}", _weekday),
        (rf"(?<=\bon ){_FULL_DAY}", _weekday),
    ]
]
"""Words inside a sentence, the longer patterns first."""
