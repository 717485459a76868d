"""No surface of the real memory shows what discord.py says a person may not read, on random guilds.

A case is one decision: a surface (recall, similar, reply, autocomplete, a page turned later, reach, lists,
around, share), a person, and one
stored message. ``MNEME_SCOPE_CASES`` sets how many are made.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from cogs.chat.service import ChatService
from cogs.commands.share import shared
from cogs.memory.access.permissions import GuildView, MemberView, audience_scope, guild_view_from_json, reader_scope
from cogs.memory.errors import BadRequest
from cogs.memory.records import ChannelInfo, Filters, IncomingMessage, RecallRequest, Scope
from cogs.memory.service import MemoryService
from cogs.memory.storage import keyword_index as repository_keywords
from tests.memory.building import START, running_service
from tests.memory.guilds import GUILD_ID, Oracle, random_guild

CASES = int(os.environ.get("MNEME_SCOPE_CASES", "20000"))
ELSEWHERE = 7777
CHANNELS = [3000 + n for n in range(6)] + [4000 + n for n in range(3)]
EACH = 3
STORED = {channel: [channel * 10 + n for n in range(EACH)] for channel in (*CHANNELS, ELSEWHERE)}
CHANNEL_OF = {message: channel for channel, messages in STORED.items() for message in messages}


async def fill(service: MemoryService) -> None:
    """Remember a few alike messages in every channel that a random guild can have, and in another guild."""
    for guild, channels in ((GUILD_ID, CHANNELS), (ELSEWHERE, [ELSEWHERE])):
        await service.upsert_guild(guild, "guild")
        await service.upsert_channels([ChannelInfo(channel, guild, f"channel-{channel}") for channel in channels])
        await service.remember(
            [
                # Every channel has an author of its own, so that an author's name gives its channel away.
                IncomingMessage(i, guild, channel, channel, f"author {channel}", f"the lantern {i} burns", START)
                for channel in channels
                for i in STORED[channel]
            ]
        )
    await service.drain()


class Surfaces:
    """Every way in which the memory shows something, and what each has shown."""

    def __init__(self, service: MemoryService) -> None:
        self.service = service
        self.chat = ChatService(service, None, limit=40)

    async def check(self, rng: random.Random) -> int:
        """Ask as one member of a random guild; return the number of decisions."""
        json = random_guild(rng)
        view, oracle = guild_view_from_json(json), Oracle(json)
        place = rng.randrange(len(view.members))
        member, real = view.members[place], oracle.members[place]
        asked_in = rng.choice([None, *(channel.id for channel in view.channels)])
        inside = asked_in is not None and oracle.age_restricted(asked_in)
        may = {
            channel.id
            for channel in view.channels
            if oracle.reads(real, channel.id) and (inside or not oracle.age_restricted(channel.id))
        }
        readable = {message for channel in may for message in STORED[channel]}
        scope = reader_scope(view, member, asked_in)

        found = await self.service.recall(RecallRequest("which lantern burns", scope, limit=50))
        hits = [hit.message.id for hit in found.hits]
        assert set(hits) == readable, (json, member, asked_in)
        reach = await self.service.reach(scope)
        assert (reach.messages, reach.channels) == (len(readable), len(may)), (json, member)
        assert {author for author, _ in await self.service.authors(scope, "author", 25)} == may, (json, member)
        if readable:
            one = rng.choice(sorted(readable))
            alike = await self.service.similar(one, scope, limit=50)
            assert {hit.message.id for hit in alike.hits} == readable - {one}, (json, member)
        listed = await self.service.browsing.listed(scope, Filters(), rng.choice(["newest", "oldest"]), 50)
        assert {hit.message.id for hit in listed.hits} == readable, (json, member)
        await self._around(rng.choice(sorted(CHANNEL_OF)), scope, readable)
        later = await self._page_after_a_change(rng, hits, member)
        replied = await self._reply(rng, view, oracle, asked_in)
        return len(CHANNEL_OF) * (6 + later + replied)

    async def _around(self, message: int, scope: Scope, readable: set[int]) -> None:
        """Look around any message there is: one that may not be read is answered as if it did not exist."""
        if message not in readable:
            with pytest.raises(BadRequest, match="not in the memory"):
                await self.service.browsing.around(message, scope, 5, 5)
            return
        talk = await self.service.browsing.around(message, scope, 5, 5)
        shown = {turn.id for turn in (*talk.turns, *talk.answered_by)}
        assert shown == set(STORED[CHANNEL_OF[message]]), (message, scope)

    async def _page_after_a_change(self, rng: random.Random, hits: list[int], member: MemberView) -> int:
        """Turn a page after every permission has changed; what was on the first page helps nobody."""
        json = random_guild(rng)
        view, oracle = guild_view_from_json(json), Oracle(json)
        now = next((m for m in view.members if m.id == member.id), None)
        if now is None:
            return 0
        real = oracle.members[view.members.index(now)]
        shown = await self.service.messages(hits, reader_scope(view, now, None))
        for message in shown:
            assert oracle.reads(real, message.channel_id), (json, member, message)
            assert not oracle.age_restricted(message.channel_id), (json, member, message)
        return 1

    async def _reply(self, rng: random.Random, view: GuildView, oracle: Oracle, asked_in: int | None) -> int:
        """Let the bot reply in a channel, and ask for each member there whether they may read what it quotes."""
        if asked_in is None:
            return 0
        scope = audience_scope(view, asked_in)
        updates = [update async for update in self.chat.reply("which lantern burns?", scope)]
        readers = [person for person in oracle.members if oracle.reads(person, asked_in)]
        one = rng.choice(sorted(CHANNEL_OF))
        for_all = one in {i for channel in scope.channel_ids for i in STORED.get(channel, ())}
        assert not for_all or all(oracle.reads(person, CHANNEL_OF[one]) for person in readers), oracle.json
        if for_all:
            assert "lantern" in await shared(self.service, scope, one, "Somebody")
        else:
            with pytest.raises(BadRequest, match="do not post"):
                await shared(self.service, scope, one, "Somebody")
        result = updates[-1].result
        assert result is not None
        for hit in result.hits:
            for person in readers:
                assert oracle.reads(person, hit.message.channel_id), (oracle.json, asked_in, person.id)
            assert oracle.age_restricted(asked_in) or not oracle.age_restricted(hit.message.channel_id)
        return max(1, len(readers))


@pytest.mark.parametrize(
    ("cases_wanted", "matches", "places"),
    [
        pytest.param(CASES, 5_000, 16, id="few matches"),
        pytest.param(CASES // 5, 0, 16, id="many matches, channels in the index"),
        pytest.param(CASES // 5, 0, 0, id="many matches, each looked up"),
    ],
)
async def test_no_surface_shows_what_a_person_may_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cases_wanted: int, matches: int, places: int
) -> None:
    monkeypatch.setattr(repository_keywords, "MATCHES_AT_MOST", matches)
    monkeypatch.setattr(repository_keywords, "PLACES_AT_MOST", places)
    async with running_service(tmp_path) as service:
        await fill(service)
        surfaces = Surfaces(service)
        cases, seed = 0, 0
        while cases < cases_wanted:
            cases += await surfaces.check(random.Random(seed))
            seed += 1
        assert seed > 10


async def test_no_guild_shows_into_another(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await fill(service)
        for scope in (
            Scope({GUILD_ID: frozenset([ELSEWHERE])}),
            Scope({ELSEWHERE: frozenset(CHANNELS)}),
            Scope({}),
        ):
            found = await service.recall(RecallRequest("which lantern burns", scope, limit=50))
            assert found.hits == ()
            assert (await service.authors(scope, "author")) == []
            assert await service.messages(list(CHANNEL_OF), scope) == []
