"""The options of a command: declared once, as the fields of a dataclass, for Discord, the console and the shell.

A command is a frozen dataclass whose fields are made by :func:`option`. The doors build their parameters from
:func:`options_of` and hand what was typed to :func:`read_options`, which checks it. Adding an option is adding a field
(and what it means to the function that carries the command out).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from cogs.memory.errors import BadRequest

Command = TypeVar("Command")
Completion = Literal["channel", "author", "label"]

WORDS_LENGTH = 200
"""No name, date or label is longer; the query has a limit of its own."""
_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a command, as every door shows it.

    Args:
        help: What it does, in at most 100 characters (Discord's limit).
        kind: ``words`` as typed, a ``number`` from ``low`` to ``high``, or one of ``choices``.
        low: The smallest number.
        high: The largest number.
        choices: The words to choose from.
        complete: What is offered while a person types.
        repeated: Whether it may be given several times where a door can do that; its value is a tuple.
        positional: Whether it is what stands without a name: the query.
        required: Whether Discord's client insists on it; a command says itself what it misses.
        length: The most characters.
        default: The value where it is not given.
    """

    help: str
    kind: Literal["words", "number", "choice"] = "words"
    low: int = 0
    high: int = 0
    choices: tuple[str, ...] = ()
    complete: Completion | None = None
    repeated: bool = False
    positional: bool = False
    required: bool = False
    length: int = WORDS_LENGTH
    default: Any = None


def option(help: str, **rules: Any) -> Any:
    """Declare a field of a command as an option; ``rules`` are the fields of :class:`Option`."""
    declared = Option(help, **rules)
    return dataclasses.field(default=() if declared.repeated else declared.default, metadata={"option": declared})


def options_of(command: type[Any]) -> dict[str, Option]:
    """Return the options of a command by name, in the order in which they are shown."""
    return {field.name: field.metadata["option"] for field in dataclasses.fields(command)}


def read_options(command: type[Command], given: Mapping[str, object]) -> Command:
    """Return a command with what was given for its options; an option that is ``None`` was not given.

    Raises:
        BadRequest: a number lies outside of its range, a word is none of the choices, or a text is too long.
    """
    values: dict[str, Any] = {}
    for name, rules in options_of(command).items():
        value = given.get(name)
        if value is None:
            if not rules.required or rules.default is not None:
                continue
            value = ""  # it is missing, and refused like anything else that is no value of its kind
        if rules.repeated:
            several = value if isinstance(value, list | tuple) else [value]
            values[name] = tuple(_read(name, rules, one) for one in several)
        else:
            values[name] = _read(name, rules, value)
    return command(**values)


def _read(name: str, rules: Option, value: object) -> str | int:
    if rules.kind == "number":
        what = f"The number of {name}" if name.endswith("s") else f"The {name}"
        return whole_number(what, value, rules.low, rules.high)
    text = clean(str(value))
    if rules.kind == "choice":
        return one_of(name, text, rules.choices)
    if not rules.positional and len(text) > rules.length:
        raise BadRequest(f"{name.capitalize()} has {len(text):,} characters; {rules.length:,} are the most.")
    return text


def clean(text: str) -> str:
    """Return a text on one line, without what cannot be printed."""
    return " ".join("".join(c if c.isprintable() or c.isspace() else " " for c in text).split())


def whole_number(what: str, value: object, low: int, high: int) -> int:
    """Return a whole number.

    Raises:
        BadRequest: it is none, or does not lie between ``low`` and ``high``.
    """
    text = str(value).strip() if not isinstance(value, int) or abs(value) <= 10**9 else ""
    if not _NUMBER.fullmatch(text) or not low <= int(text) <= high:
        raise BadRequest(f"{what} must lie between {low:,} and {high:,}.")
    return int(text)


def one_of(name: str, text: str, choices: tuple[str, ...]) -> str:
    """Return a choice as it is spelt among the choices.

    Raises:
        BadRequest: it is none of them.
    """
    for choice in choices:
        if text.casefold() == choice.casefold():
            return choice
    raise BadRequest(f"{name.capitalize()} takes {', '.join(choices[:-1])} or {choices[-1]}.")
