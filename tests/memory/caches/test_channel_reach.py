"""How far the memory reaches: never counted from before a change that has been told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import pytest

from cogs.memory.caches.channel_reach import ChannelReach, Part


class Database:
    """Two channels; ``meanwhile`` happens after they were read and before the answer arrives."""

    def __init__(self) -> None:
        self.parts: dict[int, Part] = {1: (3, 100), 2: (5, 50)}
        self.asked: list[list[int]] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def count(self, channel_ids: Collection[int]) -> Mapping[int, Part]:
        self.asked.append(list(channel_ids))
        found = {i: self.parts[i] for i in channel_ids if i in self.parts}
        self.meanwhile()
        return found


def test_a_channel_is_counted_until_it_changes() -> None:
    database = Database()
    reach = ChannelReach(database.count)
    assert reach.of([1]) == reach.of([1]) == [(3, 100)]
    assert reach.of([1, 2, 3]) == [(3, 100), (5, 50)]
    assert reach.of([3]) == [], "that it is empty is known as well"
    assert database.asked == [[1], [2, 3]]
    database.parts[2] = (6, 50)
    reach.changed([2])
    assert reach.of([1, 2]) == [(3, 100), (6, 50)]
    database.parts.clear()
    reach.clear()
    assert reach.of([1, 2]) == []


@pytest.mark.parametrize("tell", [lambda reach: reach.changed([1]), lambda reach: reach.clear()])
def test_a_change_while_the_database_counts_is_not_missed(tell: Callable[[ChannelReach], None]) -> None:
    database = Database()
    reach = ChannelReach(database.count)

    def one_more() -> None:
        database.parts[1] = (4, 100)
        tell(reach)
        database.meanwhile = lambda: None

    database.meanwhile = one_more
    assert reach.of([1]) == [(3, 100)], "what was true when it was asked"
    assert reach.of([1]) == [(4, 100)]
