"""``python bot.py recall``: a search from the shell, as the operator or as one member."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass

from cogs.memory import presentation
from cogs.memory.access import GuildSnapshot, MemberView, reader_scope
from cogs.memory.cli import one_guild
from cogs.memory.errors import BadRequest
from cogs.memory.records import ChannelInfo, Filters, JsonObject, RecallRequest, RecallResult, Scope
from cogs.memory.service import MemoryService
from cogs.memory.snapshots import load_snapshots
from cogs.memory.when import parse_when
from config.settings import Settings


@dataclass(frozen=True, slots=True)
class RecallOptions:
    """What was said on the command line."""

    query: str
    guild: int | None
    channels: tuple[str, ...]
    as_user: str | None
    author: str | None
    before: str | None
    after: str | None
    limit: int
    as_json: bool


async def recall_command(settings: Settings, options: RecallOptions) -> int:
    """Search and print; nothing is written, so it works beside a running bot."""
    service = await MemoryService.open(settings, exclusive=False)
    try:
        await service.start(ingest=False)
        result = await _recall(service, settings, options)
        print(json.dumps(as_json(result), ensure_ascii=False) if options.as_json else presentation.as_text(result))
    finally:
        await service.close()
    return 0


async def _recall(service: MemoryService, settings: Settings, options: RecallOptions) -> RecallResult:
    guild_id = one_guild(options.guild, await service.guild_ids())
    channels = await service.channels(guild_id)
    scope = Scope.of(guild_id, [channel.id for channel in channels])
    if options.as_user is not None:
        scope = _scope_of_member(load_snapshots(settings.data_dir).get(guild_id), options.as_user, channels)
    if options.channels:
        scope = scope.narrowed(_named(channels, scope, options.channels))
    now = dt.datetime.now(dt.UTC)
    filters = Filters(
        author_ids=None if options.author is None else await _authors(service, scope, options.author),
        after=None if options.after is None else parse_when(options.after, now),
        before=None if options.before is None else parse_when(options.before, now),
    )
    return await service.recall(RecallRequest(options.query, scope, filters, limit=options.limit))


def _scope_of_member(snapshot: GuildSnapshot | None, wanted: str, channels: list[ChannelInfo]) -> Scope:
    if snapshot is None:
        raise BadRequest(
            "--as-user needs the server's permissions, which only the running bot knows; "
            "for an import, put a guild.json beside the export."
        )
    return reader_scope(snapshot.with_known(channels), member_named(snapshot, wanted), None)


def member_named(snapshot: GuildSnapshot, wanted: str) -> MemberView:
    """Return a member by id or name.

    Raises:
        BadRequest: nobody is called that.
    """
    for member in snapshot.members:
        if wanted in (str(member.id), member.name) or wanted.casefold() == member.name.casefold():
            return member
    raise BadRequest(f"There is no member {wanted!r}; choose one of {', '.join(m.name for m in snapshot.members)}.")


def _named(channels: list[ChannelInfo], scope: Scope, wanted: tuple[str, ...]) -> frozenset[int]:
    found = set()
    for name in wanted:
        key = name.lstrip("#").casefold()
        matches = {c.id for c in channels if key in (str(c.id), c.name.casefold())} & scope.channel_ids
        if not matches:
            # One that the reader cannot see is answered as if it did not exist.
            raise BadRequest(f"There is no channel {name!r}.")
        found |= matches
    return frozenset(found)


async def _authors(service: MemoryService, scope: Scope, wanted: str) -> frozenset[int]:
    people = await service.authors(scope, "" if wanted.isdigit() else wanted, 200)
    exact = {i for i, name in people if wanted in (str(i), name) or name.casefold() == wanted.casefold()}
    found = exact or {i for i, _ in people if not wanted.isdigit()}
    if not found:
        raise BadRequest(f"Nobody called {wanted!r} is remembered here.")
    return frozenset(found)


def as_json(result: RecallResult) -> JsonObject:
    """Return a result as the shell prints it: ids as strings, times ISO 8601."""
    return {
        "profile": result.profile,
        "reranker": result.reranker,
        "degraded": result.degraded,
        "reach": {
            "messages": result.reach.messages,
            "channels": result.reach.channels,
            "since": None if result.reach.since is None else result.reach.since.isoformat(),
        },
        "seconds": {stage: round(value, 6) for stage, value in result.seconds.items()},
        "hits": [
            {
                "id": str(hit.message.id),
                "guild_id": str(hit.message.guild_id),
                "channel_id": str(hit.message.channel_id),
                "channel": hit.message.channel_name,
                "author_id": str(hit.message.author_id),
                "author": hit.message.author_name,
                "timestamp": hit.message.created_at.isoformat(),
                "content": hit.message.content,
                "jump_url": hit.message.jump_url,
                "fused_score": hit.fused_score,
                "rerank_score": hit.rerank_score,
                "evidence": hit.evidence,
            }
            for hit in result.hits
        ],
    }
