"""``python bot.py recall``: a search from the shell, as the operator or as one member."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

from cogs.commands.around import AroundAnswer, around
from cogs.commands.asker import Asker
from cogs.commands.lookups import member_named, one_guild
from cogs.commands.recall import RecallAnswer, RecallCommand, recall, understand
from cogs.memory.access.guild_view_files import load_guild_views
from cogs.memory.access.permissions import GuildView, reader_scope
from cogs.memory.errors import BadRequest
from cogs.memory.records import ChannelInfo, Scope
from cogs.shell.clock import local_now
from cogs.shell.memory_folder import remembering

if TYPE_CHECKING:
    from cogs.memory.service import MemoryService
    from config.settings import Settings

OPERATOR = 0


async def recall_command(
    settings: Settings,
    command: RecallCommand,
    guild: int | None,
    as_user: str | None,
    hit: int | None,
    as_json: bool,
) -> int:
    """Search and print; nothing is written, so it works beside a running bot.

    Args:
        settings: The settings, with the folder that is searched.
        command: What to look for.
        guild: The server's id; needed where several are remembered.
        as_user: The member whose rights apply, by name or id; ``None`` for the operator, who reads every channel.
        hit: Show the talk around this hit, counted from 1, instead of the hits.
        as_json: Print one JSON object instead of text.

    Raises:
        BadRequest: what was asked cannot be understood; nothing was opened where that is clear from the words alone.
    """
    now = local_now()
    understand(command, now, now.tzinfo or dt.UTC)
    from cogs.memory.service import MemoryService

    settings = await remembering(settings)
    service = await MemoryService.open(settings, exclusive=False)
    try:
        await service.start(ingest=False)
        asker = await _asker(service, settings, guild, as_user, now)
        answer: RecallAnswer | AroundAnswer = await recall(service, asker, command)
        if hit is not None:
            answer = await around(service, asker, _hit(answer, hit))
        print(json.dumps(answer.as_json(), ensure_ascii=False) if as_json else answer.as_text())
    finally:
        await service.close()
    return 0


def _hit(answer: RecallAnswer | AroundAnswer, number: int) -> int:
    hits = answer.result.hits if isinstance(answer, RecallAnswer) else ()
    if number > len(hits):
        raise BadRequest(f"There are {len(hits)} hits; --around {number} names none of them.")
    return hits[number - 1].message.id


async def _asker(
    service: MemoryService, settings: Settings, guild: int | None, as_user: str | None, now: dt.datetime
) -> Asker:
    """Return who asks: the operator, who reads every channel, or one member."""
    guild_id = one_guild(guild, await service.guild_ids())
    channels = await service.channels(guild_id)
    if as_user is not None:
        return _member(load_guild_views(settings.data_dir).get(guild_id), as_user, channels, now)
    return Asker(
        OPERATOR, now, Scope.of(guild_id, [channel.id for channel in channels]), guild_id, zone=now.tzinfo or dt.UTC
    )


def _member(view: GuildView | None, wanted: str, channels: list[ChannelInfo], now: dt.datetime) -> Asker:
    if view is None:
        raise BadRequest(
            "--as-user needs the server's permissions, which only the running bot knows; "
            "for an import, put a guild.json beside the export."
        )
    member = member_named(view, wanted)
    scope = reader_scope(view.with_known(channels), member, None)
    return Asker(member.id, now, scope, view.id, zone=now.tzinfo or dt.UTC)
