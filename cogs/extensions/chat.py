"""Discord only: replies when somebody mentions the bot, replies to it, or writes to it directly."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import discord
from discord.ext import commands

from cogs.chat.pacing import Pacer
from cogs.chat.service import ReplyUpdate, question_of
from cogs.memory.errors import MnemeError
from cogs.memory.records import Scope, Turn
from cogs.memory.text.sanitize import as_told

if TYPE_CHECKING:
    from cogs.app.client import MnemeBot

TURNS = 6
TURN_CHARACTERS = 500
ANSWERS_AT_ONCE = 16
BUSY = "I am answering many people at the moment; ask me again in a little while."
LOST = "I could not finish this answer; ask me again in a moment."


class Chat(commands.Cog):
    """Answers with what the memory holds, limited to what everybody who sees the answer may read."""

    def __init__(self, bot: MnemeBot) -> None:
        self.bot = bot
        self._running = 0

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        """Answer a message that speaks to the bot."""
        if message.author.bot or message.webhook_id is not None or not self._is_spoken_to(message):
            return
        refusal = self.bot.allowances.reply(message.author.id, message.channel.id, time.monotonic())
        if refusal is not None:
            if refusal:
                await message.reply(as_told(refusal), mention_author=False)
            return
        if self._running >= ANSWERS_AT_ONCE:
            await message.reply(BUSY, mention_author=False)
            return
        self.bot.start_task(self._answer(message), f"answer {message.id}", answers=True)

    def _is_spoken_to(self, message: discord.Message) -> bool:
        if message.type not in (discord.MessageType.default, discord.MessageType.reply):
            return False
        if message.guild is None or self.bot.user in message.mentions:
            return True
        replied = message.reference.resolved if message.reference is not None else None
        return isinstance(replied, discord.Message) and replied.author == self.bot.user

    async def _answer(self, message: discord.Message) -> None:
        self._running += 1
        growing = GrowingReply(message)
        try:
            await self._write(message, growing)
        except MnemeError as error:
            await growing.show(as_told(str(error)), final=True)
        except discord.HTTPException as error:
            self.bot.errors.log("a reply", error)
        except BaseException:
            # Whatever it was, nobody should be left with half an answer; the cause goes on to the log.
            await asyncio.shield(growing.show(LOST, final=True))
            raise
        finally:
            self._running -= 1
            self.bot.withdrawals.growing.discard(growing.id)

    async def _write(self, message: discord.Message, growing: GrowingReply) -> None:
        assert self.bot.user is not None
        async with message.channel.typing():
            scope = await self._scope(message)
            turns = await self._turns(message, scope)
            updates = self.bot.chat.reply(
                question_of(message.content, self.bot.user.id),
                scope,
                turns,
                asker=message.author.display_name,
                exclude_ids=frozenset({message.id}),
                names=self.bot.readers.names,
                # A direct message shows the asker what they could read as they asked; to ask Discord for it again and
                # again while a model writes would take a request for each server and thread that they share.
                scope_now=None if message.guild is None else lambda: self._scope(message),
                turns_now=lambda scope: self._turns(message, scope),
            )
            kept: tuple[object, ...] = ()
            async for update in updates:
                await growing.show(_with_notice(update), final=update.final or update.withdrawn)
                rests_on = (growing.id, update.rests_on, update.extractive)
                if growing.id and rests_on != kept:
                    # What is withdrawn between the last look and this is withdrawn from the start.
                    self.bot.withdrawals.growing.add(growing.id)
                    await self.bot.service.quotations.keep(
                        growing.id, message.channel.id, update.rests_on, written=not update.extractive
                    )
                    kept = rests_on

    async def _scope(self, message: discord.Message) -> Scope:
        """Return what everybody who will see the reply may read."""
        if message.guild is not None:
            return await self.bot.readers.audience(message.guild, message.channel.id)
        return await self.bot.readers.reader(message.author, None)

    async def _turns(self, message: discord.Message, scope: Scope) -> list[Turn]:
        """Return what was just said, where everybody who sees the reply may read it, without who opted out."""
        guild_id = None if message.guild is None else message.guild.id
        if guild_id is not None and not (
            message.channel.id in scope.channel_ids
            and await self.bot.service.is_remembered(guild_id, message.channel.id)
        ):
            return []
        try:
            recent = [m async for m in message.channel.history(limit=TURNS, before=message)]
        except discord.HTTPException:
            return []
        turns = []
        for said in reversed(recent):
            silent = guild_id is not None and await self.bot.service.is_opted_out(said.author.id, guild_id)
            quotes = await self._quoted(said, scope)
            if said.content.strip() and not silent and quotes is not None:
                turns.append(Turn(said.author.display_name, said.content[:TURN_CHARACTERS], said.id, quotes))
        return turns

    async def _quoted(self, said: discord.Message, scope: Scope) -> tuple[int, ...] | None:
        """Return what a message quotes where it is the bot's own, or ``None`` where not all of it stands any more."""
        if said.author != self.bot.user:
            return ()
        quotes = await self.bot.service.quotations.standing(said.id)
        if quotes is None or len(await self.bot.service.messages(quotes, scope)) < len(quotes):
            return None
        return tuple(quotes)


class GrowingReply:
    """A reply that is sent once and edited as it grows, no faster than Discord allows."""

    def __init__(self, question: discord.Message) -> None:
        self._question = question
        self._sent: discord.Message | None = None
        self._pacer = Pacer()

    @property
    def id(self) -> int:
        """The id of the reply; 0 while nothing was sent."""
        return 0 if self._sent is None else self._sent.id

    async def show(self, text: str, *, final: bool) -> None:
        """Show the text as it is now, or leave it to a later call where the last one was just before."""
        now = time.monotonic()
        if not text or not self._pacer.due(now, text, final=final):
            return
        if self._sent is None:
            self._sent = await self._send(text)
        else:
            await self._sent.edit(content=text, suppress=True)
        self._pacer.shown(time.monotonic(), text)

    async def _send(self, text: str) -> discord.Message:
        try:
            return await self._question.reply(text, mention_author=False, suppress_embeds=True)
        except discord.HTTPException as error:
            if error.status != 400:
                raise
        # The question was deleted while it was being answered.
        return await self._question.channel.send(text, suppress_embeds=True)


def _with_notice(update: ReplyUpdate) -> str:
    if not update.final or update.notice is None or update.extractive:
        return update.text
    told = f"\n-# {as_told(update.notice, 400)}"
    return update.text + told if len(update.text) + len(told) <= 2000 else update.text


async def setup(bot: MnemeBot) -> None:
    """Add the cog."""
    await bot.add_cog(Chat(bot))
