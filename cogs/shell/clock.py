"""The present of this machine, in its own time zone."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfoNotFoundError

from tzlocal import get_localzone


def local_now() -> dt.datetime:
    """Return the present in the machine's zone, or in UTC where it names none that is known."""
    try:
        zone: dt.tzinfo = get_localzone()
    except (ZoneInfoNotFoundError, ValueError):
        zone = dt.UTC
    return dt.datetime.now(zone)
