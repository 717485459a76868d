"""What an import did, and what it did not do and why."""

from __future__ import annotations

from dataclasses import dataclass, field

from cogs.imports.sources import NotImported
from cogs.memory.records import JsonObject
from cogs.memory.text.sanitize import one_line

LISTED = 20
"""Files that are named to a person; the rest is counted."""

KEPT = 1000


@dataclass(slots=True)
class ImportReport:
    """What an import did. ``imported`` counts messages new or changed; ``left_out`` system and empty ones."""

    files: int = 0
    guilds: dict[int, str] = field(default_factory=dict)
    channels: set[int] = field(default_factory=set)
    messages: int = 0
    imported: int = 0
    left_out: int = 0
    seconds: float = 0.0
    not_imported: list[NotImported] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def unchanged(self) -> int:
        """Messages that were stored already, or that are not remembered (deleted, opted out, channel excluded)."""
        return self.messages - self.imported

    def refuse(self, name: str, sentence: str) -> None:
        """Note a file that was not imported; the sentence may begin with its name."""
        self.not_imported.append(NotImported(name, sentence.removeprefix(name).lstrip(" :")))

    def as_json(self) -> JsonObject:
        """Return the report for a program; ids as strings."""
        return {
            "files": self.files,
            "guilds": [str(guild) for guild in sorted(self.guilds)],
            "channels": [str(channel) for channel in sorted(self.channels)],
            "messages": self.messages,
            "imported": self.imported,
            "unchanged": self.unchanged,
            "left_out": self.left_out,
            "not_imported": [{"file": each.name, "why": each.why} for each in self.not_imported[:KEPT]],
            "not_imported_count": len(self.not_imported),
            "warnings": self.warnings[:KEPT],
            "seconds": round(self.seconds, 3),
        }

    def sentence(self) -> str:
        """Return the report for a person, in one sentence."""
        where = " and ".join(one_line(name) for name in self.guilds.values()) or "no server"
        channels = f"{len(self.channels):,} channel" + ("" if len(self.channels) == 1 else "s")
        told = f"Imported {self.imported:,} of {self.messages:,} messages from {channels} of {where}"
        rest = [
            f"{self.unchanged:,} were there already or are not remembered" if self.unchanged else "",
            f"{self.left_out:,} system or empty messages were left out" if self.left_out else "",
        ]
        return "; ".join([told, *(part for part in rest if part)]) + "."

    def lines(self) -> list[str]:
        """Return the report for a person, with every file that was not imported."""
        lines = [self.sentence() if self.files else "Nothing was imported."]
        lines += self.warnings[:LISTED]
        if len(self.warnings) > LISTED:
            lines.append(f"and {len(self.warnings) - LISTED:,} more warnings (--json tells all).")
        if self.not_imported:
            count = len(self.not_imported)
            lines.append(f"{count:,} {'file was' if count == 1 else 'files were'} not imported:")
            lines += [f"  {each.name} {each.why}" for each in self.not_imported[:LISTED]]
        if len(self.not_imported) > LISTED:
            lines.append(f"  and {len(self.not_imported) - LISTED:,} more (--json names them).")
        return lines
