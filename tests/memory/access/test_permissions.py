"""The rules of reading, one by one, on a small guild that a person can follow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cogs.memory.access.permissions import (
    ChannelView,
    GuildView,
    MemberView,
    OverwriteView,
    audience_scope,
    can_read,
    direct_scope,
    guild_view_from_json,
    reader_scope,
    threads_to_ask_about,
)
from cogs.memory.records import ChannelInfo, JsonObject
from tests.memory.guilds import CONNECT, HISTORY, MANAGE_THREADS, VIEW

GUILD, OWNER, MODS = 1, 10, 2
GENERAL, STAFF, ADULT, LOUNGE, TICKER = 100, 101, 102, 103, 104
OPEN_THREAD, STAFF_THREAD, SECRET, ADULT_THREAD, ARCHIVED = 200, 201, 202, 203, 210
ANN = MemberView(11, "Ann")
BEN = MemberView(12, "Ben", frozenset({MODS}))
OWNER_MEMBER = MemberView(OWNER, "Olga")


def _overwrite(target: int, kind: str = "role", allow: int = 0, deny: int = 0) -> JsonObject:
    return {"id": str(target), "type": kind, "allow": str(allow), "deny": str(deny)}


def _channel(channel_id: int, name: str, *overwrites: JsonObject, **more: object) -> JsonObject:
    return {"id": str(channel_id), "name": name, "overwrites": list(overwrites), **more}


def _thread(thread_id: int, parent: int, **more: object) -> JsonObject:
    return _channel(thread_id, f"thread {thread_id}", kind="thread", parent_id=str(parent), **more)


@pytest.fixture
def guild() -> GuildView:
    """A guild with an open, a staff, an age-restricted, a voice and a no-history channel, and their threads."""
    return guild_view_from_json(
        {
            "id": str(GUILD),
            "name": "Home",
            "owner_id": str(OWNER),
            "roles": [
                {"id": str(GUILD), "name": "@everyone", "permissions": str(VIEW | HISTORY | CONNECT)},
                {"id": str(MODS), "name": "mods", "permissions": str(MANAGE_THREADS)},
            ],
            "members": [{"id": "11", "name": "Ann", "roles": []}],
            "channels": [
                _channel(GENERAL, "general"),
                _channel(STAFF, "staff", _overwrite(GUILD, deny=VIEW), _overwrite(MODS, allow=VIEW)),
                _channel(ADULT, "adult", nsfw=True),
                _channel(LOUNGE, "lounge", _overwrite(GUILD, deny=CONNECT), kind="voice"),
                _channel(TICKER, "ticker", _overwrite(GUILD, deny=HISTORY)),
                _thread(OPEN_THREAD, GENERAL),
                _thread(STAFF_THREAD, STAFF),
                _thread(SECRET, GENERAL, private=True, members=["13"]),
                _thread(ADULT_THREAD, ADULT),
            ],
        }
    )


def reads(guild: GuildView, member: MemberView, asked_in: int | None = GENERAL) -> frozenset[int]:
    """Return the ids in a reader's scope."""
    return reader_scope(guild, member, asked_in).channel_ids


def test_a_member_reads_open_channels_and_their_threads(guild: GuildView) -> None:
    assert reads(guild, ANN) == {GENERAL, OPEN_THREAD}


def test_a_role_opens_a_hidden_channel_and_its_threads_and_manage_threads_the_private_ones(
    guild: GuildView,
) -> None:
    assert reads(guild, BEN) == {GENERAL, OPEN_THREAD, STAFF, STAFF_THREAD, SECRET}


def test_a_private_thread_is_read_by_its_members_only_while_they_see_its_parent(guild: GuildView) -> None:
    dora = MemberView(13, "Dora")
    assert SECRET in reads(guild, dora)
    hidden = replace(guild.by_id[GENERAL], overwrites=guild.by_id[STAFF].overwrites)
    moved = replace(guild, channels=tuple(hidden if c.id == GENERAL else c for c in guild.channels))
    assert SECRET not in reads(moved, dora)


def test_age_restricted_channels_and_their_threads_show_only_inside_age_restricted_ones(guild: GuildView) -> None:
    adult = {ADULT, ADULT_THREAD}
    for asked_in in (GENERAL, None, 999_999):
        assert not adult & reads(guild, OWNER_MEMBER, asked_in)
    for asked_in in (ADULT, ADULT_THREAD):
        assert adult <= reads(guild, ANN, asked_in)


def test_the_text_of_a_voice_channel_takes_connect(guild: GuildView) -> None:
    assert LOUNGE not in reads(guild, BEN)
    assert LOUNGE in reads(guild, OWNER_MEMBER)


def test_a_member_overwrite_has_the_last_word(guild: GuildView) -> None:
    staff = guild.by_id[STAFF]
    barred = guild_view_from_json({**_plain(guild), "channels": [_channel(STAFF, "staff", *_rules(deny=VIEW))]})
    assert can_read(guild, BEN, staff)
    assert not can_read(barred, BEN, barred.by_id[STAFF])


def _plain(guild: GuildView) -> JsonObject:
    roles = [{"id": str(r.id), "name": r.name, "permissions": str(r.permissions)} for r in guild.roles]
    return {"id": str(GUILD), "name": "Home", "owner_id": str(OWNER), "roles": roles, "members": [], "channels": []}


def _rules(deny: int) -> list[JsonObject]:
    return [_overwrite(MODS, allow=VIEW), _overwrite(BEN.id, "member", deny=deny)]


def test_a_channel_says_nothing_to_a_stranger_without_view_at_the_base(guild: GuildView) -> None:
    closed = replace(guild, roles=tuple(replace(role, permissions=0) for role in guild.roles))
    assert reads(closed, ANN) == frozenset()
    assert reader_scope(closed, ANN, GENERAL).channels == {}


def test_a_public_reply_holds_nothing_that_a_newcomer_could_not_read(guild: GuildView) -> None:
    assert audience_scope(guild, GENERAL).channel_ids == {GENERAL, OPEN_THREAD}


def test_a_reply_among_staff_may_hold_staff_talk_but_no_private_thread(guild: GuildView) -> None:
    assert audience_scope(guild, STAFF).channel_ids == {GENERAL, OPEN_THREAD, STAFF, STAFF_THREAD}


def test_a_reply_in_a_private_thread_may_hold_that_thread(guild: GuildView) -> None:
    assert audience_scope(guild, SECRET).channel_ids == {GENERAL, OPEN_THREAD, SECRET}


def test_a_reply_where_history_is_hidden_does_not_repeat_that_history(guild: GuildView) -> None:
    assert TICKER not in audience_scope(guild, TICKER).channel_ids
    assert GENERAL in audience_scope(guild, TICKER).channel_ids


def test_one_barred_person_keeps_a_channel_out_of_replies_that_they_could_see(guild: GuildView) -> None:
    barred = replace(guild.by_id[STAFF], id=105, name="memes", overwrites=_barred())
    wider = replace(guild, channels=(*guild.channels, barred))
    assert 105 in reader_scope(wider, ANN, GENERAL).channel_ids
    assert 105 not in audience_scope(wider, GENERAL).channel_ids


def _barred() -> tuple[OverwriteView, ...]:
    data = {"id": "1", "name": "", "owner_id": "1", "roles": [], "members": []}
    rules = [_overwrite(12, "member", deny=VIEW)]
    return guild_view_from_json({**data, "channels": [_channel(1, "x", *rules)]}).channels[0].overwrites


def test_age_restricted_talk_stays_out_of_replies_elsewhere(guild: GuildView) -> None:
    assert ADULT not in audience_scope(guild, GENERAL).channel_ids
    assert {ADULT, ADULT_THREAD, GENERAL} <= audience_scope(guild, ADULT).channel_ids


def test_a_destination_that_is_gone_has_no_audience(guild: GuildView) -> None:
    orphan = replace(guild.by_id[OPEN_THREAD], id=300, parent_id=12345)
    assert audience_scope(guild, 999).channels == {}
    assert audience_scope(replace(guild, channels=(*guild.channels, orphan)), 300).channels == {}


def test_remembered_threads_follow_their_parent_and_private_ones_open_to_members(guild: GuildView) -> None:
    known = [
        ChannelInfo(ARCHIVED, GUILD, "old plans", "thread", GENERAL),
        ChannelInfo(211, GUILD, "old secret", "thread", GENERAL, private=True),
        ChannelInfo(212, GUILD, "orphan", "thread", 55),
        ChannelInfo(213, GUILD, "deleted channel", "text"),
        ChannelInfo(214, 77, "another guild", "thread", GENERAL),
    ]
    wider = guild.with_known(known)
    assert reads(wider, ANN) == {GENERAL, OPEN_THREAD, ARCHIVED}
    assert reads(wider, BEN) - reads(guild, BEN) == {ARCHIVED, 211}
    joined = wider.with_thread_member(ANN.id, frozenset({211}))
    assert reads(joined, ANN) == {GENERAL, OPEN_THREAD, ARCHIVED, 211}


def test_a_member_who_left_a_private_thread_no_longer_reads_it(guild: GuildView) -> None:
    assert SECRET not in reads(guild.with_thread_member(13, frozenset()), MemberView(13, "Dora"))


def test_a_direct_message_covers_each_shared_guild_and_nothing_age_restricted(guild: GuildView) -> None:
    other = replace(guild, id=9, roles=(replace(guild.roles[0], id=9),), channels=guild.channels[:3])
    scope = direct_scope([(guild, BEN), (other, ANN)])
    assert scope.channels[GUILD] == {GENERAL, OPEN_THREAD, STAFF, STAFF_THREAD, SECRET}
    assert scope.channels[9] == {GENERAL, STAFF}


@pytest.mark.parametrize("broken", [{"roles": [{"id": "x", "name": "r", "permissions": "0"}]}, {"channels": None}])
def test_a_snapshot_that_cannot_be_read_is_refused(guild: GuildView, broken: JsonObject) -> None:
    with pytest.raises((ValueError, TypeError)):
        guild_view_from_json({**_plain(guild), **broken})
    with pytest.raises(ValueError, match="kind"):
        guild_view_from_json({**_plain(guild), "channels": [_channel(1, "x", kind="category")]})


def test_a_guest_reads_the_voice_channel_where_they_ask_and_nothing_else(guild: GuildView) -> None:
    lounge = ChannelView(900, "guests", "voice", overwrites=(OverwriteView(guild.id, "role", CONNECT, 0),))
    hosting = replace(guild, channels=(*guild.channels, lounge))
    guest, member = MemberView(77, guest=True), MemberView(77)
    assert len(reader_scope(hosting, member, lounge.id).channel_ids) > 1
    assert reader_scope(hosting, guest, lounge.id).channel_ids == {lounge.id}
    for asked_in in (None, *(c.id for c in guild.channels if c.kind != "voice")):
        assert reader_scope(hosting, guest, asked_in).channel_ids == frozenset()
    assert threads_to_ask_about(hosting, guest) == frozenset()
    assert audience_scope(hosting, lounge.id).channel_ids == {lounge.id}
