"""What is wrong with a file that cannot be imported."""

from __future__ import annotations

from cogs.memory.errors import BadRequest


class BadExport(BadRequest):
    """A file cannot be imported; the sentence names it and says why. It never repeats what people wrote."""
