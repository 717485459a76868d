"""A recall looked into: every stage's order, the passage that was judged, and what a prompt would receive."""

from __future__ import annotations

from dataclasses import dataclass

from cogs.chat.prompt import build_prompt
from cogs.commands.asker import Asker
from cogs.commands.lookups import visible_channels
from cogs.commands.recall import RecallCommand, recall
from cogs.memory.records import Hit, Scope, StoredMessage
from cogs.memory.service import MemoryService
from cogs.memory.text.model_input import candidate
from cogs.memory.text.presentation import channel_label, message_text


@dataclass(frozen=True, slots=True)
class Row:
    """One hit as the page shows it. ``keyword`` and ``semantic`` are its place and score there, or a dash."""

    id: str
    author: str
    channel: str
    when: str
    link: str
    text: str
    passage: str
    keyword: str
    semantic: str
    fused: str
    rerank: str
    beside: str


@dataclass(frozen=True, slots=True)
class Looked:
    """A search with its stages; ``beside`` names the reranker that it is compared with."""

    rows: tuple[Row, ...]
    reranker: str | None
    degraded: str | None
    beside: str | None
    reach: str
    seconds: tuple[tuple[str, str], ...]
    prompt_title: str
    prompt: str


async def look(service: MemoryService, asker: Asker, command: RecallCommand, beside: str | None) -> Looked:
    """Search as the asker and return every stage.

    Raises:
        BadRequest: the command cannot be understood, or there is no such reranker here.
    """
    answer = await recall(service, asker, command, explain=True)
    result = answer.result
    wanted = [hit.message.reply_to_id for hit in result.hits if hit.message.reply_to_id is not None]
    parents = {message.id: message for message in await service.messages(wanted, asker.scope)}
    compared = await service.insight.compare(answer.query, result.hits, beside) if beside is not None else {}
    places = {
        stage: {message_id: (place, score) for place, (message_id, score) in enumerate(found, start=1)}
        for stage, found in result.stages.items()
    }
    rows = tuple(_row(hit, parents, places, compared) for hit in result.hits)
    prompt = build_prompt(answer.query, result.hits)
    return Looked(
        rows=rows,
        reranker=result.reranker,
        degraded=result.degraded,
        beside=beside,
        reach=f"{result.reach.messages:,} messages in {result.reach.channels:,} channels",
        seconds=tuple((stage, f"{value * 1000:,.1f} ms") for stage, value in result.seconds.items()),
        prompt_title=f"{len(prompt.given)} memories, about {prompt.context_tokens:,} tokens",
        prompt=prompt.context or "Nothing.",
    )


def _row(
    hit: Hit,
    parents: dict[int, StoredMessage],
    places: dict[str, dict[int, tuple[int, float]]],
    compared: dict[int, float],
) -> Row:
    message = hit.message
    parent = None if message.reply_to_id is None else parents.get(message.reply_to_id)

    def place(stage: str) -> str:
        found = places.get(stage, {}).get(message.id)
        return "–" if found is None else f"{found[0]} ({found[1]:.3f})"

    return Row(
        id=str(message.id),
        author=message.author_name,
        channel=channel_label(message).removeprefix("#"),
        when=f"{message.created_at:%Y-%m-%d %H:%M} UTC",
        link=message.jump_url,
        text=message_text(message),
        passage=str(candidate(message, parent)["rendered"]),
        keyword=place("keyword"),
        semantic=place("semantic"),
        fused=f"{hit.fused_score:.3f}",
        rerank="–" if hit.rerank_score is None else f"{hit.rerank_score:.3f}",
        beside=f"{compared[message.id]:.3f}" if message.id in compared else "–",
    )


async def remembered(service: MemoryService, scope: Scope) -> list[tuple[str, bool]]:
    """Return the names of the channels of a scope, and whether they are remembered."""
    channels = sorted(await visible_channels(service, scope), key=lambda info: info.name.casefold())
    return [
        (info.name, await service.is_remembered(info.guild_id, info.id)) for info in channels if info.kind != "thread"
    ]
