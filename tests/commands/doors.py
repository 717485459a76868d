"""The three doors to one memory: Discord's callbacks, the console and the shell, with what each of them answered."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import discord
import pytest

import bot
from cogs.app.open_pages import OpenPages
from cogs.chat.service import build_chat
from cogs.extensions.memory_admin import Memory
from cogs.extensions.privacy import Privacy
from cogs.extensions.recall import Recall
from cogs.imports.importing import import_files
from cogs.memory.access.guild_view import GuildView
from cogs.memory.access.guild_view_files import exports_in, load_guild_views, save_guild_view_of
from cogs.memory.access.permissions import reader_scope
from cogs.memory.errors import MnemeError
from cogs.memory.service import MemoryService
from cogs.shell.console_commands import ConsoleCommands
from cogs.shell.startup import guarded
from config.settings import PROJECT_DIR
from tests.memory.building import SHARED_MODELS, settings_in

SAMPLE = PROJECT_DIR / "data" / "sample"
LINK = re.compile(r"discord\.com/channels/\d+/\d+/(\d+)")
SPAN = re.compile(r"^(?:Since|Before) .*\.$", re.MULTILINE)


@dataclass(frozen=True)
class Answer:
    """What a door answered: the messages that it showed, in order, and the sentence about time; or a refusal."""

    messages: tuple[int, ...] = ()
    span: str | None = None
    refusal: str | None = None

    @classmethod
    def of(cls, text: str) -> Answer:
        """Read an answer as a person would."""
        span = SPAN.search(text.replace("\\", ""))
        return cls(tuple(int(found) for found in LINK.findall(text)), span[0] if span else None)


async def sample_service(folder: Path) -> MemoryService:
    """Return a started service that remembers the sample server, under labels that nothing was sorted under yet."""
    settings = settings_in(folder)
    service = await MemoryService.open(settings)
    await service.start()
    await import_files(service, exports_in(SAMPLE))
    save_guild_view_of(SAMPLE, folder)
    await service.drain()
    return service


def guild_view_in(folder: Path) -> GuildView:
    """Return the sample server's permissions."""
    (view,) = load_guild_views(folder).values()
    return view


def member_id(view: GuildView, name: str) -> int:
    """Return a member's id."""
    return next(member.id for member in view.members if member.name == name)


class DiscordDoor:
    """The callbacks of the slash commands, with an interaction of one member of the sample server."""

    def __init__(self, service: MemoryService, view: GuildView, member: str, manages: bool = False) -> None:
        self._view = view
        self._member = next(m for m in view.members if m.name == member)
        self.service = service
        self.readers = SimpleNamespace(reader=self._reader, names=lambda _: {})
        self.open_pages = OpenPages(10)
        self.backfills = SimpleNamespace(of=lambda _: None)
        self._permissions = discord.Permissions(manage_guild=manages)
        self._cogs = {"recall": Recall, "memory": Memory, "privacy": Privacy}

    async def _reader(self, *_: object) -> Any:
        return reader_scope(self._view, self._member, None)

    def start_task(self, work: Any, _: str) -> None:
        work.close()

    async def use(self, name: str, **options: Any) -> str:
        """Use a slash command, and return what it showed.

        Raises:
            MnemeError: what the bot's error handler would tell.
        """
        first, *path = name.split()
        cog = self._cogs[first](cast("Any", self))
        command: Any = next(c for c in cog.get_app_commands() if c.name == first)
        for part in path:
            command = command.get_command(part)
        shown: list[str] = []

        async def send(content: str = "", *, embed: discord.Embed | None = None, view: Any = None, **_: Any) -> Any:
            shown.append(content)
            if embed is not None:
                shown.append(embed.description or "")
                shown.extend(str(field.value) for field in embed.fields)
            if view is not None and hasattr(view, "confirm"):
                shown.append(await view._erase())
            return None

        async def defer(**_: Any) -> None:
            return None

        interaction = SimpleNamespace(
            user=SimpleNamespace(id=self._member.id),
            channel_id=None,
            guild_id=self._view.id,
            guild=None,
            permissions=self._permissions,
            client=self,
            response=SimpleNamespace(defer=defer),
            followup=SimpleNamespace(send=send),
        )
        given = {parameter.name: options.get(parameter.name, parameter.default) for parameter in command.parameters}
        await command.callback(cog, interaction, **given)
        return "\n".join(shown)

    async def recall(self, options: Mapping[str, Any]) -> Answer:
        """Use ``/recall``."""
        try:
            return Answer.of(await self.use("recall", **options))
        except MnemeError as error:
            return Answer(refusal=str(error))


class ConsoleDoor:
    """The console, with one member speaking."""

    def __init__(self, service: MemoryService, view: GuildView, member: str) -> None:
        self.commands = ConsoleCommands(service, build_chat(settings_in(Path()), service), view)
        self._member = member

    async def use(self, line: str) -> str:
        """Type a line, and return what is printed.

        Raises:
            MnemeError: what the console would print after a cross.
        """
        await anext(self.commands.handle(f"/as {self._member}"))
        return "\n".join([text async for text in self.commands.handle(line)])

    async def recall(self, options: Mapping[str, Any]) -> Answer:
        """Type ``/recall``."""
        named = " ".join(f"{name}:{value}" for name, value in options.items() if name != "query")
        try:
            return Answer.of(await self.use(f"/recall {options.get('query', '')} {named}"))
        except MnemeError as error:
            return Answer(refusal=str(error))


@contextlib.contextmanager
def shell_in(folder: Path) -> Iterator[None]:
    """Let ``bot.py`` use a data folder and the tests' models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNEME_DATA_DIR", str(folder))
        patch.setenv("MNEME_MODELS_DIR", str(SHARED_MODELS))
        patch.setenv("MNEME_PROFILE", "minimal")
        patch.chdir(folder)
        yield


def shell(*arguments: str) -> tuple[int, str, str]:
    """Run ``python bot.py`` with arguments in this process; return its exit code and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr("sys.argv", ["bot.py", *arguments])
        patch.setattr("config.logs.configure", lambda _: None)
        code = guarded(bot.app)
    return code, out.getvalue(), err.getvalue()


def shell_recall(options: Mapping[str, Any], member: str) -> Answer:
    """Run ``python bot.py recall``."""
    query = [] if "query" not in options else [str(options["query"])]
    named = [part for name, value in options.items() if name != "query" for part in (f"--{name}", str(value))]
    code, out, err = shell("recall", *query, *named, "--as-user", member)
    if code != 0:
        assert code == 2, shlex.join(named)
        return Answer(refusal=" ".join(err.split()))
    return Answer.of(out)
