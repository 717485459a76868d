"""The names that a question may mention: counted once for many questions, gone as soon as somebody is forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cogs.memory.caches.author_names import FRESH_SECONDS, AuthorNames
from tests.memory.building import ANNA, BEN, GENERAL, message, running_service


class Counting:
    """A database of two channels that counts how often it is asked for each."""

    def __init__(self) -> None:
        self.names: dict[int, dict[str, int]] = {1: {"Ada": 3, "Ben": 1}, 2: {"Ben": 5}}
        self.asked: list[set[int]] = []
        self.now = 0.0

    def count(self, channels: set[int]) -> Mapping[int, Mapping[str, int]]:
        self.asked.append(channels)
        return {i: dict(self.names[i]) for i in channels if i in self.names}


def test_channels_are_counted_once_while_fresh_and_only_those_in_scope_are_told() -> None:
    database = Counting()
    names = AuthorNames(database.count, clock=lambda: database.now)
    assert names.of([1], 10) == ["Ada", "Ben"]
    assert names.of([1, 2], 10) == ["Ben", "Ada"]
    assert names.of([2], 10) == ["Ben"]
    assert names.of([1, 2], 1) == ["Ben"]
    assert database.asked == [{1}, {2}]
    database.names[2]["Cy"] = 9
    database.now = FRESH_SECONDS + 1
    assert names.of([2], 10) == ["Cy", "Ben"]
    assert names.of([3], 10) == []


def test_forgetting_empties_it() -> None:
    database = Counting()
    names = AuthorNames(database.count, clock=lambda: database.now)
    assert names.of([1], 10) == ["Ada", "Ben"]
    del database.names[1]["Ada"]
    names.clear()
    assert names.of([1], 10) == ["Ben"]


async def test_a_forgotten_person_is_no_longer_known_by_name(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember([message(1, "The keys are under the mat", ANNA), message(2, "Thank you", BEN)])
        before = service._caches.author_names.of([GENERAL], 10)
        await service.forget_person(ANNA, None)
        assert set(before) - set(service._caches.author_names.of([GENERAL], 10)) == {"Anna"}
