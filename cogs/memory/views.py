"""Discord only: pages of results, and the buttons under them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import discord

from cogs.memory.presentation import PageView, result_pages
from cogs.memory.records import RecallResult, Scope

if TYPE_CHECKING:
    from cogs.discord_app import MnemeBot

log = logging.getLogger(__name__)
TOKEN_SECONDS = 840.0
OPEN_PAGES = 500
COLOUR = discord.Colour(0x5865F2)
Interaction: TypeAlias = "discord.Interaction[MnemeBot]"


def page_embed(page: PageView) -> discord.Embed:
    """Render one page of results."""
    embed = discord.Embed(title=page.title_markdown, description=page.description_markdown or None, colour=COLOUR)
    for name, value in page.fields:
        embed.add_field(name=name, value=value, inline=False)
    return embed.set_footer(text=page.footer)


class OwnView(discord.ui.View):
    """A view that only the one who asked may press, and whose errors are told like those of commands."""

    def __init__(self, asker_id: int, timeout: float = TOKEN_SECONDS) -> None:
        super().__init__(timeout=timeout)
        self._asker_id = asker_id

    async def interaction_check(self, interaction: discord.Interaction) -> bool:
        """Turn others away."""
        if interaction.user.id == self._asker_id:
            return True
        await interaction.response.send_message("These buttons belong to somebody else.", ephemeral=True)
        return False

    async def on_error(
        self, interaction: discord.Interaction, error: Exception, item: discord.ui.Item[discord.ui.View]
    ) -> None:
        """Tell the person in a sentence, the log in full."""
        bot: MnemeBot = interaction.client  # type: ignore[assignment]
        await bot.errors.tell(interaction, error)


class OpenPages:
    """The pages whose buttons work. Each keeps its results in memory, so there are :data:`OPEN_PAGES` at most."""

    def __init__(self, most: int = OPEN_PAGES) -> None:
        self._most = most
        self._open: dict[ResultPages, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def add(self, pages: ResultPages) -> ResultPages | None:
        """Take in new pages; return the oldest where there are too many now, for the caller to close."""
        self._open[pages] = None
        if len(self._open) <= self._most:
            return None
        oldest = next(iter(self._open))
        del self._open[oldest]
        return oldest

    def discard(self, pages: ResultPages) -> None:
        """Let go of pages that are closed."""
        self._open.pop(pages, None)


class ResultPages(OwnView):
    """The pages of a recall. Every turn of a page asks again what the reader may read and what is still remembered."""

    def __init__(self, result: RecallResult, query: str, asker_id: int) -> None:
        super().__init__(asker_id)
        self._result = result
        self._query = query
        self._page = 0
        self._pages = 1
        self._last: Interaction | None = None

    async def first(self, interaction: Interaction) -> None:
        """Show the first page as the answer to a deferred command."""
        embed = await self._render(interaction, self._result)
        if self._pages > 1:
            await interaction.followup.send(embed=embed, view=self, ephemeral=True)
            bot = interaction.client
            oldest = bot.open_pages.add(self)
            if oldest is not None:
                bot.start_task(oldest.close(), "closing pages")
        else:
            await interaction.followup.send(embed=embed, ephemeral=True)

    async def _render(self, interaction: Interaction, result: RecallResult) -> discord.Embed:
        shown: dict[int, set[int]] = {}
        for hit in result.hits:
            shown.setdefault(hit.message.guild_id, set()).add(hit.message.channel_id)
        names = interaction.client.readers.names(Scope({g: frozenset(ids) for g, ids in shown.items()}))
        self._last = interaction
        pages = result_pages(result, self._query, discord.utils.utcnow(), names=names)
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
        self._result = await still_readable(interaction, self._result)
        await interaction.edit_original_response(embed=await self._render(interaction, self._result), view=self)

    @discord.ui.button(label="Previous", style=discord.ButtonStyle.secondary)
    async def previous(self, interaction: Interaction, _: discord.ui.Button[ResultPages]) -> None:
        """Turn back."""
        await self._turn(interaction, -1)

    @discord.ui.button(label="Next", style=discord.ButtonStyle.secondary)
    async def following(self, interaction: Interaction, _: discord.ui.Button[ResultPages]) -> None:
        """Turn on."""
        await self._turn(interaction, 1)


async def still_readable(interaction: Interaction, result: RecallResult) -> RecallResult:
    """Return a result with only those hits that exist and that the person may read now, as they are now."""
    bot = interaction.client
    scope = await bot.readers.reader(interaction.user, interaction.channel_id)
    wanted = [hit.message.id for hit in result.hits]
    found = {message.id: message for message in await bot.service.messages(wanted, scope)}
    hits = []
    for hit in result.hits:
        message = found.get(hit.message.id)
        if message is not None:
            same = message.content == hit.message.content
            hits.append(replace(hit, message=message, evidence=hit.evidence if same else None))
    return replace(result, hits=tuple(hits), reach=await bot.service.reach(scope))


class Confirm(OwnView):
    """Asks before something is erased; what happens then is ``action``, which returns the sentence to show."""

    def __init__(self, asker_id: int, label: str, action: Callable[[Interaction], Awaitable[str]]) -> None:
        super().__init__(asker_id, timeout=300.0)
        self._action = action
        self.confirm.label = label

    @discord.ui.button(label="Erase", style=discord.ButtonStyle.danger)
    async def confirm(self, interaction: Interaction, _: discord.ui.Button[Confirm]) -> None:
        """Do it."""
        self.stop()
        await interaction.response.defer()
        await interaction.edit_original_response(content=await self._action(interaction), view=None)

    @discord.ui.button(label="Cancel", style=discord.ButtonStyle.secondary)
    async def cancel(self, interaction: Interaction, _: discord.ui.Button[Confirm]) -> None:
        """Leave everything as it is."""
        self.stop()
        await interaction.response.edit_message(content="Nothing was erased.", view=None)


class StopButton(discord.ui.View):
    """A button that stops a long piece of work; whoever may see it may press it."""

    def __init__(self, stop: Callable[[], None], allowed: Callable[[discord.Interaction], bool]) -> None:
        super().__init__(timeout=None)
        self._halt = stop
        self._allowed = allowed

    async def interaction_check(self, interaction: discord.Interaction) -> bool:
        """Administrators only, as for the command."""
        return self._allowed(interaction)

    @discord.ui.button(label="Stop", style=discord.ButtonStyle.danger)
    async def halt(self, interaction: discord.Interaction, _: discord.ui.Button[StopButton]) -> None:
        """Stop after the page in hand."""
        self._halt()
        self.stop()
        await interaction.response.defer()
