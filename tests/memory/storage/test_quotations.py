"""Replies that quote a message learn of it when the message goes or changes, by whatever way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cogs.chat.rendering import TAKEN_BACK, without_quotations
from cogs.memory.service import MemoryService
from tests.memory.building import ANNA, GUILD, START, message, running_service

REPLY, PLACE = 900, 901
FIRST, SECOND = message(1, "the first"), message(2, "the second", 502)


async def kept(service: MemoryService) -> None:
    await service.remember([FIRST, SECOND])
    await service.quotations.keep(REPLY, PLACE, [FIRST.id, SECOND.id], written=False)
    assert await service.quotations.withdrawn() == []
    assert await service.quotations.standing(REPLY) == [FIRST.id, SECOND.id]


async def withdrawn(service: MemoryService) -> set[int]:
    found = await service.quotations.withdrawn()
    assert len(found) <= 1
    return set(found[0].message_ids) if found else set()


async def test_a_deletion_an_edit_and_an_opt_out_withdraw(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await kept(service)
        await service.forget_messages(GUILD, [FIRST.id])
        assert await withdrawn(service) == {FIRST.id}
        assert await service.quotations.standing(REPLY) is None
        await service.edit(replace(SECOND, content="another", edited_at=START.replace(hour=23)))
        assert await withdrawn(service) == {FIRST.id, SECOND.id}
        (reply,) = await service.quotations.withdrawn()
        await service.quotations.changed(reply, gone=False)
        assert await withdrawn(service) == set()
    async with running_service(tmp_path / "b") as service:
        await kept(service)
        await service.opt_out(ANNA, GUILD)
        assert await withdrawn(service) == {FIRST.id}


async def test_a_preview_that_comes_later_and_another_name_withdraw_nothing(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await kept(service)
        await service.edit(replace(FIRST, embed_text="A page", author_name="Anna B."))
        assert await withdrawn(service) == set()
        await service.edit(replace(FIRST, embed_text="Another page"))
        assert await withdrawn(service) == {FIRST.id}


async def test_what_is_gone_before_it_is_recorded_is_withdrawn_at_once(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember([SECOND])
        await service.quotations.keep(REPLY, PLACE, [FIRST.id, SECOND.id], written=True)
        assert await withdrawn(service) == {FIRST.id}
        await service.quotations.keep(REPLY, PLACE, [SECOND.id], written=True)
        assert await withdrawn(service) == set()
        await service.forget_messages(GUILD, [REPLY])
        assert await service.quotations.standing(REPLY) is None


def test_only_the_quotation_that_was_withdrawn_is_taken_out() -> None:
    text = "Here is what was said:\n> one\n— Ana [[1]](<https://x/1/2/31>)\n> two\n— Bo [[2]](<https://x/1/2/32>)"
    assert without_quotations(text, [32]) == text.replace("> two\n— Bo [[2]](<https://x/1/2/32>)", "> …\n— …")
    assert without_quotations(text, [31, 32]) == "Here is what was said:\n> …\n— …\n> …\n— …"
    assert without_quotations(text, [33]) == TAKEN_BACK
    assert without_quotations("words of a model [[1]](<https://x/1/2/31>)", [31]) == TAKEN_BACK
