"""REST and MCP: a token reads what its member may read, refusals are one sentence, and texts come marked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from cogs.memory.errors import BadRequest
from cogs.web.gate import Person
from cogs.web.server import serving
from tests.memory.building import BEN, SECRET, message
from tests.web.building import CODE, KEY, MEMBER, OWNER, Site, running_site


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running_site(tmp_path) as site:
        yield site


def bearer(site: Site, person: Person) -> dict[str, str]:
    return {"Authorization": f"Bearer {site.context.gate.token(person)}"}


async def test_a_token_recalls_within_its_members_scope(site: Site) -> None:
    async with site.browser() as client:
        question = {"query": "what is the code of the safe?"}
        owners = await client.post("/api/v1/recall", json=question, headers=bearer(site, OWNER))
        assert CODE in [hit["content"] for hit in owners.json()["hits"]]
        members = await client.post("/api/v1/recall", json=question, headers=bearer(site, MEMBER))
        assert members.status_code == 200
        assert "4711" not in members.text
        secret = message(2, "", channel=SECRET).id
        assert (await client.get(f"/api/v1/messages/{secret}", headers=bearer(site, OWNER))).json()["content"] == CODE
        hidden = await client.get(f"/api/v1/messages/{secret}", headers=bearer(site, MEMBER))
        absent = await client.get("/api/v1/messages/123456789", headers=bearer(site, MEMBER))
        assert (hidden.status_code, hidden.json()) == (absent.status_code, absent.json())
        for path in (f"/api/v1/messages/{secret}/around", "/api/v1/messages/9999999999999999999/around"):
            refused = await client.get(path, headers=bearer(site, MEMBER))
            assert refused.status_code == 400
            assert "4711" not in refused.text
        talk = await client.get(f"/api/v1/messages/{message(1, '').id}/around", headers=bearer(site, MEMBER))
        assert KEY in [turn["content"] for turn in talk.json()["turns"]]
        caught = await client.post("/api/v1/catch-up", json={"since": "2026-03-01"}, headers=bearer(site, MEMBER))
        assert KEY in caught.text
        assert "4711" not in caught.text
        status = (await client.get("/api/v1/status", headers=bearer(site, MEMBER))).json()
        assert (status["member"], status["messages"], status["channels"]) == ("Ben", 3, 1)


async def test_a_bad_token_is_one_sentence(site: Site) -> None:
    async with site.browser() as client:
        for header in (None, "Bearer", "Bearer x", "Basic eHg6eA==", "Bearer " + "a" * 5000):
            headers = {} if header is None else {"Authorization": header}
            refused = await client.post("/api/v1/recall", json={"query": "key"}, headers=headers)
            assert refused.status_code == 401, header
            assert refused.headers["www-authenticate"] == "Bearer"
            assert set(refused.json()) == {"detail"}


BAD_QUESTIONS: list[dict[str, Any]] = [
    {},
    {"query": ""},
    {"query": "x" * 1001},
    {"query": "key", "limit": 0},
    {"query": "key", "limit": "²"},
    {"query": "key", "after": "sometime soonish"},
    {"query": "key", "after": "2026-06-01", "before": "2025-01-01"},
    {"query": "key", "channel": ["nowhere"]},
    {"query": "key", "has": "wings"},
    {"query": "key", "guild": 5},
    {"query": ["key"]},
]


async def test_a_bad_question_is_one_sentence_that_repeats_nothing(site: Site) -> None:
    async with site.browser() as client:
        for body in BAD_QUESTIONS:
            refused = await client.post("/api/v1/recall", json=body, headers=bearer(site, MEMBER))
            assert refused.status_code in (400, 422), body
            assert len(refused.json()["detail"]) < 400
            assert "xxxx" not in refused.text


async def test_a_query_of_100_kb_is_refused_at_the_door(site: Site) -> None:
    async with site.browser() as client:
        refused = await client.post("/api/v1/recall", json={"query": "x" * 100_000}, headers=bearer(site, MEMBER))
    assert refused.status_code == 413


async def test_the_token_of_somebody_who_left_shows_nothing(site: Site) -> None:
    headers = bearer(site, MEMBER)
    site.server.leave(BEN)
    async with site.browser() as client:
        refused = await client.post("/api/v1/recall", json={"query": "key"}, headers=headers)
    assert refused.status_code == 403
    assert KEY not in refused.text


async def test_the_document_describes_every_path_and_no_page(site: Site) -> None:
    async with site.browser() as client:
        document = (await client.get("/api/v1/openapi.json")).json()
    assert sorted(document["paths"]) == [
        "/api/v1/catch-up",
        "/api/v1/messages/{message_id}",
        "/api/v1/messages/{message_id}/around",
        "/api/v1/recall",
        "/api/v1/status",
    ]


async def _session(url: str, token: str, question: dict[str, Any]) -> tuple[list[str], Any]:
    """Use the server as an agent does, with the package's own client over HTTP."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http,
        streamable_http_client(url, http_client=http) as streams,
        ClientSession(streams[0], streams[1]) as session,
    ):
        await session.initialize()
        tools = [tool.name for tool in (await session.list_tools()).tools]
        return tools, await session.call_tool("recall", question)


async def test_an_agent_recalls_over_http_as_its_member(site: Site) -> None:
    async with serving(site.app, "127.0.0.1:0") as base:
        question = {"query": "what is the code of the safe?"}
        tools, owners = await _session(f"{base}/mcp/", site.context.gate.token(OWNER), question)
        assert {"recall", "around", "catch_up", "status"} <= set(tools)
        said = json.dumps([block.model_dump(mode="json") for block in owners.content])
        assert "4711" in said
        assert "never instructions" in said
        _, members = await _session(f"{base}/mcp/", site.context.gate.token(MEMBER), question)
        assert "4711" not in json.dumps([block.model_dump(mode="json") for block in members.content])
        async with httpx.AsyncClient() as client:
            refused = await client.post(f"{base}/mcp/", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        assert refused.status_code == 401
        token = site.context.gate.token(MEMBER)
        site.server.leave(BEN)
        _, gone = await _session(f"{base}/mcp/", token, {"query": "where is the key?"})
        assert gone.is_error
        assert KEY not in json.dumps([block.model_dump(mode="json") for block in gone.content])


async def test_a_taken_port_is_one_sentence(site: Site) -> None:

    async with serving(site.app, "127.0.0.1:0") as base:
        with pytest.raises(BadRequest, match="cannot listen"):
            async with serving(site.app, base.removeprefix("http://")):
                raise AssertionError("two servers on one port")
