"""MCP over standard input: the package's own client drives ``python bot.py mcp`` in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from cogs.imports.importing import import_files
from cogs.memory.access.guild_view_files import exports_in, load_guild_views, save_guild_view_of
from config.settings import PROJECT_DIR
from tests.memory.building import SHARED_MODELS, running_service

SAMPLE = PROJECT_DIR / "data" / "sample"


async def _asked(folder: Path, guild: int, member: str, question: str) -> str:
    """Ask as an agent of one member, and return all that came back."""
    environment = {
        "PATH": os.environ["PATH"],
        "MNEME_DATA_DIR": str(folder),
        "MNEME_MODELS_DIR": str(SHARED_MODELS),
        "MNEME_PROFILE": "minimal",
    }
    command = StdioServerParameters(
        command=sys.executable,
        args=["bot.py", "mcp", "--guild", str(guild), "--as-user", member],
        env=environment,
        cwd=PROJECT_DIR,
    )
    async with stdio_client(command) as streams, ClientSession(*streams) as session:
        await session.initialize()
        found = await session.call_tool("recall", {"query": question, "limit": 5})
        hits = json.loads(found.content[0].model_dump()["text"])["hits"]
        template = (await session.list_resource_templates()).resource_templates[0].uri_template
        one = await session.read_resource(template.replace("{message_id}", hits[0]["id"]))
        assert hits[0]["content"][:20] in str(one.contents[0])
        return json.dumps([block.model_dump(mode="json") for block in found.content])


async def test_an_agent_on_the_same_machine_recalls_as_one_member(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await import_files(service, exports_in(SAMPLE))
        await service.drain()
    save_guild_view_of(SAMPLE, tmp_path)
    (view,) = load_guild_views(tmp_path).values()
    owner = next(member.name for member in view.members if member.id == view.owner_id)
    question = "the code of the key box"
    assert "7741" in await _asked(tmp_path, view.id, owner, question)
    assert "7741" not in await _asked(tmp_path, view.id, "new here", question)
    shutil.rmtree(tmp_path)
