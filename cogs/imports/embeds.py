"""The embeds of a message, which the exporter and Discord's own interface write alike. Pure."""

from __future__ import annotations

from typing import Final

from cogs.imports.fields import Part, Several, Text
from cogs.memory.text.shown import ShownEmbed

MAX_PARTS: Final = 50
"""Attachments, embeds and the like kept of one message. Discord allows ten of each, twice where it forwards."""


class Named(Part):
    """Something of which only the name counts."""

    name: Text = ""


class _Footer(Part):
    text: Text = ""


class _Field(Part):
    name: Text = ""
    value: Text = ""


class Embed(Part):
    """An embed."""

    author: Named | None = None
    title: Text = ""
    description: Text = ""
    fields: Several[_Field] = ()
    footer: _Footer | None = None

    def shown(self) -> ShownEmbed:
        """Return its words."""
        return ShownEmbed(
            author="" if self.author is None else self.author.name,
            title=self.title,
            description=self.description,
            fields=tuple((field.name, field.value) for field in self.fields[:MAX_PARTS]),
            footer="" if self.footer is None else self.footer.text,
        )
