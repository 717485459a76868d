"""The rules of the house that neither ruff nor mypy nor import-linter checks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.settings import PROJECT_DIR

LONGEST_FILE = 400
ROOMS_WITH_DISCORD = {"app", "extensions", "gateway"}
SOURCES = [
    path for folder in ("cogs", "config", "tests") for path in sorted((PROJECT_DIR / folder).rglob("*.py"))
]  # fmt: skip


def shown(path: Path) -> str:
    return str(path.relative_to(PROJECT_DIR))


def of_the_product() -> Iterator[tuple[Path, str]]:
    for path in SOURCES:
        if path.is_relative_to(PROJECT_DIR / "cogs"):
            yield path, path.read_text(encoding="utf-8")


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {shown(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE} == {}


@pytest.mark.parametrize("pattern", [r"class \w*Mixin\b", r"\bhasattr\(self\b", r"\braise NotImplementedError\b"])
def test_no_class_relies_on_what_another_one_brings(pattern: str) -> None:
    assert [shown(path) for path, text in of_the_product() if re.search(pattern, text)] == []


def test_discord_is_imported_in_three_rooms_alone() -> None:
    importing = re.compile(r"^\s*(?:import discord|from discord)\b", re.MULTILINE)
    rooms = {
        path.relative_to(PROJECT_DIR / "cogs").parts[0] for path, text in of_the_product() if importing.search(text)
    }
    assert rooms == ROOMS_WITH_DISCORD


def test_the_product_does_not_import_its_tests() -> None:
    importing = re.compile(r"^\s*(?:import|from) tests\b", re.MULTILINE)
    assert [shown(path) for path, text in of_the_product() if importing.search(text)] == []
