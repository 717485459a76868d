"""Discord only: what a message of discord.py shows beside its words, described for :mod:`cogs.memory.text.shown`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import discord

from cogs.memory.text.shown import Shown, ShownEmbed, ShownFile, ShownPoll


def shown_of(message: discord.Message | discord.MessageSnapshot) -> Shown:
    """Return what a message, or one that a message forwards, shows beside its words."""
    poll = message.poll if isinstance(message, discord.Message) else None
    forwarded = message.message_snapshots if isinstance(message, discord.Message) else ()
    return Shown(
        content="" if isinstance(message, discord.Message) else message.content,
        embeds=tuple(_embed(embed) for embed in message.embeds),
        # discord.py sets the attribute only where the payload has the field, which Discord calls optional.
        components=tuple(_texts(getattr(message, "components", ()))),
        poll=None if poll is None else ShownPoll(poll.question, tuple(answer.text for answer in poll.answers)),
        stickers=tuple(sticker.name for sticker in message.stickers),
        files=tuple(_file(file, message.flags.voice) for file in message.attachments),
        forwarded=tuple(shown_of(snapshot) for snapshot in forwarded),
    )


def _embed(embed: discord.Embed) -> ShownEmbed:
    return ShownEmbed(
        author=embed.author.name or "",
        title=embed.title or "",
        description=embed.description or "",
        fields=tuple((field.name or "", field.value or "") for field in embed.fields),
        footer=embed.footer.text or "",
    )


def _file(file: discord.Attachment, voice: bool) -> ShownFile:
    return ShownFile(file.filename, file.description or "", voice, file.duration if voice else None)


def _texts(components: Iterable[discord.Component]) -> Iterator[str]:
    """Yield the texts of components in the order in which they are shown."""
    for component in components:
        if isinstance(component, discord.TextDisplay):
            yield component.content
        elif isinstance(component, discord.Container | discord.SectionComponent):
            yield from _texts(component.children)
        elif isinstance(component, discord.MediaGalleryComponent):
            yield from (item.description for item in component.items if item.description)
