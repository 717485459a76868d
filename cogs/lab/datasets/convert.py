"""Every public set that lies in a folder, and generated chats, as folders that ``evaluate`` and ``train`` read."""

from __future__ import annotations

from pathlib import Path

from cogs.lab.datasets.conversations import write_folder
from cogs.lab.datasets.generate_chats import generate_chats
from cogs.lab.datasets.generate_phrases import phrase_chats
from cogs.lab.datasets.multilingual import multilingual_sets
from cogs.lab.datasets.sources import SOURCES, Part, answered, followed_up, friendsqa, joined
from cogs.memory.errors import BadRequest


def convert(root: Path, destination: Path) -> dict[str, tuple[int, int]]:
    """Convert every source found under ``root`` to ``destination/NAME-PART``; return turns and questions of each.

    The sets in other languages come too, those for development joined to channels of a server's length. Beside them
    come further development sets: ``chat-dev`` (generated group chats), ``chat-followup-dev`` (its questions asked
    as people go on from a turn), ``friendsqa-long-dev`` (scenes joined to channels of a server's length) and
    ``multichat-dev`` (group chats in thirteen languages, a question's category being its language).

    Raises:
        BadRequest: no source is there.
    """
    counts: dict[str, tuple[int, int]] = {}
    found = [name for name in SOURCES if (root / name).is_dir()]
    if not found:
        raise BadRequest(f"{root} holds none of {', '.join(SOURCES)}; name the folder that does.")
    parts: tuple[Part, ...] = ("train", "dev")
    for name in found:
        for part in parts:
            counts[f"{name}-{part}"] = write_folder(destination / f"{name}-{part}", SOURCES[name](root, part))
    for part in parts:
        for name, conversations in multilingual_sets(root, part):
            whole = joined(conversations) if part == "dev" else conversations
            counts[f"{name}-{part}"] = write_folder(destination / f"{name}-{part}", whole)
    chats = list(generate_chats(40, "dev", 1))
    counts["chat-dev"] = write_folder(destination / "chat-dev", chats)
    counts["chat-followup-dev"] = write_folder(destination / "chat-followup-dev", followed_up(chats))
    counts["multichat-dev"] = write_folder(
        destination / "multichat-dev", (answered(told.conversation) for told in phrase_chats(2, "dev"))
    )
    if "friendsqa" in found:
        long = joined(friendsqa(root, "dev"))
        counts["friendsqa-long-dev"] = write_folder(destination / "friendsqa-long-dev", long)
    return counts
