"""The views of servers that lie in files, for the console and the shell, where no Discord is there to ask."""

from __future__ import annotations

import json
import os
from pathlib import Path

from cogs.memory.access.permissions import GuildView, guild_view_from_json
from cogs.memory.errors import BadRequest

GUILD_FILE = "guild.json"


def load_guild_views(data_dir: Path) -> dict[int, GuildView]:
    """Return the views kept under a data folder, by server id."""
    folder = data_dir / "guilds"
    found = [read_guild_view(path) for path in sorted(folder.glob("*.json"))] if folder.is_dir() else []
    return {view.id: view for view in found}


def read_guild_view(path: Path) -> GuildView:
    """Read one view.

    Raises:
        BadRequest: the file is not one.
    """
    try:
        return guild_view_from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadRequest(f"{path.name} is not a server's permission file: {error}.") from error


def save_guild_view_of(folder: Path, data_dir: Path) -> None:
    """Keep the permission file that lies beside imported exports, if there is one."""
    source = folder / GUILD_FILE
    if not source.is_file():
        return
    view = read_guild_view(source)
    target = data_dir / "guilds" / f"{view.id}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(".part")
    temporary.write_bytes(source.read_bytes())
    os.replace(temporary, target)


def exports_in(folder: Path) -> list[Path]:
    """Return the exports of a folder, which is every JSON file but the permissions."""
    return [path for path in sorted(folder.glob("*.json")) if path.name != GUILD_FILE]
