"""Discord only: pages of results, and the buttons under them."""

from __future__ import annotations

import asyncio
import logging

import discord

from cogs.commands.recall import RecallAnswer, still_readable
from cogs.extensions.buttons import Interaction, OwnView
from cogs.extensions.parameters import reader
from cogs.memory.records import Scope
from cogs.memory.text.presentation import HitViews, PageView

log = logging.getLogger(__name__)
COLOUR = discord.Colour(0x5865F2)


def page_embed(page: PageView) -> discord.Embed:
    """Render one page of results."""
    embed = discord.Embed(title=page.title_markdown, description=page.description_markdown or None, colour=COLOUR)
    for name, value in page.fields:
        embed.add_field(name=name, value=value, inline=False)
    return embed.set_footer(text=page.footer)


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
        if self._pages > 1:
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
        return page_embed(pages[self._page])

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

    @discord.ui.button(label="Previous", style=discord.ButtonStyle.secondary)
    async def previous(self, interaction: Interaction, _: discord.ui.Button[ResultPages]) -> None:
        """Turn back."""
        await self._turn(interaction, -1)

    @discord.ui.button(label="Next", style=discord.ButtonStyle.secondary)
    async def following(self, interaction: Interaction, _: discord.ui.Button[ResultPages]) -> None:
        """Turn on."""
        await self._turn(interaction, 1)
