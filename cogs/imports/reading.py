"""What a file is, by how it begins, and who reads it; or a true sentence why it cannot be imported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from cogs.imports.chat_exporter import ExportFile
from cogs.imports.discord_messages import MessageList
from cogs.imports.errors import BadExport
from cogs.imports.export import Export
from cogs.imports.sources import Source
from cogs.memory.records import ChannelInfo

AS_JSON: Final = "export it again as JSON (DiscordChatExporter -f Json)"
_HEAD: Final = 4096
_PACKED: Final = {b"\x1f\x8b": "gzip", b"7z\xbc\xaf": "7-Zip", b"Rar!": "RAR", b"\xfd7zX": "xz", b"BZh": "bzip2"}
_CSV: Final = re.compile(rb'\s*"?AuthorID"?,"?Author"?,"?Date"?,', re.IGNORECASE)


def open_export(source: Source, known: Mapping[int, ChannelInfo], guild_id: int | None) -> Export | None:
    """Return the reader of a file, or ``None`` for one that lies among exports and is none.

    Args:
        source: The file.
        known: The channels that the memory knows, by id, for lists of messages that name no server.
        guild_id: The server of such lists, where somebody said it.

    Raises:
        BadExport: it is nothing that can be imported.
    """
    try:
        with source.open() as stream:
            head = stream.read(_HEAD)
    except OSError as error:
        raise BadExport(f"{source.name} cannot be read: {error.strerror or type(error).__name__}.") from error
    told = _other_format(head, source)
    if told is not None:
        raise BadExport(f"{source.name} {told}")
    if source.path.suffix.lower() != ".json" and not source.named:
        return None  # a README, a table: nobody said that it is an export
    if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"[":
        return MessageList(source, known, guild_id)
    return ExportFile(source)


def _other_format(head: bytes, source: Source) -> str | None:
    """Return what a file is that is no JSON, as the rest of a sentence, or ``None``."""
    suffix = source.path.suffix.lower()
    exported = source.named or suffix == ".json"
    if not head.strip():
        return "is empty." if exported else None
    for magic, name in _PACKED.items():
        if head.startswith(magic):
            return f"is packed with {name}; unpack it first, or pack it as a .zip."
    if head[:2] in (b"\xff\xfe", b"\xfe\xff") or head[1:2] == b"\x00" or head[:1] == b"\x00":
        return "is UTF-16 text, and exports are UTF-8; save it as UTF-8, or export it again." if exported else None
    begin = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if begin[:1] == b"<" and (exported or b"chatlog" in head or b"DiscordChatExporter" in head or b"preamble" in head):
        return f"is an HTML export, which is made for reading; {AS_JSON}."
    if _CSV.match(begin) or (exported and suffix == ".csv"):
        return f"is a CSV export, which leaves out what the memory needs; {AS_JSON}."
    if (begin.startswith(b"=====") and b"Guild:" in head) or (exported and suffix == ".txt" and begin[:1] not in b"{["):
        return f"is a text export, which leaves out what the memory needs; {AS_JSON}."
    return None
