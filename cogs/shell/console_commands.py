"""The console's commands: each does what its namesake in Discord does, through the same door."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import AsyncIterator

from cogs.chat.service import ChatService
from cogs.commands.options import check_range, read_date, resolve_author, resolve_channel, visible_channels
from cogs.memory.access.permissions import GuildSnapshot, MemberView, audience_scope, direct_scope, reader_scope
from cogs.memory.errors import BadRequest
from cogs.memory.records import Filters, Has, IncomingMessage, RecallRequest, RecallResult, Scope
from cogs.memory.service import MemoryService
from cogs.memory.text import presentation, status_lines

ADMINISTRATOR, MANAGE_GUILD = 1 << 3, 1 << 5
DISCORD_EPOCH_MS = 1_420_070_400_000
OPTIONS = ("query", "channel", "author", "before", "after", "has", "label", "limit", "where", "name", "description")
_OPTION = re.compile(rf"(?:^|(?<=\s))({'|'.join((*OPTIONS, 'message', 'days'))}):")
REFUSAL = "Only people who may manage this server can do that."
HELP = """\
/recall QUERY [channel:] [author:] [before:] [after:] [has:] [label:] [limit:]   find what was said
/similar N            what says something like hit N of the last result
/as NAME              speak as another member          /members   who is there
/in CHANNEL           go to a channel, /in dm for a direct message
/memory status · profile list · profile use NAME · channels list|include|exclude NAME · retention DAYS
        forget channel:|author:|message: · labels list|add|remove            (for those who manage the server)
/privacy show · opt-out · opt-in · export · forget-me
/quit                 or the end of the input
Anything else is said in the channel, and Mneme answers."""


class ConsoleCommands:
    """Where the terminal's person stands: who they are, in which channel, what they saw last."""

    def __init__(self, service: MemoryService, chat: ChatService, snapshot: GuildSnapshot) -> None:
        self._service = service
        self._chat = chat
        self._snapshot = snapshot
        self._member = snapshot.members[0]
        self._channel_id: int | None = None
        self._last: RecallResult | None = None
        self._last_id = 0
        self._enter_first_channel()

    # -- where one stands ----------------------------------------------------------------------------------

    def greeting(self) -> str:
        """Return the first lines that a person reads."""
        others = ", ".join(member.name for member in self._snapshot.members)
        return (
            f"{self._snapshot.name}: you are {self._member.name}. Members: {others}.\n"
            "Ask something, or try /recall where does Nadia live, /as NAME, /help."
        )

    def prompt(self) -> str:
        """Return who and where, as the prompt shows it."""
        return f"{self._member.name} {self._place()}> "

    def _place(self) -> str:
        channel = self._snapshot.by_id.get(self._channel_id) if self._channel_id is not None else None
        return f"#{channel.name}" if channel is not None else "(direct message)"

    def _enter_first_channel(self) -> None:
        readable = self._readable().channel_ids
        texts = [c.id for c in self._snapshot.channels if c.id in readable and c.kind == "text"]
        self._channel_id = texts[0] if texts else None

    def _readable(self) -> Scope:
        if self._is_operator():
            return Scope.of(self._snapshot.id, [channel.id for channel in self._snapshot.channels])
        return reader_scope(self._snapshot, self._member, self._channel_id)

    def _audience(self) -> Scope:
        """Return what everybody who sees the reply may read."""
        if self._is_operator():
            return self._readable()
        if self._channel_id is None:
            return direct_scope([(self._snapshot, self._member)])
        return audience_scope(self._snapshot, self._channel_id)

    def _is_operator(self) -> bool:
        return self._member.id == 0

    def _require_admin(self) -> None:
        bits = 0
        for role in (self._snapshot.id, *self._member.role_ids):
            bits |= self._snapshot.role_bits.get(role, 0)
        allowed = bits & (ADMINISTRATOR | MANAGE_GUILD) or self._member.id in (0, self._snapshot.owner_id)
        if not allowed:
            raise BadRequest(REFUSAL)

    # -- dispatch ------------------------------------------------------------------------------------------

    async def handle(self, line: str) -> AsyncIterator[str]:
        """Yield what the answer to one line prints.

        Raises:
            MnemeError: what was typed cannot be done; the sentence says why.
        """
        if not line.startswith("/"):
            async for text in self._say(line):
                yield text
            return
        name, _, rest = line[1:].partition(" ")
        actions = {
            "help": self._help,
            "recall": self._recall,
            "similar": self._similar,
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
        return HELP

    async def _members(self, _: str) -> str:
        roles = {role.id: role.name for role in self._snapshot.roles}
        return "\n".join(
            f"{member.name}: {', '.join(sorted(roles[r] for r in member.role_ids if r in roles)) or 'no role'}"
            for member in self._snapshot.members
        )

    async def _as(self, wanted: str) -> str:
        member = self._named_member(wanted)
        self._member = member
        if self._channel_id not in self._readable().channel_ids:
            self._enter_first_channel()
        names = [c.name for c in await visible_channels(self._service, self._readable())]
        return (
            f"You are {member.name} in {self._place()} and can read {', '.join(f'#{n}' for n in names) or 'nothing'}."
        )

    def _named_member(self, wanted: str) -> MemberView:
        for member in self._snapshot.members:
            if wanted in (str(member.id), member.name) or wanted.casefold() == member.name.casefold():
                return member
        names = ", ".join(member.name for member in self._snapshot.members)
        raise BadRequest(f"There is no member “{wanted[:40]}”; choose one of {names}.")

    async def _in(self, wanted: str) -> str:
        if wanted.casefold() in ("dm", "direct"):
            self._channel_id = None
        else:
            visible = await visible_channels(self._service, self._readable())
            found = resolve_channel(wanted, visible)
            self._channel_id = next(c.id for c in visible if c.id in found)
        return f"You are in {self._place()}."

    # -- asking --------------------------------------------------------------------------------------------

    async def _recall(self, text: str) -> str:
        query, options = parse_options(text)
        now = dt.datetime.now(dt.UTC)
        scope = self._readable()
        after, before = await read_date(options.get("after"), now), await read_date(options.get("before"), now)
        check_range(after, before)
        authors = await resolve_author(self._service, options["author"], scope) if "author" in options else None
        if "channel" in options:
            scope = scope.narrowed(resolve_channel(options["channel"], await visible_channels(self._service, scope)))
        filters = Filters(authors, after, before, _has(options.get("has")), options.get("label"))
        request = RecallRequest(query, scope, filters, _limit(options.get("limit", "10")), asked_at=now)
        self._last = await self._service.recall(request)
        return presentation.as_text(self._last, query, now)

    async def _similar(self, text: str) -> str:
        hits = () if self._last is None else self._last.hits
        if not text.isdigit() or not 1 <= int(text) <= len(hits):
            raise BadRequest(
                f"Name a hit of the last result: /similar 1 to /similar {len(hits)}."
                if hits
                else "Search first: /similar N looks for what is like hit N."
            )
        self._last = await self._service.similar(hits[int(text) - 1].message.id, self._readable())
        return presentation.as_text(self._last)

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
            self._last_id, self._snapshot.id, self._channel_id, self._member.id, self._member.name, text, now
        )
        await self._service.remember([message])
        return message.id

    # -- looking after the memory --------------------------------------------------------------------------

    async def _memory(self, text: str) -> str:
        self._require_admin()
        words = text.split()
        area, action = [*words, "", ""][:2]
        rest = " ".join(words[2:])
        service, guild_id = self._service, self._snapshot.id
        if area == "status":
            return "\n".join(status_lines.status_lines(await service.status(guild_id)))
        if area == "retention" and action.isdigit() and int(action) <= 3650:
            gone = await service.set_retention(guild_id, int(action) or None)
            kept = f"for {action} days" if int(action) else "as long as they exist"
            return f"Messages are kept {kept}. {gone or 0:,} were erased."
        if area == "profile" and action == "list":
            return "\n".join(status_lines.profile_lines(service.profiles()))
        if area == "profile" and action == "use":
            await service.use_profile(_value(rest, "name"), _show_progress)
            return f"The profile {_value(rest, 'name')} is in use now."
        if area == "channels":
            return await self._channels(action, _value(rest, "channel"))
        if area == "labels":
            return await self._labels(action, rest)
        if area == "forget":
            return await self._forget(text.partition(" ")[2])
        if area == "backfill":
            raise BadRequest("There is no Discord to read from here; `python bot.py import FILE…` brings in the past.")
        raise BadRequest(
            "Say /memory status, profile list, profile use NAME, channels list, retention DAYS, forget … or labels …."
        )

    async def _channels(self, action: str, name: str) -> str:
        visible = await visible_channels(self._service, self._readable())
        if action == "list":
            lines = []
            for info in visible:
                kept = await self._service.is_remembered(info.guild_id, info.id)
                lines.append(f"{'●' if kept else '○'} #{info.name}{'' if kept else ' (not remembered)'}")
            return "\n".join(lines)
        if action not in ("include", "exclude"):
            raise BadRequest("Say /memory channels list, include NAME or exclude NAME.")
        found = resolve_channel(name, visible)
        channel = next(c for c in visible if c.id in found)
        await self._service.set_channel_included(self._snapshot.id, channel.id, action == "include")
        if action == "include":
            return f"#{channel.name} is remembered from now on."
        return f"#{channel.name} is no longer remembered, and what was is erased."

    async def _labels(self, action: str, rest: str) -> str:
        guild_id = self._snapshot.id
        if action == "list":
            found = await self._service.labels(guild_id)
            return "\n".join(f"{label.name}: {label.description}" for label in found) or (
                "There are no labels. /memory labels add name:… description:… makes one."
            )
        _, options = parse_options(rest)
        if action == "add" and {"name", "description"} <= set(options):
            await self._service.set_label(guild_id, options["name"], options["description"])
            return f"Messages are sorted under {options['name']} from now on."
        if action == "remove":
            name = options.get("name", rest)
            removed = await self._service.remove_label(guild_id, name)
            return f"{name} is {'gone' if removed else 'not a label here'}."
        raise BadRequest("Say /memory labels list, add name:… description:…, or remove name:….")

    async def _forget(self, text: str) -> str:
        _, options = parse_options(text)
        if len(options) != 1:
            raise BadRequest("Name one of channel:, author: and message:.")
        ((kind, value),) = options.items()
        guild_id = self._snapshot.id
        if kind == "channel":
            visible = await visible_channels(self._service, self._readable())
            found = resolve_channel(value, visible)
            channel = next(c for c in visible if c.id in found)
            return _erased(await self._service.forget_channel(guild_id, channel.id, keep_record=True))
        if kind == "author":
            people = await resolve_author(self._service, value, self._readable())
            return _erased(sum([await self._service.forget_person(person, guild_id) for person in people]))
        if kind == "message" and value.isdigit():
            return _erased(await self._service.forget_messages(guild_id, [int(value)]))
        raise BadRequest("Name one of channel:, author: and message:, a message by its id.")

    # -- one's own words -----------------------------------------------------------------------------------

    async def _privacy(self, text: str) -> str:
        if self._is_operator():
            raise BadRequest("The operator wrote nothing here; this takes a server whose members are known.")
        action, _, rest = text.partition(" ")
        guild_id = None if rest.strip() in ("everywhere", "where:everywhere") else self._snapshot.id
        user = self._member.id
        if action in ("show", ""):
            summary = await self._service.stored_about(user, guild_id)
            return "\n".join(status_lines.person_lines(summary, dt.datetime.now(dt.UTC)))
        if action == "opt-out":
            return f"I no longer remember what you write. {_erased(await self._service.opt_out(user, guild_id))}"
        if action == "opt-in":
            await self._service.opt_in(user, guild_id)
            return "I remember what you write from now on."
        if action == "export":
            return json.dumps(await self._service.export_person(user, guild_id), ensure_ascii=False, indent=1)
        if action == "forget-me":
            return _erased(await self._service.forget_person(user, guild_id))
        raise BadRequest("Say /privacy show, opt-out, opt-in, export or forget-me.")


def parse_options(text: str) -> tuple[str, dict[str, str]]:
    """Return the words and the options of a command: ``where is it author:Ann Lee limit:3``.

    An option's value reaches to the next option; quotation marks around it are left out.
    """
    found = list(_OPTION.finditer(text))
    words = text[: found[0].start()] if found else text
    options: dict[str, str] = {}
    for place, match in enumerate(found):
        after = found[place + 1].start() if place + 1 < len(found) else len(text)
        options[match[1]] = text[match.end() : after].strip().strip('"“”')
    return options.pop("query", words).strip(), options


def _value(text: str, option: str) -> str:
    return text.removeprefix(f"{option}:").strip()


def _limit(text: str) -> int:
    if not text.isdigit():
        raise BadRequest("The limit must lie between 1 and 50.")
    return int(text)


def _has(value: str | None) -> Has | None:
    if value is None:
        return None
    for known in ("link", "image", "file", "embed"):
        if value == known:
            return known
    raise BadRequest("has: takes link, image, file or embed.")


def _erased(count: int) -> str:
    return f"Done: {count:,} message{' is' if count == 1 else 's are'} erased."


async def _show_progress(step: str, share: float) -> None:
    print(f"{step} … {share:.0%}", flush=True)
