"""Discord only: who asks through an interaction, and a command's options as parameters of a slash command."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands

from cogs.commands.asker import Asker, may_manage
from cogs.commands.lookups import Suggestion, suggestions
from cogs.commands.options import Completion, Option, options_of

if TYPE_CHECKING:
    from cogs.extensions.buttons import Interaction


DEBOUNCE_SECONDS = 0.12
"""Who types the next letter within this time is answered for that one only."""


def person(interaction: discord.Interaction[Any]) -> Asker:
    """Return who asks, without what they may read: for commands about the server or about themselves."""
    guild_id = interaction.guild_id
    return Asker(
        user_id=interaction.user.id,
        now=discord.utils.utcnow(),
        guild_id=guild_id,
        manages=guild_id is not None and may_manage(interaction.permissions.value),
    )


async def reader(interaction: Interaction) -> Asker:
    """Return who asks, with what they may read now."""
    asker = person(interaction)
    scope = await interaction.client.readers.reader(interaction.user, interaction.channel_id)
    return Asker(asker.user_id, asker.now, scope, asker.guild_id, asker.manages)


def option_parameters(command: type[Any]) -> Callable[[Callable[..., Any]], Any]:
    """Give a callback the parameters that a command's options are; it takes them as keyword arguments.

    The callback is ``async def name(self, interaction, **options)``; :func:`~cogs.commands.options.read_options`
    checks what arrives, because a client can send what it likes.
    """

    def decorate(callback: Callable[..., Any]) -> Any:
        options = options_of(command)
        own = [p for p in inspect.signature(callback).parameters.values() if p.kind is not p.VAR_KEYWORD]
        parameters = [_parameter(name, rules) for name, rules in options.items()]
        parameters.sort(key=lambda parameter: parameter.default is not parameter.empty)
        callback.__signature__ = inspect.Signature([*own, *parameters])  # type: ignore[attr-defined]
        app_commands.describe(**{name: rules.help for name, rules in options.items()})(callback)
        choices = {
            name: [app_commands.Choice(name=choice, value=choice) for choice in rules.choices]
            for name, rules in options.items()
            if rules.choices
        }
        return app_commands.choices(**choices)(callback) if choices else callback

    return decorate


def _parameter(name: str, rules: Option) -> inspect.Parameter:
    annotation: Any = str
    if rules.kind == "number":
        annotation = app_commands.Range[int, rules.low, rules.high]
    default = inspect.Parameter.empty if rules.required else None
    annotation = annotation if rules.required else annotation | None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def complete(slash: app_commands.Command[Any, ..., Any], command: type[Any], *, managers: bool = False) -> None:
    """Offer channels, people and labels for those options of a slash command that can be completed.

    ``managers`` offers them only to people who may manage the server.
    """
    for name, rules in options_of(command).items():
        if rules.complete is not None:
            complete_one(slash, name, rules.complete, managers=managers)


def complete_one(
    slash: app_commands.Command[Any, ..., Any], name: str, kind: Completion, *, managers: bool = False
) -> None:
    """Offer channels, people or labels for one parameter of a slash command."""
    slash.autocomplete(name)(_completion(kind, managers))


def _completion(kind: Completion, managers: bool) -> Callable[..., Any]:
    newest: dict[int, int] = {}

    async def offered(interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        asker = person(interaction)
        if managers and not asker.manages:
            return []
        newest[asker.user_id] = interaction.id
        await asyncio.sleep(DEBOUNCE_SECONDS)
        if newest.get(asker.user_id) != interaction.id:
            return []  # They typed on, and Discord shows the answer to the last keystroke only.
        del newest[asker.user_id]
        scope = await interaction.client.readers.offered(interaction.user, interaction.channel_id)
        return choices_of(await suggestions(interaction.client.service, replace(asker, scope=scope), kind, current))

    return offered


def choices_of(found: list[Suggestion]) -> list[app_commands.Choice[str]]:
    """Return suggestions as Discord's choices, at most 25."""
    return [app_commands.Choice(name=suggestion.name, value=suggestion.value) for suggestion in found[:25]]


def texts(options: dict[str, Any]) -> dict[str, Any]:
    """Return options as text and numbers; a client that still has an older form of a command may send the thing itself.

    A channel or a member that arrives as an object stands for its id.
    """
    return {name: str(value.id) if hasattr(value, "id") else value for name, value in options.items()}
