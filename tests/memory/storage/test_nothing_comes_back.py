"""What was forgotten, or is too old to be kept, comes in by no way."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

from cogs.memory.storage.steady_clock import SteadyClock
from tests.memory.building import ANNA, BEN, GUILD, message, running_service

OTHER_GUILD = 2_000


async def test_after_forget_me_no_older_message_comes_back(tmp_path: Path, where: dict[str, Any]) -> None:
    now = dt.datetime.now(dt.UTC)
    old = [message(i, f"Old words {i}", created_at=now - dt.timedelta(days=200 - i)) for i in range(6)]
    async with running_service(tmp_path, **where) as service:
        await service.remember(old[:2])
        assert await service.forget_person(ANNA, GUILD) == 2
        # A backfill, a catch-up and an import all come in here; none was stored before, so none has a tombstone.
        assert await service.remember(old[2:], mark_seen=False) == 0
        assert await service.edit(replace(old[3], content="edited", edited_at=now)) is False
        assert await service.remember([replace(old[4], author_id=BEN)]) == 1, "another person's words stay"
        assert await service.remember([replace(old[5], guild_id=OTHER_GUILD)]) == 1, "and this server only was meant"
        later = now + dt.timedelta(minutes=1)
        assert await service.remember([message(9, "Written afterwards", created_at=later)]) == 1
        await service.opt_out(BEN, None)
        await service.opt_in(BEN, None)
        assert await service.remember([replace(old[4], author_id=BEN, id=old[4].id + 1)]) == 0
    async with running_service(tmp_path, **where) as service:
        assert await service.remember(old[:4]) == 0


async def test_forgetting_that_a_crash_interrupted_is_finished_at_the_next_start(
    tmp_path: Path, where: dict[str, Any]
) -> None:
    async with running_service(tmp_path, **where) as service:
        await service.remember([message(1, "Anna's words", ANNA), message(2, "Ben's words", BEN), message(3, "Carla")])
        # As far as a kill let them come: the mark and the opt-out are written, and nothing is erased yet.
        service.repository.people.mark_forgotten(ANNA, GUILD, 2_000_000_000_000)
        service.repository.people.opt_out(BEN, GUILD)
    async with running_service(tmp_path, **where) as service:
        assert (await service.stored_about(ANNA, GUILD)).messages == 0
        assert (await service.stored_about(BEN, GUILD)).messages == 0


async def test_what_is_older_than_a_server_keeps_is_not_taken_in(tmp_path: Path, where: dict[str, Any]) -> None:
    now = dt.datetime.now(dt.UTC)
    async with running_service(tmp_path, **where) as service:
        await service.set_retention(GUILD, 30)
        assert await service.remember([message(1, "of last year", created_at=now - dt.timedelta(days=300))]) == 0
        assert await service.remember([message(2, "of last week", created_at=now - dt.timedelta(days=7))]) == 1
        assert await service.set_retention(GUILD, None) == 0
        assert await service.remember([message(3, "of last year", created_at=now - dt.timedelta(days=300))]) == 1


def test_a_clock_that_jumps_ahead_refuses_no_message_of_now() -> None:
    day, shift = 86_400_000, 0
    clock = SteadyClock(lambda: 1_000 * day + shift, lambda: 0.0)
    assert clock.now_ms(900 * day) == 1_000 * day
    shift = 400 * day
    assert clock.now_ms(1_000 * day + 1) == 1_000 * day + 1
    assert clock.now_ms(3 * day) == 1_000 * day + 1, "and remembers the newest message"
