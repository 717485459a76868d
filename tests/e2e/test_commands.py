"""What the bot registers with Discord, and who may use it whatever their client sends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from cogs.app.client import minimal_intents
from cogs.bench.loopback_discord.world import MANAGE_GUILD, Payload
from tests.e2e.conftest import Harbour

NAME = re.compile(r"[-_\w]{1,32}")


def all_commands(payloads: list[Payload], prefix: str = "") -> Iterator[tuple[str, Payload]]:
    """Yield every command, group and option with its full name."""
    for payload in payloads:
        name = f"{prefix} {payload['name']}".strip()
        yield name, payload
        yield from all_commands(payload.get("options", []), name)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_bot_asks_for_no_more_than_it_needs() -> None:
    wanted = {name for name, on in minimal_intents() if on}
    assert wanted == {"guilds", "guild_messages", "dm_messages", "message_content"}


@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_registered_fits_the_limits_of_discord(harbour: Harbour) -> None:
    commands = harbour.server.rest.commands
    assert {command["name"] for command in commands} == {"recall", "catchup", "memory", "privacy", "Find similar"}
    for name, payload in all_commands([c for c in commands if c.get("type", 1) == 1]):
        assert NAME.fullmatch(payload["name"]), name
        assert payload["name"] == payload["name"].lower()
        assert 1 <= len(payload["description"]) <= 100, name
        assert max(len(payload.get("options", [])), len(payload.get("choices", []))) <= 25, name
        required = [option.get("required", False) for option in payload.get("options", [])]
        assert required == sorted(required, reverse=True), f"{name}: required options come first"
    (memory,) = (command for command in commands if command["name"] == "memory")
    assert int(memory["default_member_permissions"]) == MANAGE_GUILD
    (similar,) = (command for command in commands if command["name"] == "Find similar")
    assert memory["contexts"] == similar["contexts"] == [0]


@pytest.mark.asyncio(loop_scope="module")
async def test_no_administration_for_others_whatever_their_client_sends(harbour: Harbour) -> None:
    server = harbour.server
    (memory,) = (command for command in server.rest.commands if command["name"] == "memory")
    options: dict[str, dict[str, Any]] = {
        "memory profile use": {"name": "minimal"},
        "memory channels include": {"channel": "general"},
        "memory channels exclude": {"channel": "general"},
        "memory retention": {"days": 1},
        "memory forget": {"author": "Ann"},
        "memory labels add": {"name": "x", "description": "y"},
        "memory labels remove": {"name": "x"},
    }
    leaves = [name for name, p in all_commands([memory]) if p.get("type") == 1 and name != "memory"]
    assert len(leaves) >= 12
    said = await server.say(harbour.ann, harbour.general, "the heirloom lantern")
    for name in leaves:
        call = await server.slash(harbour.ben, harbour.general, name, **options.get(name, {}))
        assert await call.answer() == "Only people who may manage this server can do that.", name
        assert call.ephemeral
    found = await server.slash(harbour.ann, harbour.general, "recall", query="heirloom lantern")
    assert str(said) in await found.answer()
    status = await server.slash(harbour.ann, harbour.general, "memory status")
    assert "Profile: words" in await status.answer()


@pytest.mark.asyncio(loop_scope="module")
async def test_administrators_look_after_labels_retention_and_forgetting(harbour: Harbour) -> None:
    server = harbour.server
    old = await server.say(harbour.ben, harbour.general, "the brass kettle boils")
    added = await server.slash(
        harbour.ann, harbour.general, "memory labels add", name="tea", description="kettle boils"
    )
    assert "tea would catch" in await added.answer()
    assert "experiment" in added.text
    await server.click(added, "Switch on")
    await added.until(lambda call: "those of the past as well" in call.text)
    listed = await server.slash(harbour.ann, harbour.general, "memory labels list")
    assert "kettle boils" in await listed.answer()
    offered = await server.complete(harbour.ben, harbour.general, "recall", "label", "te")
    assert [choice["value"] for choice in offered] == ["tea"]
    for _ in range(60):
        call = await server.slash(harbour.ben, harbour.general, "recall", query="brass", label="tea")
        if "brass kettle" in (await call.answer()).replace("Recall: brass", ""):
            break
    else:
        raise AssertionError(call.text)
    forget = await server.slash(harbour.ann, harbour.general, "memory forget", message=str(old))
    assert "is erased" in await forget.answer()
    gone = await server.slash(harbour.ben, harbour.general, "recall", query="brass kettle")
    assert "boils" not in (await gone.answer()).replace("Recall: brass kettle", "")
    kept = await server.slash(harbour.ann, harbour.general, "memory retention", days=30)
    assert "for 30 days" in await kept.answer()
    refused = await server.slash(harbour.ann, harbour.general, "memory retention", days=-1)
    assert "between 0 and" in await refused.answer()
