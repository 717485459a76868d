"""Odd inputs at the console and in the shell: each gets an answer or a sentence, and nothing ends in a traceback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bot
from cogs.commands.options import options_of
from cogs.commands.recall import RecallCommand
from cogs.memory.service import MemoryService
from cogs.shell.console import answer
from cogs.shell.console_commands import ConsoleCommands
from tests.commands.doors import ConsoleDoor, guild_view_in, sample_service, shell, shell_in
from tests.memory.word_encoder import word_encoder

VALUES = (
    "", " ", "²", "٣", "-1", "0", "51", "1e9", "NaN", "∞", "9" * 3000, "a" * 300, "\x00", "\u202eabc", "😀" * 50,
    "'; DROP TABLE messages;--", "%s%n%x", "../../etc/passwd", "<@123456789012345678>", "<@99999999999999999999>",
    "<#0>", "@everyone", '"', "“”", "null", "0000-00-00", "99999-01-01", "2026-02-31", "<t:99999999999999:R>",
    "<t:-99999999999999>", "31/12", "author:", "limit:²", "\ufffd", "ß" * 40, "𝔪", "İ", "a b  c", "-", "--limit", "=",
)  # fmt: skip
LINES = (
    "/", "//", "/recall", "/recall ", "/RECALL boat", "/recall limit:", "/recall boat limit:² limit:3", "/similar",
    "/similar ²", "/similar 0", "/similar -1", "/similar " + "9" * 3000, "/around", "/around ²", "/around 1", "/as",
    "/as \x00", "/in", "/in #", "/in dm", "/recall boat", "/memory status", "/in general", "/members x", "/help me",
    "/memory", "/memory retention", "/memory retention ²", "/memory retention " + "9" * 3000, "/memory retention -1",
    "/memory forget", "/memory forget channel:", "/memory forget message:²", "/memory forget message:" + "9" * 20,
    "/memory forget author:<@99999999999999999999>", "/memory forget channel:a author:b", "/memory profile",
    "/memory profile use", "/memory profile use \x00", "/memory labels add", "/memory labels add name:",
    "/memory labels add name:" + "n" * 3000, "/memory labels remove", "/memory channels include",
    "/memory channels exclude nowhere", "/memory backfill", "/privacy", "/privacy show where:moon", "/privacy ²",
    "/privacy opt-in everywhere", "/catchup", "/catchup ²", "/catchup since:²", "x" * 5000, "\ud800", "/recall \udcff",
    "?", "\u200b", "@Mneme", "[1]",
)  # fmt: skip
NUMBERS = ("²", "nan", "1e400", "9" * 30, "9" * 5000, "-9", "0x10", "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder for both doors, without a model."""
    path = tmp_path_factory.mktemp("odd")
    with word_encoder(), shell_in(path):
        yield path


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def service(folder: Path) -> AsyncIterator[MemoryService]:
    """A memory of the sample server."""
    service = await sample_service(folder)
    yield service
    await service.close()


def console(service: MemoryService, folder: Path) -> ConsoleCommands:
    """Return a console in which a manager of the sample server speaks."""
    return ConsoleDoor(service, guild_view_in(folder), "Mara").commands


async def typed(commands: ConsoleCommands, line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Type a line and return what is printed."""
    capsys.readouterr()
    await answer(commands, line)
    return capsys.readouterr().out


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("option", options_of(RecallCommand))
async def test_every_value_of_every_option_is_answered(
    service: MemoryService, folder: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    commands = console(service, folder)
    for value in VALUES:
        said = await typed(commands, f"/recall boat {option}:{value}", capsys)
        assert said.strip(), value
        assert "Traceback" not in said


@pytest.mark.asyncio(loop_scope="module")
async def test_every_odd_line_is_answered(
    service: MemoryService, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = console(service, folder)
    for line in LINES:
        said = await typed(commands, line, capsys)
        assert said.strip(), line
    assert "Mara" in await typed(commands, "/members", capsys)
    assert "no UTF-8" in await typed(commands, "/recall boat \udcff", capsys)
    assert "The limit must lie between 1 and 50." in await typed(commands, "/recall boat limit:²", capsys)
    assert "The line has 5,019 characters" in await typed(commands, "/recall boat limit:" + "9" * 5000, capsys)


def test_whatever_is_typed_is_answered(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part = st.one_of(st.sampled_from(VALUES), st.text(max_size=20))
    names = st.sampled_from(["", "/", "/recall ", "/memory ", "/privacy ", "/catchup ", *options_of(RecallCommand)])

    async def run() -> None:
        service = await sample_service(folder / "whatever")
        commands = console(service, folder / "whatever")
        loop = asyncio.get_running_loop()

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(st.tuples(names, part), min_size=1, max_size=4))
        def each(parts: list[tuple[str, str]]) -> None:
            line = "".join(f"{name}:{value} " if name.isalpha() else f"{name}{value} " for name, value in parts)
            line = line.replace("\n", " ").strip()
            if line:
                said = asyncio.run_coroutine_threadsafe(typed(commands, line, capsys), loop).result()
                assert said.strip()

        try:
            await asyncio.to_thread(each)
        finally:
            await service.close()

    asyncio.run(run())


def _options(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, sub in getattr(command, "commands", {}).items():
        yield from _options(sub, (*path, name))
    for parameter in [] if hasattr(command, "commands") else command.params:
        if parameter.type_descriptor.annotation in (int, float):
            yield path, parameter


def _arguments(command: Any, path: tuple[str, ...]) -> list[str]:
    """Return something for each argument that a command insists on."""
    for name in path:
        command = command.commands[name]
    return ["x" for parameter in command.params if parameter.param_type_name == "argument" and parameter.required]


def test_every_number_of_the_command_line_has_bounds_and_says_so(folder: Path) -> None:
    command = typer.main.get_command(bot.app)
    found = list(_options(command))
    assert len(found) > 25
    for path, parameter in found:
        own = path == ("recall",) and parameter.name in options_of(RecallCommand)
        if parameter.name != "guild" and not own:  # an id is looked up; /recall's numbers are checked with its options
            assert parameter.min is not None, (path, parameter.name)
            assert parameter.max is not None, (path, parameter.name)
        for value in NUMBERS:
            if parameter.name == "guild" and value in ("9" * 30, "-9"):
                continue  # ids of no server
            code, out, err = shell(*path, *_arguments(command, path), f"--{parameter.name.replace('_', '-')}={value}")
            assert (code, out) == (2, ""), (path, parameter.name, value)
            assert 0 < len(err.splitlines()) <= 4, err


@pytest.mark.parametrize(
    "options",
    [
        ("--guild", "9" * 30), ("--guild", "-9"), ("--as-user", ""), ("--as-user", "\x00"), ("--as-user", "9" * 3000),
        ("--author", "\udcff"), ("--channel", "\udcff"), ("--label", "9" * 3000), ("--before", "²"), ("--after", ""),
        ("--during", "2026-13"), ("--has", ""), ("--host", "²"), ("--sort", "worst"),
    ],
    ids=lambda options: ascii(options)[:40],
)  # fmt: skip
def test_odd_options_of_the_shell_are_one_sentence(folder: Path, options: tuple[str, ...], service: object) -> None:
    code, out, err = shell("recall", "boat", *options)
    assert (code, out) == (2, ""), out
    assert 0 < len(err.splitlines()) <= 8
    assert "Traceback" not in err
