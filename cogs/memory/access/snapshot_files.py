"""Permission snapshots of servers for the console and the shell, where no Discord is there to ask."""

from __future__ import annotations

import json
import os
from pathlib import Path

from cogs.memory.access.permissions import GuildSnapshot, snapshot_from_json
from cogs.memory.errors import BadRequest

GUILD_FILE = "guild.json"


def load_snapshots(data_dir: Path) -> dict[int, GuildSnapshot]:
    """Return the snapshots kept under a data folder, by server id."""
    folder = data_dir / "guilds"
    found = [read_snapshot(path) for path in sorted(folder.glob("*.json"))] if folder.is_dir() else []
    return {snapshot.id: snapshot for snapshot in found}


def read_snapshot(path: Path) -> GuildSnapshot:
    """Read one snapshot.

    Raises:
        BadRequest: the file is not one.
    """
    try:
        return snapshot_from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadRequest(f"{path.name} is not a server's permission file: {error}.") from error


def save_snapshot_of(folder: Path, data_dir: Path) -> None:
    """Keep the permission file that lies beside imported exports, if there is one."""
    source = folder / GUILD_FILE
    if not source.is_file():
        return
    snapshot = read_snapshot(source)
    target = data_dir / "guilds" / f"{snapshot.id}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(".part")
    temporary.write_bytes(source.read_bytes())
    os.replace(temporary, target)


def exports_in(folder: Path) -> list[Path]:
    """Return the exports of a folder, which is every JSON file but the permissions."""
    return [path for path in sorted(folder.glob("*.json")) if path.name != GUILD_FILE]
