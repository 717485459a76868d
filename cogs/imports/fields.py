"""The kinds of fields that exports are made of, checked by pydantic, and what to say of one that is wrong. Pure."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Final, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from cogs.memory.text.bounds import LARGEST_ID, NAME_CHARACTERS, cleaned, is_within_time

MAX_TEXT: Final = 20_000
"""Characters of one field that are read; the memory keeps fewer."""

DISCORD_EPOCH_MS: Final = 1_420_070_400_000


def _text(value: object) -> object:
    """Take null for no text, and leave out what no database takes: NUL and halves of surrogate pairs."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise PydanticCustomError("text", "is no text")
    return cleaned(value, MAX_TEXT)


def _snowflake(value: object) -> int:
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not (text.isascii() and text.isdecimal() and len(text) <= 19 and 0 < int(text) <= LARGEST_ID):
        raise PydanticCustomError("id", "is no Discord id")
    return int(text)


def _moment(value: object) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(value if isinstance(value, str) else "")
        if moment.tzinfo is None:
            raise ValueError("a time without its offset could mean any of 24 hours")
        moment = moment.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise PydanticCustomError("time", "is no time with its offset from UTC") from None
    if not is_within_time(moment):
        raise PydanticCustomError("time", "is a time that no message of Discord has")
    return moment


def _size(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_ID else 0


def _absent(value: object) -> object:
    return None if value in (None, "", 0, "0") else value


def _list(value: object) -> object:
    return () if value is None else value


Text = Annotated[str, BeforeValidator(_text)]
Name = Annotated[str, BeforeValidator(_text), AfterValidator(lambda name: name[:NAME_CHARACTERS])]
Snowflake = Annotated[int, BeforeValidator(_snowflake)]
MaybeSnowflake = Annotated[Snowflake | None, BeforeValidator(_absent)]
Moment = Annotated[dt.datetime, BeforeValidator(_moment)]
MaybeMoment = Annotated[Moment | None, BeforeValidator(_absent)]
Size = Annotated[int, BeforeValidator(_size)]
"""A number of bytes; what is no such number is 0."""

_Item = TypeVar("_Item")
Several = Annotated[tuple[_Item, ...], BeforeValidator(_list)]


class Part(BaseModel):
    """A part of an export. Fields that are not named are of no use here, or are newer than this."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def moment_of(snowflake: int) -> dt.datetime:
    """Return when Discord gave an id."""
    return dt.datetime.fromtimestamp(((snowflake >> 22) + DISCORD_EPOCH_MS) / 1000, tz=dt.UTC)


def what_is_wrong(error: ValidationError) -> str:
    """Return e.g. ``author.id is no Discord id`` for the first field that is wrong, without its value."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    name = ".".join(str(part) for part in first["loc"] if not isinstance(part, int)) or "it"
    kinds = {
        "missing": "is missing",
        "tuple_type": "is no list",
        "model_type": "is no object",
        "dict_type": "is no object",
    }
    told = (
        first["msg"] if first["type"] in ("text", "id", "time") else kinds.get(first["type"], "is not what it must be")
    )
    return f"“{name[:80]}” {told}"
