"""The files of ``config/`` that map names to entries, checked by pydantic, each mistake told in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from cogs.memory.errors import MnemeError

Entry = TypeVar("Entry")


def load_entries(path: Path, noun: str, kind: TypeAdapter[Entry], refusal: type[MnemeError]) -> dict[str, Entry]:
    """Read the entries of a file by name, in the order of the file; each gets its name as its field ``name``.

    Raises:
        refusal: the file cannot be read, or an entry is malformed; the sentence names the entry and the setting.
    """
    try:
        found: Any = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise refusal(f"The {noun}s cannot be read from {path}: {' '.join(str(error).split())}.") from error
    if not isinstance(found, Mapping):
        raise refusal(f"{path.name} must map names to {noun}s.")
    entries = {}
    for name, values in found.items():
        if not isinstance(values, Mapping):
            raise refusal(f"The {noun} {name} in {path.name} is malformed: it must be a mapping.")
        try:
            entries[str(name)] = kind.validate_python({**values, "name": str(name)})
        except ValidationError as error:
            raise refusal(f"The {noun} {name} in {path.name} is malformed {problem(error)}.") from error
    return entries


def problem(error: ValidationError) -> str:
    """Return the first mistake that pydantic found, for the end of a sentence: ``at max_length: Input should be …``."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "its top"
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"at {place}: there is no such setting"
    return f"at {place}: {first['msg']}"
