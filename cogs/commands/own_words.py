"""What ``/privacy …`` means, whoever asks: everybody's say over their own words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cogs.commands.asker import Asker, Erasure
from cogs.commands.options import option
from cogs.memory.errors import BadRequest
from cogs.memory.records import JsonObject
from cogs.memory.text.presentation import counted
from cogs.memory.text.status_lines import person_lines

if TYPE_CHECKING:
    from cogs.memory.service import MemoryService

OPERATOR = 0
FILE_BYTES = 8_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnWords:
    """The options of every ``/privacy`` command."""

    where: str = option(
        "In this server (unless you say otherwise), or everywhere",
        kind="choice",
        choices=("here", "everywhere"),
        default="here",
    )


async def show(service: MemoryService, asker: Asker, command: OwnWords) -> str:
    """Say how much of the asker's is stored."""
    summary = await service.stored_about(_person(asker), _guild(asker, command))
    return "\n".join(person_lines(summary, asker.now))


async def opt_out(service: MemoryService, asker: Asker, command: OwnWords) -> str:
    """Stop remembering the asker, and erase the past."""
    gone = await service.opt_out(_person(asker), _guild(asker, command))
    return (
        f"Done: I no longer remember what you write {_place(asker, command)}, and {_erased(gone)}. "
        f"{service.erasing} /privacy opt-in takes this back; what was erased stays erased."
    )


async def opt_in(service: MemoryService, asker: Asker, command: OwnWords) -> str:
    """Take an opt-out back."""
    user, guild_id = _person(asker), _guild(asker, command)
    await service.opt_in(user, guild_id)
    if guild_id is not None and await service.is_opted_out(user, guild_id):
        return "You have opted out everywhere; /privacy opt-in where:everywhere takes that back."
    return f"I remember what you write {_place(asker, command)} from now on."


async def export(service: MemoryService, asker: Asker, command: OwnWords) -> JsonObject:
    """Return everything of the asker's that is stored."""
    return await service.export_person(_person(asker), _guild(asker, command))


async def forget_me(service: MemoryService, asker: Asker, command: OwnWords) -> Erasure:
    """Erase the asker's past, once confirmed; what they write afterwards is remembered again."""
    user, guild_id = _person(asker), _guild(asker, command)
    stored = counted((await service.stored_about(user, guild_id)).messages, "message")

    async def erase() -> str:
        return f"Done: {_erased(await service.forget_person(user, guild_id))}."

    question = (
        f"This erases {stored} of yours {_place(asker, command)} for good. {service.erasing} "
        "To be left out from now on as well, use /privacy opt-out."
    )
    return Erasure(question, f"Erase {stored}", erase)


def export_parts(data: JsonObject, limit: int = FILE_BYTES) -> list[bytes]:
    """Return an export as JSON files of at most about ``limit`` bytes, each complete in itself."""
    messages = data.get("messages", [])
    whole = json.dumps(data, ensure_ascii=False, indent=1).encode(errors="replace")
    if len(whole) <= limit or len(messages) < 2:
        return [whole]
    middle = len(messages) // 2
    halves = ({**data, "messages": messages[:middle]}, {**data, "messages": messages[middle:]})
    return [part for half in halves for part in export_parts(half, limit)]


def _person(asker: Asker) -> int:
    if asker.user_id == OPERATOR:
        raise BadRequest("The operator wrote nothing here; this takes a server whose members are known.")
    return asker.user_id


def _guild(asker: Asker, command: OwnWords) -> int | None:
    return None if command.where == "everywhere" else asker.guild_id


def _place(asker: Asker, command: OwnWords) -> str:
    return "everywhere" if _guild(asker, command) is None else "in this server"


def _erased(count: int) -> str:
    return f"{counted(count, 'message')} of yours {'is' if count == 1 else 'are'} erased"
