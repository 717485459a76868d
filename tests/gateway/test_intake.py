"""What must be done is waited for and tried again, whichever kind of function it is."""

from __future__ import annotations

import asyncio

from cogs.gateway.intake import insist
from cogs.memory.errors import StorageError


async def test_work_is_waited_for_and_tried_again_until_it_is_done() -> None:
    done: list[str] = []

    async def work(name: str) -> None:
        await asyncio.sleep(0)
        done.append(name)
        if done.count(name) == 1:
            raise StorageError("busy")

    await insist(lambda: work("by a plain function"), "a deletion")

    async def directly() -> None:
        await work("by a coroutine")

    await insist(directly, "a message")
    assert done == ["by a plain function"] * 2 + ["by a coroutine"] * 2
