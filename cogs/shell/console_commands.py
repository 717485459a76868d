"""The console's commands: each does what its namesake in Discord does, through the same door."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from cogs.chat.service import ChatService
from cogs.commands import administration, own_words
from cogs.commands.administration import ForgetCommand, LabelCommand, RetentionCommand
from cogs.commands.around import STEP, AroundAnswer, around
from cogs.commands.asker import Asker, managed_guild, may_manage
from cogs.commands.catch_up import CatchUpCommand, catch_up
from cogs.commands.lookups import member_named, one_channel, visible_channels
from cogs.commands.options import options_of, read_options
from cogs.commands.own_words import OwnWords
from cogs.commands.recall import RecallAnswer, RecallCommand, recall, similar
from cogs.memory.access.permissions import GuildView, audience_scope, direct_scope, reader_scope
from cogs.memory.errors import BadRequest
from cogs.memory.records import IncomingMessage, Scope
from cogs.memory.service import MemoryService
from cogs.shell.clock import local_now

Command = TypeVar("Command")
OPTION_OF = {"from": "author", "in": "channel"}
_DISCORDS = re.compile(r'(?:^|(?<=\s))(from|in):("[^"]{1,100}"|\S{1,100})(?=\s|$)')
DISCORD_EPOCH_MS = 1_420_070_400_000
LINE_CHARACTERS = 4_000
"""What Discord lets a member write in one message, and a little more than a line can need."""
MEMORY_USAGE = (
    "Say /memory status, profile list, profile use NAME, channels list, retention DAYS, forget … or labels …."
)


def help_text() -> str:
    """Return what ``/help`` prints; the options of ``/recall`` are those that it has."""
    options = " ".join(f"[{name}:]" for name, rules in options_of(RecallCommand).items() if not rules.positional)
    return f"""\
/recall QUERY {options}
                      find what was said
/similar N            what says something like hit N of the last result
/catchup [SINCE] [channel:]   what was talked about since then, or since you last wrote
/around N             the talk around hit N; /earlier and /later show more of it
/as NAME              speak as another member          /members   who is there
/in CHANNEL           go to a channel, /in dm for a direct message
/memory status · profile list · profile use NAME · channels list|include|exclude NAME · retention DAYS
        forget channel:|author:|message: · labels list|add|remove            (for those who manage the server)
/privacy show · opt-out · opt-in · export · forget-me [where:here|everywhere]
/quit                 or the end of the input
Anything else is said in the channel, and Mneme answers."""


class ConsoleCommands:
    """Where the terminal's person stands: who they are, in which channel, what they saw last."""

    def __init__(self, service: MemoryService, chat: ChatService, view: GuildView) -> None:
        self._service = service
        self._chat = chat
        self._view = view
        self._member = view.members[0]
        self._channel_id: int | None = None
        self._last: RecallAnswer | None = None
        self._talk: AroundAnswer | None = None
        self._last_id = 0
        self._enter_first_channel()

    # -- where one stands ----------------------------------------------------------------------------------

    def greeting(self) -> str:
        """Return the first lines that a person reads."""
        others = ", ".join(member.name for member in self._view.members)
        return (
            f"{self._view.name}: you are {self._member.name}. Members: {others}.\n"
            "Ask something, or try /recall where does Nadia live, /as NAME, /help."
        )

    def prompt(self) -> str:
        """Return who and where, as the prompt shows it."""
        return f"{self._member.name} {self._place()}> "

    def _place(self) -> str:
        channel = self._view.by_id.get(self._channel_id) if self._channel_id is not None else None
        return f"#{channel.name}" if channel is not None else "(direct message)"

    def _enter_first_channel(self) -> None:
        readable = self._readable().channel_ids
        texts = [c.id for c in self._view.channels if c.id in readable and c.kind == "text"]
        self._channel_id = texts[0] if texts else None

    def _readable(self) -> Scope:
        if self._is_operator():
            return Scope.of(self._view.id, [channel.id for channel in self._view.channels])
        return reader_scope(self._view, self._member, self._channel_id)

    def _audience(self) -> Scope:
        """Return what everybody who sees the reply may read."""
        if self._is_operator():
            return self._readable()
        if self._channel_id is None:
            return direct_scope([(self._view, self._member)])
        return audience_scope(self._view, self._channel_id)

    def _is_operator(self) -> bool:
        return self._member.id == 0

    def _asker(self) -> Asker:
        """Return the person of the terminal as the commands know them."""
        bits = 0
        for role in (self._view.id, *self._member.role_ids):
            bits |= self._view.role_bits.get(role, 0)
        manages = self._is_operator() or self._member.id == self._view.owner_id or may_manage(bits)
        now = local_now()
        return Asker(self._member.id, now, self._readable(), self._view.id, manages, now.tzinfo or dt.UTC)

    # -- dispatch ------------------------------------------------------------------------------------------

    async def handle(self, line: str) -> AsyncIterator[str]:
        """Yield what the answer to one line prints.

        Raises:
            MnemeError: what was typed cannot be done; the sentence says why.
        """
        if not line.isascii() and any("\ud800" <= character <= "\udfff" for character in line):
            raise BadRequest("This line holds bytes that are no UTF-8 text; type it again.")
        if len(line) > LINE_CHARACTERS:
            raise BadRequest(f"The line has {len(line):,} characters; shorten it to {LINE_CHARACTERS:,} or fewer.")
        if not line.startswith("/"):
            async for text in self._say(line):
                yield text
            return
        name, _, rest = line[1:].partition(" ")
        actions = {
            "help": self._help,
            "recall": self._recall,
            "similar": self._similar,
            "around": self._around,
            "catchup": self._catch_up,
            "earlier": self._earlier,
            "later": self._later,
            "as": self._as,
            "in": self._in,
            "members": self._members,
            "memory": self._memory,
            "privacy": self._privacy,
        }
        if name not in actions:
            raise BadRequest(f"There is no command /{name[:40]}; /help shows them.")
        yield await actions[name](rest.strip())

    async def _help(self, _: str) -> str:
        return help_text()

    async def _members(self, _: str) -> str:
        roles = {role.id: role.name for role in self._view.roles}
        return "\n".join(
            f"{member.name}: {', '.join(sorted(roles[r] for r in member.role_ids if r in roles)) or 'no role'}"
            for member in self._view.members
        )

    async def _as(self, wanted: str) -> str:
        member = member_named(self._view, wanted)
        self._member = member
        if self._channel_id not in self._readable().channel_ids:
            self._enter_first_channel()
        names = [c.name for c in await visible_channels(self._service, self._readable())]
        return (
            f"You are {member.name} in {self._place()} and can read {', '.join(f'#{n}' for n in names) or 'nothing'}."
        )

    async def _in(self, wanted: str) -> str:
        if wanted.casefold() in ("dm", "direct"):
            self._channel_id = None
        else:
            self._channel_id = one_channel(wanted, await visible_channels(self._service, self._readable())).id
        return f"You are in {self._place()}."

    # -- asking --------------------------------------------------------------------------------------------

    async def _recall(self, text: str) -> str:
        self._last = await recall(self._service, self._asker(), read_line(RecallCommand, as_options(text)))
        return self._last.as_text()

    async def _similar(self, text: str) -> str:
        self._last = await similar(self._service, self._asker(), self._numbered(text, "similar"))
        return self._last.as_text()

    def _numbered(self, text: str, command: str) -> int:
        """Return the id of a hit of the last result by its number.

        Raises:
            BadRequest: there is no such hit.
        """
        hits = () if self._last is None else self._last.result.hits
        numbers = [str(number) for number in range(1, len(hits) + 1)]
        if text not in numbers:
            raise BadRequest(
                f"Name a hit of the last result: /{command} 1 to /{command} {len(hits)}."
                if hits
                else f"Search first: /{command} N is about hit N of the last result."
            )
        return hits[numbers.index(text)].message.id

    async def _around(self, text: str) -> str:
        self._talk = await around(self._service, self._asker(), self._numbered(text, "around"))
        return self._talk.as_text() + _further(self._talk)

    async def _catch_up(self, text: str) -> str:
        return (await catch_up(self._service, self._asker(), read_line(CatchUpCommand, text))).as_text()

    async def _earlier(self, _: str) -> str:
        return await self._more(before=STEP)

    async def _later(self, _: str) -> str:
        return await self._more(after=STEP)

    async def _more(self, before: int = 0, after: int = 0) -> str:
        talk = self._talk
        if talk is None:
            raise BadRequest("Look around a hit first: /around 1.")
        shown = talk.conversation.message.id
        self._talk = await around(self._service, self._asker(), shown, talk.before + before, talk.after + after)
        return self._talk.as_text() + _further(self._talk)

    async def _say(self, text: str) -> AsyncIterator[str]:
        """Remember a message as Discord's would be, and answer it for everybody who can see the channel."""
        said = await self._remember(text)
        final = None
        updates = self._chat.reply(
            text, self._audience(), asker=self._member.name, exclude_ids=frozenset({said} if said else ())
        )
        async for update in updates:
            final = update if update.final else final
        assert final is not None
        yield final.plain
        if final.notice and not final.extractive:
            yield final.notice

    async def _remember(self, text: str) -> int | None:
        if self._channel_id is None or self._is_operator():
            return None  # direct messages are not remembered
        now = dt.datetime.now(dt.UTC)
        self._last_id = max(self._last_id + 1, (int(now.timestamp() * 1000) - DISCORD_EPOCH_MS) << 22)
        message = IncomingMessage(
            self._last_id, self._view.id, self._channel_id, self._member.id, self._member.name, text, now
        )
        await self._service.remember([message])
        return message.id

    # -- looking after the memory --------------------------------------------------------------------------

    async def _memory(self, text: str) -> str:
        service, asker = self._service, self._asker()
        managed_guild(asker)
        area, _, rest = text.partition(" ")
        action, _, named = rest.strip().partition(" ")
        if area == "status":
            return await administration.status(service, asker)
        if area == "profile" and action == "list":
            return await administration.profiles(service, asker)
        if area == "profile" and action == "use":
            return await administration.use_profile(service, asker, _value(named, "name"), _show_progress)
        if area == "retention":
            return await administration.retention(service, asker, read_line(RetentionCommand, rest, first="days"))
        if area == "forget":
            return await (await administration.forget(service, asker, read_line(ForgetCommand, rest))).erase()
        if area == "channels":
            return await self._channels(asker, action, _value(named, "channel"))
        if area == "labels":
            return await self._labels(asker, action, named)
        if area == "backfill":
            raise BadRequest("There is no Discord to read from here; `python bot.py import FILE…` brings in the past.")
        raise BadRequest(MEMORY_USAGE)

    async def _channels(self, asker: Asker, action: str, name: str) -> str:
        if action == "list":
            return await administration.channels(self._service, asker)
        if action == "include":
            return (await administration.include_channel(self._service, asker, name))[1]
        if action == "exclude":
            return await administration.exclude_channel(self._service, asker, name)
        raise BadRequest("Say /memory channels list, include NAME or exclude NAME.")

    async def _labels(self, asker: Asker, action: str, rest: str) -> str:
        if action == "list":
            return await administration.labels(self._service, asker)
        if action == "add":
            label = await administration.add_label(self._service, asker, read_line(LabelCommand, rest))
            return f"{label.question}\n{await label.erase()}"
        if action == "remove":
            return await administration.remove_label(self._service, asker, read_line(LabelCommand, rest, first="name"))
        raise BadRequest("Say /memory labels list, add name:… description:…, or remove name:….")

    # -- one's own words -----------------------------------------------------------------------------------

    async def _privacy(self, text: str) -> str:
        service, asker = self._service, self._asker()
        action, _, rest = text.partition(" ")
        command = read_line(OwnWords, rest, first="where")
        answers: dict[str, Callable[[MemoryService, Asker, OwnWords], Awaitable[str]]] = {
            "": own_words.show,
            "show": own_words.show,
            "opt-out": own_words.opt_out,
            "opt-in": own_words.opt_in,
        }
        if action in answers:
            return await answers[action](service, asker, command)
        if action == "export":
            return json.dumps(await own_words.export(service, asker, command), ensure_ascii=False, indent=1)
        if action == "forget-me":
            return await (await own_words.forget_me(service, asker, command)).erase()
        raise BadRequest("Say /privacy show, opt-out, opt-in, export or forget-me.")


def as_options(text: str) -> str:
    """Return a line with the filters of Discord's own search, ``from:`` and ``in:``, as the options that they are.

    Their values are one word, or stand in quotation marks; what else was typed keeps its order.
    """
    taken = [f"{OPTION_OF[found[1]]}:{found[2]}" for found in _DISCORDS.finditer(text)]
    return " ".join([_DISCORDS.sub(" ", text).strip(), *taken]).strip()


def read_line(command: type[Command], text: str, *, first: str | None = None) -> Command:
    """Return a command that was typed on one line: ``where is it author:Ann Lee limit:3``.

    An option's value reaches to the next option; quotation marks around it are left out. The words before the first
    option are the command's positional option, or the one named ``first``.

    Raises:
        BadRequest: an option cannot be understood, was given twice, or there are words that belong to none.
    """
    options = options_of(command)
    first = first or next((name for name, rules in options.items() if rules.positional), None)
    found = list(re.finditer(rf"(?:^|(?<=\s))({'|'.join(options)}):", text))
    given: dict[str, Any] = {}
    words = (text[: found[0].start()] if found else text).strip()
    if words and first is None:
        raise BadRequest(f"Say {', '.join(f'{name}:…' for name in options)}.")
    if words and first is not None:
        given[first] = words
    for place, match in enumerate(found):
        name = match[1]
        end = found[place + 1].start() if place + 1 < len(found) else len(text)
        value = text[match.end() : end].strip().strip('"“”')
        if options[name].repeated:
            given.setdefault(name, []).append(value)
        elif name in given:
            raise BadRequest(f"Say {name} once.")
        else:
            given[name] = value
    return read_options(command, given)


def _further(talk: AroundAnswer) -> str:
    ways = [
        name for name, there in (("/earlier", talk.conversation.earlier), ("/later", talk.conversation.later)) if there
    ]
    return f"\n({' and '.join(ways)} for more)" if ways else ""


def _value(text: str, option: str) -> str:
    return text.removeprefix(f"{option}:").strip()


async def _show_progress(step: str, share: float) -> None:
    print(f"{step} … {share:.0%}", flush=True)
