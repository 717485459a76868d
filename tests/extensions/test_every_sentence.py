"""Whatever stands in a sentence of the bot, Discord shows it as text: every place that sends, and every error."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import discord
import pytest
from discord import app_commands

from cogs.app.client import EXTENSIONS
from cogs.app.errors import Errors
from cogs.memory.errors import MnemeError
from cogs.memory.text.sanitize import as_told, discord_length
from config.settings import PROJECT_DIR

HOSTILE = "[Ann](https://evil.example/) @everyone <@1> <@&2> <#3> **x** `y` ||z||\n# big\n-# small <t:1:R> [a]( <b> )"
SENDING = {"send", "send_message", "edit_original_response", "edit_message", "edit", "reply"}
ASKING = {"self.bot.chat.reply", "self.bot.allowances.reply"}
"""What is called like it and sends nothing."""
HARMLESS = {"as_told", "told"}
RENDERED_ELSEWHERE = {
    # a text that cogs.chat.rendering made harmless before: the reply itself, and what is left of an earlier one
    ("chat.py", "text"),
    ("withdrawals.py", "text"),
    # a message that cogs.commands.around rendered for a channel
    ("result_pages.py", "text"),
    # lines that `say` has put through the one place, in as many messages as they take
    ("buttons.py", "part"),
    # a link of the bot's own, which has to stay one
    ("memory_admin.py", "f'The page of the memory, good for ten minutes and one sign-in: <{link}>'"),
}


def texts_sent() -> Iterator[tuple[str, int, ast.expr]]:
    """Yield what every place that sends something passes as its text."""
    for folder in ("app", "extensions", "gateway"):
        for path in sorted((PROJECT_DIR / "cogs" / folder).glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                    continue
                if node.func.attr in SENDING and ast.unparse(node.func) not in ASKING:
                    named = [word.value for word in node.keywords if word.arg in ("content", "title")]
                    for value in [*node.args[:1], *named]:
                        yield path.name, node.lineno, value


def is_harmless(name: str, value: ast.expr) -> bool:
    if isinstance(value, ast.Constant):
        return True
    if isinstance(value, ast.Call):
        called = value.func.attr if isinstance(value.func, ast.Attribute) else ast.unparse(value.func)
        return called in HARMLESS
    if isinstance(value, ast.Name) and value.id.isupper():
        return True  # a constant
    return (name, ast.unparse(value)) in RENDERED_ELSEWHERE


def test_every_text_that_is_sent_went_through_the_one_place() -> None:
    found = [(name, line, ast.unparse(value)) for name, line, value in texts_sent() if not is_harmless(name, value)]
    assert found == []
    assert len(list(texts_sent())) > 12
    assert len(EXTENSIONS) > 4, "the bot is loaded with all of its errors"


def subclasses(kind: type[Exception]) -> Iterator[type[Exception]]:
    for each in kind.__subclasses__():
        yield each
        yield from subclasses(each)


class Refused(app_commands.CheckFailure):
    """A check that repeats what somebody typed."""


def raised(kind: type[Exception]) -> Exception:
    for arguments in ((HOSTILE,), (HOSTILE, None), (HOSTILE, "stage")):
        try:
            return kind(*arguments)
        except TypeError:
            continue
    raise AssertionError(f"{kind} takes other arguments")


@pytest.mark.parametrize("kind", [Refused, *dict.fromkeys(subclasses(MnemeError))], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("answered", [True, False])
async def test_every_error_is_told_without_links_mentions_and_markup(kind: type[Exception], answered: bool) -> None:
    said: list[str] = []

    async def send(text: str, *, ephemeral: bool) -> None:
        assert ephemeral
        said.append(text)

    interaction = SimpleNamespace(
        type=discord.InteractionType.application_command,
        response=SimpleNamespace(is_done=lambda: answered, send_message=send),
        followup=SimpleNamespace(send=send),
    )
    await Errors().tell(cast("Any", interaction), raised(kind))
    assert is_text_only(said[0])


def is_text_only(text: str) -> bool:
    """Whether nothing of a text is a link with a label, a mention, or marked up."""
    live = text.replace("\\\\", "")
    for escaped in ("\\[", "\\]", "\\*", "\\`", "\\|", "\\<", "\\>", "\\#", "\\-", "\\_", "\\~"):
        live = live.replace(escaped, "x")
    return not any(mark in live for mark in ("](", "@everyone", "<@", "<#", "<t:", "**", "`", "||", "\n# ", "\n-# "))


def test_a_long_sentence_is_cut_where_nothing_breaks() -> None:
    told = as_told(HOSTILE * 100)
    assert discord_length(told) <= 2000
    assert is_text_only(told)
