"""``python bot.py recall``: a search from the shell, as the operator or as one member."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass

from cogs.commands.options import _authors, _named, member_named
from cogs.memory.access.permissions import GuildSnapshot, reader_scope
from cogs.memory.access.snapshot_files import load_snapshots
from cogs.memory.errors import BadRequest
from cogs.memory.recall.dates import parse_when
from cogs.memory.records import ChannelInfo, Filters, JsonObject, RecallRequest, RecallResult, Scope
from cogs.memory.service import MemoryService
from cogs.memory.text import presentation
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


def one_guild(wanted: int | None, known: list[int]) -> int:
    """Return the server to search.

    Raises:
        BadRequest: there is none, the wanted one is not remembered, or it must be named.
    """
    if not known:
        raise BadRequest("Nothing is remembered yet; import an export or run the bot first.")
    if wanted is None:
        if len(known) > 1:
            raise BadRequest(f"Several servers are remembered; name one with --guild: {', '.join(map(str, known))}.")
        return known[0]
    if wanted not in known:
        raise BadRequest(f"The server {wanted} is not remembered.")
    return wanted
