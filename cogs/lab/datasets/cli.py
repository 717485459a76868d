"""``python bot.py datasets``: public conversation sets as folders that ``evaluate`` and ``train`` read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cogs.shell.startup import JsonFlag


def datasets(
    sources: Annotated[Path, typer.Argument(help="The folder that holds friendsqa, molweni, irc, qmsum, hindsight.")],
    destination: Annotated[Path, typer.Argument(help="Where the folders go.")],
    as_json: JsonFlag = False,
) -> int:
    """Convert public conversation sets to folders in BEIR's layout, and generate group chats.

    Example: python bot.py datasets ~/sets data/runtime/sets
    """
    from cogs.lab.datasets.convert import convert

    counts = convert(sources, destination)
    if as_json:
        print(json.dumps({name: {"messages": turns, "queries": asked} for name, (turns, asked) in counts.items()}))
        return 0
    for name, (turns, asked) in counts.items():
        print(f"{destination / name}: {turns:,} messages, {asked:,} queries")
    return 0
