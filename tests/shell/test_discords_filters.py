"""The console reads the filters of Discord's own search."""

from __future__ import annotations

import pytest

from cogs.commands.recall import RecallCommand
from cogs.shell.console_commands import as_options, read_line


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("from:Nadia in:general boat trip", RecallCommand(query="boat trip", author="Nadia", channel=("general",))),
        ('boat from:"Ann Lee" has:link', RecallCommand(query="boat", author="Ann Lee", has="link")),
        ("in:plans during:2026-03", RecallCommand(channel=("plans",), during="2026-03")),
        ("the train from: home", RecallCommand(query="the train from: home")),
        ("domain:x from", RecallCommand(query="domain:x from")),
        ("boat author:Ann Lee", RecallCommand(query="boat", author="Ann Lee")),
    ],
)
def test_what_people_type_on_discord_means_the_same_here(typed: str, expected: RecallCommand) -> None:
    assert read_line(RecallCommand, as_options(typed)) == expected
