"""The language model's client against an endpoint that misbehaves on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from aiohttp import web
from pydantic import SecretStr

from cogs.chat.language_model import (
    MOST_BYTES,
    MOST_CHARACTERS,
    ChatModel,
    LlmError,
    LlmRefused,
    LlmTimeout,
    LlmUnreachable,
    model_from_settings,
)

SECRET = "sk-very-secret-0123456789"
ASK = [{"role": "user", "content": "hello"}]


def piece(text: str) -> bytes:
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: " + json.dumps({**chunk, "choices": [choice]}).encode() + b"\n\n"


#: What never ends, each in its own way: words, empty pieces, one line.
ENDLESS = {"words": piece("many words " * 20) * 50, "nothing": piece("") * 200, "one-line": b"x" * 65_536}


class Endpoint:
    """A loopback endpoint; each path under ``/<behaviour>/v1`` goes wrong in its own way."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, object]]] = []
        self.url = ""
        self.written = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        behaviour = request.match_info["behaviour"]
        self.requests.append((request.headers.get("Authorization", ""), await request.json()))
        if behaviour.isdigit():
            text = f"key {request.headers.get('Authorization')} is wrong"
            return web.json_response({"error": {"message": text}}, status=int(behaviour))
        if behaviour == "silent":
            await asyncio.sleep(30)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if behaviour == "pings":
            while True:
                await response.write(b": keep-alive\n\n")
                await asyncio.sleep(0.05)
        if behaviour in ENDLESS:
            with contextlib.suppress(ConnectionError):
                while True:
                    await response.write(ENDLESS[behaviour])
                    self.written += len(ENDLESS[behaviour])
            return response
        if behaviour == "compressed":
            squeezed = web.Response(body=gzip.compress(b" " * 50_000_000), headers={"Content-Encoding": "gzip"})
            await squeezed.prepare(request)
            return squeezed
        await response.write(piece("Hello "))
        if behaviour == "stall":
            await asyncio.sleep(30)
        if behaviour == "drop":
            assert request.transport is not None
            request.transport.abort()
            return response
        if behaviour == "garbage":
            await response.write(b"data: {not json\n\n")
        if behaviour == "error":
            await response.write(b'data: {"error": {"message": "out of memory ' + SECRET.encode() + b'"}}\n\n')
        if behaviour == "drip":
            while True:
                await response.write(piece("x"))
                await asyncio.sleep(0.05)
        await response.write(piece("world"))
        await response.write(
            b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[]}\n\n'
        )
        await response.write(b"data: [DONE]\n\n")
        return response


@pytest.fixture
async def endpoint() -> AsyncGenerator[Endpoint, None]:
    endpoint = Endpoint()
    app = web.Application()
    app.router.add_post("/{behaviour}/v1/chat/completions", endpoint.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield endpoint
    await runner.cleanup()


Heard = tuple[str, LlmError | None]


@pytest.fixture
async def listen(endpoint: Endpoint) -> Callable[[str], Awaitable[Heard]]:
    async def heard(behaviour: str) -> Heard:
        model = ChatModel(
            f"{endpoint.url}/{behaviour}/v1",
            "m",
            SecretStr(SECRET),
            first_token_timeout=0.6,
            stall_timeout=0.3,
            total_timeout=1.5,
        )
        text = ""
        try:
            async for part in model.stream(ASK):
                text += part
        except LlmError as error:
            return text, error
        finally:
            await model.close()
        return text, None

    return heard


Listen = Callable[[str], Awaitable[Heard]]


async def test_an_answer_comes_in_pieces_and_the_request_is_what_endpoints_take(
    endpoint: Endpoint, listen: Listen
) -> None:
    assert await listen("good") == ("Hello world", None)
    authorization, body = endpoint.requests[0]
    assert authorization == f"Bearer {SECRET}"
    assert body["model"] == "m"
    assert body["stream"] is True
    assert body["messages"] == ASK


@pytest.mark.parametrize(
    ("behaviour", "kind", "text", "sentence"),
    [
        ("401", LlmRefused, "", "refused the key; check MNEME_LLM_API_KEY"),
        ("404", LlmRefused, "", "check MNEME_LLM_MODEL"),
        ("400", LlmRefused, "", "status 400"),
        ("silent", LlmTimeout, "", "in time"),
        ("pings", LlmTimeout, "", "did not begin to answer in time"),
        ("stall", LlmTimeout, "Hello ", "fell silent in mid-answer"),
        ("drip", LlmTimeout, "Hello x", "took too long"),
        ("drop", LlmRefused, "Hello ", "broke off"),
        ("garbage", LlmRefused, "Hello ", "broke off"),
        ("error", LlmRefused, "Hello ", "broke off"),
    ],
)
async def test_each_failure_is_one_sentence_without_secrets(
    listen: Listen,
    caplog: pytest.LogCaptureFixture,
    behaviour: str,
    kind: type[LlmError],
    text: str,
    sentence: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with asyncio.timeout(5):
        heard, error = await listen(behaviour)
    assert heard.startswith(text)
    assert isinstance(error, kind)
    assert sentence in str(error)
    assert str(error).count(".") == 1
    assert "\n" not in str(error)
    assert error.__suppress_context__, "the client's own error, with the server's words, would be logged beside it"
    told = str(error) + caplog.text + repr(error.__cause__)
    assert SECRET not in told


@pytest.mark.parametrize(("behaviour", "sentence"), [("429", "too much to do"), ("503", "failed on its own side")])
async def test_a_busy_or_broken_endpoint_is_asked_twice(endpoint: Endpoint, behaviour: str, sentence: str) -> None:
    model = ChatModel(f"{endpoint.url}/{behaviour}/v1", "m", first_token_timeout=10)
    with pytest.raises(LlmRefused, match=sentence):
        await anext(model.stream(ASK))
    await model.close()
    assert len(endpoint.requests) == 2
    assert endpoint.requests[0][0] == "Bearer none"


async def test_nobody_listening_is_a_sentence(endpoint: Endpoint, unused_tcp_port: int) -> None:
    model = ChatModel(f"http://user:{SECRET}@127.0.0.1:{unused_tcp_port}/v1", "m")
    with pytest.raises(LlmUnreachable, match="cannot be reached") as caught:
        await anext(model.stream(ASK))
    await model.close()
    assert SECRET not in str(caught.value)


@dataclass
class Named:
    llm_base_url: str | None = None
    llm_model: str | None = None
    llm_api_key: SecretStr | None = None


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (Named(llm_model="m"), "MNEME_LLM_BASE_URL is missing"),
        (Named(llm_base_url="http://x/v1"), "MNEME_LLM_MODEL is missing"),
        (Named("localhost:8000", "m"), "is no address"),
        (Named("http://x:port/v1", "m"), "is no address"),
        (Named("http:///v1", "m"), "is no address"),
        (Named("http://x/v1", "m", SecretStr("kéy")), "MNEME_LLM_API_KEY"),
        (Named("http://x/v1", "m", SecretStr("a\nb")), "MNEME_LLM_API_KEY"),
    ],
)
def test_half_settings_are_told_of_at_the_start(settings: Named, sentence: str) -> None:
    with pytest.raises(LlmError, match=sentence):
        model_from_settings(settings)


def test_no_settings_mean_no_model() -> None:
    assert model_from_settings(Named()) is None
    assert isinstance(model_from_settings(Named("http://127.0.0.1:1/v1", "m")), ChatModel)


@pytest.mark.parametrize("behaviour", ENDLESS)
async def test_a_model_that_does_not_stop_is_stopped(endpoint: Endpoint, behaviour: str) -> None:
    model = ChatModel(f"{endpoint.url}/{behaviour}/v1", "m", first_token_timeout=100, total_timeout=150)
    said, failed = "", None
    try:
        async for part in model.stream(ASK):
            said += part
    except LlmError as error:
        failed = error
    finally:
        await model.close()
    assert len(said) == (MOST_CHARACTERS if behaviour == "words" else 0)
    assert (failed is None) == (behaviour != "one-line")
    assert endpoint.written < 2 * MOST_BYTES


async def test_a_compressed_answer_is_not_decompressed(listen: Callable[[str], Awaitable[Heard]]) -> None:
    said, error = await listen("compressed")
    assert said == ""
    assert isinstance(error, LlmError)
