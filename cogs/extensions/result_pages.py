"""Discord only: pages of results, and the buttons under them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import discord

from cogs.commands.catch_up import CatchUpAnswer
from cogs.commands.recall import RecallAnswer, still_readable
from cogs.commands.share import shared
from cogs.extensions.buttons import Interaction, OwnView
from cogs.extensions.parameters import reader
from cogs.extensions.talk_pages import TalkPages
from cogs.memory.errors import BadRequest
from cogs.memory.records import Scope
from cogs.memory.text.excerpts import fit
from cogs.memory.text.presentation import HitViews, PageView
from cogs.memory.text.sanitize import discord_length, markdown

log = logging.getLogger(__name__)
COLOUR = discord.Colour(0x5865F2)
SECTIONS = 4
"""Conversations in one embed: Discord takes 6,000 characters in each."""
EMBED_TEXT = 1000
_NONE = discord.SelectOption(label="Nothing yet", value="0")


def page_embed(page: PageView) -> discord.Embed:
    """Render one page of results."""
    embed = discord.Embed(title=page.title_markdown, description=page.description_markdown or None, colour=COLOUR)
    for name, value in page.fields:
        embed.add_field(name=name, value=value, inline=False)
    return embed.set_footer(text=page.footer)


def catch_up_embeds(answer: CatchUpAnswer, names: Mapping[int, str]) -> list[discord.Embed]:
    """Render what was talked about, a few conversations to an embed; it takes a while, so off the event loop."""
    sections = answer.sections(names)
    embeds = [discord.Embed(title="Catch-up", description=markdown(answer.summary())[:EMBED_TEXT], colour=COLOUR)]
    for start in range(0, len(sections), SECTIONS):
        embed = embeds[0] if start == 0 else discord.Embed(colour=COLOUR)
        for heading, lines in sections[start : start + SECTIONS]:
            embed.add_field(name=fit(heading, 256), value=_whole_lines(lines, 1024) or "…", inline=False)
        if start:
            embeds.append(embed)
    return embeds


def _whole_lines(text: str, limit: int) -> str:
    """Return the first lines that fit, so that no link is cut."""
    kept = ""
    for line in text.split("\n"):
        if discord_length(kept) + discord_length(line) + 1 > limit:
            break
        kept += ("\n" if kept else "") + line
    return kept


def fit_plain(text: str, limit: int) -> str:
    """Return a text cut for a place where Discord shows no markdown."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


class ResultPages(OwnView):
    """The pages of a recall. Every turn of a page asks again what the reader may read and what is still remembered."""

    def __init__(self, answer: RecallAnswer, asker_id: int) -> None:
        super().__init__(asker_id)
        self._answer = answer
        self._rendered = HitViews(answer.query)
        self._page = 0
        self._pages = 1
        self._last: Interaction | None = None

    async def first(self, interaction: Interaction) -> None:
        """Show the first page as the answer to a deferred command."""
        embed = await self._render(interaction)
        if self._answer.result.hits:
            await interaction.followup.send(embed=embed, view=self, ephemeral=True)
            bot = interaction.client
            oldest = bot.open_pages.add(self)
            if oldest is not None:
                bot.start_task(oldest.close(), "closing pages")
        else:
            await interaction.followup.send(embed=embed, ephemeral=True)

    async def _render(self, interaction: Interaction) -> discord.Embed:
        shown: dict[int, set[int]] = {}
        for hit in self._answer.result.hits:
            shown.setdefault(hit.message.guild_id, set()).add(hit.message.channel_id)
        names = interaction.client.readers.names(Scope({g: frozenset(ids) for g, ids in shown.items()}))
        self._last = interaction
        # Fifty long messages take their time, and the event loop has heartbeats to send.
        pages = await asyncio.to_thread(self._answer.pages, names, self._rendered)
        self._pages = len(pages)
        self._page = min(max(self._page, 0), self._pages - 1)
        self.previous.disabled = self._page == 0
        self.following.disabled = self._page == self._pages - 1
        page = pages[self._page]
        choosers: tuple[discord.ui.Select[ResultPages], ...] = (self.look_around, self.share)
        for chooser in choosers:
            chooser.options = [
                discord.SelectOption(label=fit_plain(hit.title, 100), value=str(hit.message_id)) for hit in page.hits
            ] or [discord.SelectOption(label="Nothing is left", value="0")]
            chooser.disabled = not page.hits
        return page_embed(page)

    async def close(self) -> None:
        """Stop listening, and take the buttons away."""
        self.stop()
        await self.on_timeout()

    async def on_timeout(self) -> None:
        """Take the buttons away before Discord lets them run into nothing."""
        if self._last is not None:
            self._last.client.open_pages.discard(self)
            try:
                await self._last.edit_original_response(view=None)
            except discord.HTTPException as error:
                log.info("buttons could not be taken away: HTTP %s", error.status)

    async def _turn(self, interaction: Interaction, step: int) -> None:
        await interaction.response.defer()
        self._page += step
        self._answer = await still_readable(interaction.client.service, await reader(interaction), self._answer)
        await interaction.edit_original_response(embed=await self._render(interaction), view=self)

    @discord.ui.select(placeholder="Show the talk around …", row=1, options=[_NONE])
    async def look_around(self, interaction: Interaction, chosen: discord.ui.Select[ResultPages]) -> None:
        """Show a hit in its conversation."""
        await TalkPages(int(chosen.values[0]), interaction.user.id).first(interaction)

    @discord.ui.select(placeholder="Share in this channel …", row=2, options=[_NONE])
    async def share(self, interaction: Interaction, chosen: discord.ui.Select[ResultPages]) -> None:
        """Post a hit for everybody, if everybody may read it."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        guild, channel = interaction.guild, interaction.channel
        if guild is None or channel is None or interaction.channel_id is None:
            raise BadRequest("Sharing works in the channel of a server.")
        if not interaction.permissions.send_messages:
            raise BadRequest("You may not write in this channel.")
        audience = await interaction.client.readers.audience(guild, interaction.channel_id)
        shown, service = int(chosen.values[0]), interaction.client.service
        text = await shared(service, audience, shown, interaction.user.display_name)
        posted = await interaction.followup.send(
            text, ephemeral=False, allowed_mentions=discord.AllowedMentions.none(), wait=True
        )
        # What was shared goes when the message goes, like every quotation.
        await service.quotations.keep(posted.id, interaction.channel_id, [shown], written=True)

    @discord.ui.button(label="Previous", style=discord.ButtonStyle.secondary)
    async def previous(self, interaction: Interaction, _: discord.ui.Button[ResultPages]) -> None:
        """Turn back."""
        await self._turn(interaction, -1)

    @discord.ui.button(label="Next", style=discord.ButtonStyle.secondary)
    async def following(self, interaction: Interaction, _: discord.ui.Button[ResultPages]) -> None:
        """Turn on."""
        await self._turn(interaction, 1)
