"""PluralKit's API says whose a webhook's message is; where it does not answer, nobody is named and nothing waits."""

from __future__ import annotations

import json

import httpx
import pytest

from cogs.gateway.pluralkit import PluralKit
from tests.memory.building import BEN, message

WEBHOOK = message(1, "as somebody else", 9_001, webhook=True)


def answering(status: int, body: bytes) -> PluralKit:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == f"/v2/messages/{WEBHOOK.id}"
        return httpx.Response(status, stream=httpx.ByteStream(body))

    return PluralKit("https://pluralkit.example/v2/", httpx.MockTransport(answer))


async def test_the_sender_is_named() -> None:
    kit = answering(200, json.dumps({"id": str(WEBHOOK.id), "sender": str(BEN), "member": {}}).encode())
    person = message(2, "by a person")
    assert [m.proxied_for for m in await kit.named([WEBHOOK, person])] == [BEN, None]
    await kit.close()


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, b""), (500, b"oh"), (200, b"no json"), (200, b" " * 200_000), (302, b"")],
)
async def test_any_other_answer_names_nobody(status: int, body: bytes) -> None:
    kit = answering(status, body)
    assert await kit.named([WEBHOOK]) == [WEBHOOK]
    await kit.close()


async def test_nobody_waits_for_one_that_does_not_answer() -> None:
    asked = 0

    def silent(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        raise httpx.ReadTimeout("no answer", request=request)

    kit = PluralKit("https://pluralkit.example/v2", httpx.MockTransport(silent))
    many = [message(i, "as somebody else", 9_001, webhook=True) for i in range(50)]
    assert await kit.named(many) == many
    assert asked <= 5
    await kit.close()
