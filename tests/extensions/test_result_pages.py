"""Pages of results: a bounded number of them is kept, and those given up lose their buttons."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any, cast

from cogs.app.open_pages import OpenPages
from cogs.commands.recall import RecallAnswer
from cogs.extensions.result_pages import ResultPages
from cogs.memory.records import Hit, Reach, RecallResult, Scope, StoredMessage

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)


def answer() -> RecallAnswer:
    hits = tuple(Hit(StoredMessage(i, 1, 2, 3, "Anna", f"Message {i}", NOW, None, None), 0.5) for i in range(1, 30))
    return RecallAnswer("anything", RecallResult(hits, Reach(29, 1, NOW), "minimal"), Scope.of(1, [2]), NOW)


class Discord:
    """What pages need of an interaction: somewhere to answer, and the bot."""

    def __init__(self, most: int) -> None:
        self.open_pages = OpenPages(most)
        self.readers = SimpleNamespace(names=lambda _: {})
        self.closing: list[Any] = []
        self.client = self
        self.shown: list[Any] = []
        self.views: list[Any] = []
        self.followup = SimpleNamespace(send=self.send)

    async def send(self, **what: Any) -> None:
        self.shown.append(what)

    async def edit_original_response(self, *, view: Any) -> None:
        self.views.append(view)

    def start_task(self, work: Any, _: str) -> None:
        self.closing.append(work)


async def test_the_oldest_pages_are_closed_where_too_many_are_open() -> None:
    discord = Discord(most=2)
    pages = [ResultPages(answer(), asker_id=3) for _ in range(3)]
    for each in pages:
        await each.first(cast("Any", discord))
    assert [what["view"] for what in discord.shown] == pages
    for work in discord.closing:
        await work
    assert discord.views == [None], "its buttons are taken away"
    assert [each.is_finished() for each in pages] == [True, False, False]
    await pages[1].on_timeout()
    assert len(discord.open_pages) == 1
