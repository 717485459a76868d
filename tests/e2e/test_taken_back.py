"""What the bot said before: a reply that quotes what is deleted, edited or opted out is changed within seconds."""

from __future__ import annotations

import asyncio

import pytest

from cogs.bench.loopback_discord import Channel
from tests.e2e.conftest import Harbour
from tests.e2e.test_conversation import found

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def quoted(harbour: Harbour, text: str, secret: str, place: Channel | None = None) -> tuple[int, int]:
    """Say something and let the bot quote it; return the message and the question that it answered."""
    said = await harbour.server.say(harbour.ann, harbour.general, text)
    await found(harbour, text, secret)
    where = place or harbour.general
    mention = "" if place else f"<@{harbour.server.world.bot.id}> "
    asked = await harbour.server.say(harbour.ben, where, f"{mention}{text.replace(secret, 'what')}?")
    await harbour.server.reply_to(where, asked, secret)
    return said, asked


async def gone(harbour: Harbour, asked: int, secret: str, place: Channel | None = None) -> str:
    """Wait until a reply no longer shows something, and return what it shows instead."""

    def shown() -> str:
        return str(harbour.server.answers_to(place or harbour.general, asked)[0]["content"])

    await harbour.server.until(lambda: secret not in shown(), f"a reply without {secret}", 15)
    return shown()


async def test_a_quotation_goes_with_the_message_and_the_others_stay(harbour: Harbour) -> None:
    await harbour.server.say(harbour.ann, harbour.general, "The mooring line number is painted yellow")
    said, asked = await quoted(harbour, "The mooring line number is 5512", "5512")
    await harbour.server.delete(harbour.general, said)
    text = await gone(harbour, asked, "5512")
    assert "> …\n— …" in text
    assert str(said) not in text


async def test_a_quotation_goes_with_an_edit(harbour: Harbour) -> None:
    said, asked = await quoted(harbour, "The boathouse alarm pin is 9034", "9034")
    await harbour.server.edit(harbour.general, said, "The boathouse alarm pin is secret")
    assert "…" in await gone(harbour, asked, "9034")


async def test_a_quotation_in_a_direct_message_goes_when_its_author_opts_out(harbour: Harbour) -> None:
    direct = harbour.server.world.direct(harbour.ben)
    _, asked = await quoted(harbour, "The chandlery owes me 7781 crowns", "7781", direct)
    _, public = await quoted(harbour, "The slipway winch takes 6623 turns", "6623")
    call = await harbour.server.slash(harbour.ann, harbour.general, "privacy opt-out")
    await call.answer()
    await gone(harbour, asked, "7781", direct)
    assert "6623" not in await gone(harbour, public, "6623")
    await (await harbour.server.slash(harbour.ann, harbour.general, "privacy opt-in")).answer()


async def test_a_reply_that_stands_is_left_alone(harbour: Harbour) -> None:
    said, asked = await quoted(harbour, "The tide gauge reads 4419 at noon", "4419")
    await harbour.server.say(harbour.ann, harbour.general, "The tide gauge is new")
    await asyncio.sleep(2.5)
    assert str(said) in str(harbour.server.answers_to(harbour.general, asked)[0]["content"])
