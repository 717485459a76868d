"""The guard: unknown hosts, long addresses, large bodies and many requests are refused; every answer has headers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from cogs.web.security import BODY_BYTES, HEADERS, PER_SECOND, SIGN_IN, Guard


async def _size(request: Request) -> PlainTextResponse:
    try:
        return PlainTextResponse(str(len(await request.body())))
    except ClientDisconnect:
        return PlainTextResponse("cut", 413)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    routes = [Route(path, _size, methods=["GET", "POST"]) for path in ("/", "/enter")]
    site = Guard(Starlette(routes=routes), ["localhost", "127.0.0.1", "::1"])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(site), base_url="http://localhost:8080") as client:
        yield client


async def test_every_answer_carries_the_headers_refusals_too(client: httpx.AsyncClient) -> None:
    for response in (await client.get("/"), await client.get("/", headers={"host": "evil.example"})):
        for name, value in HEADERS:
            assert response.headers[name.decode()] == value.decode()
        assert "unsafe" not in response.headers["content-security-policy"]


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "", "[::2]"])
async def test_a_host_that_is_not_named_is_refused(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/", headers={"host": host})).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080", "[::1]"])
async def test_loopback_is_known_by_each_of_its_names(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/", headers={"host": host})).status_code == 200


async def test_long_addresses_and_large_bodies_are_refused(client: httpx.AsyncClient) -> None:
    assert (await client.get("/?" + "q" * 9000)).status_code == 414
    assert (await client.post("/", content=b"x" * BODY_BYTES)).text == str(BODY_BYTES)
    assert (await client.post("/", content=b"x" * (BODY_BYTES + 1))).status_code == 413
    assert (await client.post("/", headers={"content-length": "-5"}, content=b"x")).status_code == 413


async def test_a_body_that_does_not_say_its_size_is_cut_at_the_bound(client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 4096

    assert (await client.post("/", content=endless())).status_code == 413


async def test_a_thousand_attempts_to_sign_in_are_stopped_after_a_few(client: httpx.AsyncClient) -> None:
    codes = [(await client.post("/enter")).status_code for _ in range(200)]
    assert codes.count(200) <= SIGN_IN.amount
    assert set(codes) == {200, 429}


async def test_a_client_that_asks_too_fast_waits(client: httpx.AsyncClient) -> None:
    codes = [(await client.get("/")).status_code for _ in range(3 * PER_SECOND)]
    assert 429 in codes
    assert codes[:PER_SECOND] == [200] * PER_SECOND
