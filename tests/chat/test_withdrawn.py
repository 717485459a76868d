"""What people delete, edit or close off while a language model still writes: no reply may go on showing it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from cogs.chat.language_model import LlmTimeout
from cogs.chat.service import ChatService, ReplyUpdate
from cogs.memory.records import Scope, Turn
from cogs.memory.service import MemoryService
from tests.memory.building import BEN, GENERAL, GUILD, SECRET, message, running_service

CODE = message(1, "The vault code is 7741, keep it safe", BEN)
DOOR = message(2, "The vault door squeaks, oil it", BEN)
WHISPER = message(3, "The vault code was 1234 before", BEN, SECRET)
Then = Callable[[], Awaitable[object]]


class Quoting:
    """A language model that quotes all that it was given, and after its first words lets something happen."""

    def __init__(self, *then: Then, error: LlmTimeout | None = None) -> None:
        self.then = list(then)
        self.error = error
        self.prompts: list[str] = []

    async def stream(self, messages: Sequence[dict[str, str]]) -> AsyncGenerator[str, None]:
        prompt = messages[1]["content"]
        self.prompts.append(prompt)
        for start in range(0, len(prompt), 200):
            yield prompt[start : start + 200]
        if self.then:
            await self.then.pop(0)()
        if self.error is not None:
            raise self.error
        yield " That is all."

    async def close(self) -> None:
        pass


async def everywhere() -> Scope:
    return Scope.of(GUILD, [GENERAL, SECRET])


async def updates_of(
    service: MemoryService, model: Quoting, scope: Callable[[], Awaitable[Scope]] = everywhere
) -> list[ReplyUpdate]:
    chat = ChatService(service, model, seconds_between_looks=0.0)
    return [update async for update in chat.reply("what is the vault code?", await scope(), scope_now=scope)]


def erase(service: MemoryService, *ids: int) -> Then:
    async def then() -> None:
        await service.forget_messages(GUILD, ids)

    return then


def after_the_change(updates: Sequence[ReplyUpdate]) -> Sequence[ReplyUpdate]:
    (place,) = [place for place, update in enumerate(updates) if update.withdrawn]
    return updates[place:]


async def test_what_is_deleted_meanwhile_vanishes_and_the_rest_is_answered_from_anew(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember([CODE, DOOR])
        model = Quoting(erase(service, CODE.id))
        updates = await updates_of(service, model)
        assert any("7741" in update.text for update in updates), "it has to be there before it can vanish"
        later = after_the_change(updates)
        assert all("7741" not in update.text + update.plain for update in later)
        assert later[-1].final
        assert "squeaks" in later[-1].text
        assert "7741" not in model.prompts[1]


async def test_what_is_edited_meanwhile_is_quoted_as_it_is_now(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember([CODE, DOOR])

        async def edit() -> None:
            await service.edit(message(1, "The vault code is known to Ben", BEN, edited_at=message(9, "").created_at))

        later = after_the_change(await updates_of(service, Quoting(edit)))
        assert all("7741" not in update.text for update in later)
        assert "known to Ben" in later[-1].text


async def test_a_channel_that_is_closed_off_meanwhile_is_quoted_no_longer(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember([CODE, WHISPER])
        channels = [GENERAL, SECRET]

        async def scope() -> Scope:
            return Scope.of(GUILD, channels)

        async def close_off() -> None:
            channels.remove(SECRET)

        updates = await updates_of(service, Quoting(close_off), scope)
        assert any("1234" in update.text for update in updates)
        later = after_the_change(updates)
        assert all("1234" not in update.text for update in later)
        assert "7741" in later[-1].text


@pytest.mark.parametrize("error", [None, LlmTimeout("The language model took too long.", "read")])
async def test_after_a_failure_or_change_upon_change_only_what_still_stands_is_quoted(
    tmp_path: Path, error: LlmTimeout | None
) -> None:
    async with running_service(tmp_path) as service:
        await service.remember([CODE, DOOR, message(4, "The vault has four walls", BEN)])
        ids = [CODE.id, DOOR.id]
        model = Quoting(*(erase(service, number) for number in ids), error=error)
        last = (await updates_of(service, model))[-1]
        assert last.final
        assert last.extractive
        assert "7741" not in last.text
        assert "four walls" in last.text
        assert last.notice
        if error is None:
            assert "squeaks" not in last.text


async def test_a_turn_that_is_deleted_meanwhile_counts_like_a_memory(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember([CODE, DOOR])
        said = [Turn("Ben", CODE.content, CODE.id)]

        async def erase_turn() -> None:
            said.clear()
            await service.forget_messages(GUILD, [CODE.id])

        async def turns_now(_: Scope) -> list[Turn]:
            return said

        model = Quoting(erase_turn)
        chat = ChatService(service, model, limit=1, seconds_between_looks=0.0)
        asked = chat.reply("which door squeaks?", await everywhere(), list(said), turns_now=turns_now)
        updates = [update async for update in asked]
        assert "7741" in model.prompts[0]
        assert "7741" not in model.prompts[1]
        assert all("7741" not in update.text for update in after_the_change(updates))


async def test_where_nothing_changes_the_model_is_asked_once(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember([CODE, DOOR])
        model = Quoting()
        updates = await updates_of(service, model)
        assert len(model.prompts) == 1
        assert not any(update.withdrawn for update in updates)
        assert "That is all." in updates[-1].text


async def test_where_all_of_it_goes_the_reply_says_that_nothing_was_found(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember([CODE, DOOR])
        model = Quoting(erase(service, CODE.id), erase(service, DOOR.id))
        last = (await updates_of(service, model))[-1]
        empty = [
            update async for update in ChatService(service, None).reply("what is the vault code?", await everywhere())
        ]
        assert last.extractive
        assert "7741" not in last.text
        assert empty[-1].text in last.text
