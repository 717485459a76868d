"""Every extension loads, and every command is one that Discord takes."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import cogs
from cogs.discord_app import EXTENSIONS, minimal_intents
from cogs.memory.records import JsonObject
from tests.cogs.world import MANAGE_GUILD, World, option

NAME = re.compile(r"[-_\w]{1,32}")


def all_commands(payloads: list[JsonObject], prefix: str = "") -> Iterator[tuple[str, JsonObject]]:
    """Yield every command, group and option with its full name."""
    for payload in payloads:
        name = f"{prefix} {payload['name']}".strip()
        yield name, payload
        yield from all_commands(payload.get("options", []), name)


def payloads(world: World) -> list[JsonObject]:
    """Return what is sent to Discord when the commands are registered."""
    return [dict(command.to_dict(world.bot.tree)) for command in world.bot.tree.get_commands()]


def test_only_files_that_say_so_import_discord() -> None:
    for file in Path(cogs.__path__[0]).rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        if re.search(r"^\s*(import discord|from discord)", text, re.MULTILINE):
            assert text.startswith('"""Discord only'), file


def test_every_extension_is_loaded_and_no_name_is_taken_twice(world: World) -> None:
    assert set(world.bot.extensions) == set(EXTENSIONS)
    top = payloads(world)
    assert {p["name"] for p in top} == {"recall", "memory", "privacy", "Find similar"}
    counted = Counter(name for name, _ in all_commands(top))
    assert [name for name, count in counted.items() if count > 1] == []


def test_every_command_fits_the_limits_of_discord(world: World) -> None:
    for name, payload in all_commands([p for p in payloads(world) if p.get("type") == 1]):
        assert NAME.fullmatch(payload["name"]), name
        assert payload["name"] == payload["name"].lower()
        assert 1 <= len(payload["description"]) <= 100, name
        assert max(len(payload.get("options", [])), len(payload.get("choices", []))) <= 25, name
        required = [o.get("required", False) for o in payload.get("options", [])]
        assert required == sorted(required, reverse=True), f"{name}: required options come first"
    assert len(json.dumps(payloads(world))) < 4000 * 8


def test_memory_is_for_those_who_manage_the_server_and_in_servers_only(world: World) -> None:
    (memory,) = (p for p in payloads(world) if p["name"] == "memory")
    assert memory["default_member_permissions"] == MANAGE_GUILD
    assert memory["contexts"] == [0]


def test_the_bot_asks_for_no_more_than_it_needs_and_pings_nobody(world: World) -> None:
    wanted = {name for name, on in minimal_intents() if on}
    assert wanted == {"guilds", "guild_messages", "dm_messages", "message_content"}
    assert world.bot.allowed_mentions is not None
    allowed: JsonObject = dict(world.bot.allowed_mentions.to_dict())
    assert allowed == {"parse": []}


ADMIN_COMMANDS: tuple[tuple[str, list[JsonObject]], ...] = (
    ("memory status", []),
    ("memory profile list", []),
    ("memory profile use", [option("name", "cpu")]),
    ("memory channels list", []),
    ("memory channels include", [option("channel", "general")]),
    ("memory channels exclude", [option("channel", "general")]),
    ("memory retention", [option("days", 3)]),
    ("memory forget", [option("author", "Ann")]),
    ("memory backfill", []),
    ("memory labels list", []),
    ("memory labels add", [option("name", "x"), option("description", "y")]),
    ("memory labels remove", [option("name", "x")]),
)


def test_the_list_of_administration_commands_is_complete(world: World) -> None:
    (memory,) = (p for p in payloads(world) if p["name"] == "memory")
    leaves = {name for name, p in all_commands([memory]) if p.get("type") == 1 and name != "memory"}
    assert leaves == {name for name, _ in ADMIN_COMMANDS}


@pytest.mark.parametrize(("name", "options"), ADMIN_COMMANDS, ids=[name for name, _ in ADMIN_COMMANDS])
async def test_no_administration_for_others_whatever_their_client_sends(
    world: World, name: str, options: list[JsonObject]
) -> None:
    await world.command(name, options, permissions=0x7FFFFFFFFFFF & ~MANAGE_GUILD & ~(1 << 3))
    assert world.told() == "Only people who may manage this server can do that."
    assert world.private()
    touched = [call[0] for call in world.memory.service.method_calls]
    assert touched == []
