"""Nobody is shown what discord.py says they cannot read: random guilds against its own permission resolution.

``MNEME_ACCESS_CASES`` sets how many single decisions (a person, a place to ask in, a channel) the seeded runs check.
"""

from __future__ import annotations

import os
import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cogs.memory.access.permissions import MemberView, audience_scope, guild_view_from_json, reader_scope
from tests.memory.guilds import GUILD_ID, Oracle, random_guild

CASES = int(os.environ.get("MNEME_ACCESS_CASES", "100000"))


def check_readers(rng: random.Random) -> int:
    """Check every member of a random guild, asking in every channel and outside; return the number of decisions."""
    json = random_guild(rng)
    view, oracle = guild_view_from_json(json), Oracle(json)
    channels = [channel.id for channel in view.channels]
    for member, real in zip(view.members, oracle.members, strict=True):
        readable = {channel for channel in channels if oracle.reads(real, channel)}
        for asked_in in (None, *channels):
            inside = asked_in is not None and oracle.age_restricted(asked_in)
            expected = {channel for channel in readable if inside or not oracle.age_restricted(channel)}
            assert reader_scope(view, member, asked_in).channel_ids == expected, (json, member, asked_in)
    return len(channels) * (len(channels) + 1) * len(view.members)


def check_audiences(rng: random.Random) -> int:
    """Check every destination of a random guild against every member that it could have."""
    json = random_guild(rng, roles=3, channels=4, members=3)
    view, oracle = guild_view_from_json(json), Oracle(json)
    channels = [channel.id for channel in view.channels]
    people = list(oracle.possible_members())
    private = {channel.id for channel in view.channels if channel.private}
    for destination in channels:
        parent = view.by_id[destination].parent_id or destination
        viewers = [person for person in people if oracle.sees(person, parent)]
        expected = set()
        for channel in set(channels) - (private - {destination}):
            if oracle.age_restricted(channel) and not oracle.age_restricted(destination):
                continue
            ruling = view.by_id[channel].parent_id or channel
            if all(oracle.reads(person, ruling) for person in viewers):
                expected.add(channel)
        if view.by_id[parent].kind == "voice":
            expected &= {destination}  # a guest may be among those who see it, and sees nothing else
        assert audience_scope(view, destination).channel_ids == expected, (json, destination)
    return len(channels) ** 2


def check_no_leak(rng: random.Random) -> int:
    """Check on large guilds that whoever sees a destination may read whatever its audience is shown."""
    json = random_guild(rng, roles=12, channels=12, members=20)
    view, oracle = guild_view_from_json(json), Oracle(json)
    decisions = 0
    for channel in view.channels:
        shown = audience_scope(view, channel.id).channel_ids
        readers = [person for person in oracle.members if oracle.reads(person, channel.id)]
        decisions += len(readers) * len(view.channels)
        for person in readers:
            assert all(oracle.reads(person, other) for other in shown), (json, channel.id, person.id)
    return decisions


def run_until(check: object, cases: int) -> int:
    """Run a check on guild after guild until it has made ``cases`` decisions."""
    assert callable(check)
    done, seed = 0, 0
    while done < cases:
        done += check(random.Random(seed))
        seed += 1
    return seed


def test_a_reader_gets_exactly_what_discord_lets_them_read() -> None:
    assert run_until(check_readers, CASES) > 20


def test_an_audience_gets_exactly_what_every_possible_member_of_it_may_read() -> None:
    assert run_until(check_audiences, CASES // 20) > 20


def test_no_member_of_a_large_guild_is_shown_more_than_they_may_read() -> None:
    assert run_until(check_no_leak, CASES) > 5


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_hypothesis_finds_no_reader_with_too_much_or_too_little(rng: random.Random) -> None:
    check_readers(rng)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_hypothesis_finds_no_audience_with_too_much_or_too_little(rng: random.Random) -> None:
    check_audiences(rng)


def test_a_scope_names_only_its_own_guild() -> None:
    json = random_guild(random.Random(7))
    view = guild_view_from_json(json)
    assert set(reader_scope(view, MemberView(int(json["owner_id"])), None).channels) <= {GUILD_ID}
