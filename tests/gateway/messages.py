"""Messages as Discord's interface describes them, one of each thing that a message can show, as real objects."""

from __future__ import annotations

from typing import Any

import discord

GUILD_ID, CHANNEL_ID = 77, 78
STATE: Any = discord.Client(intents=discord.Intents.none())._connection
IMAGE = {
    "id": "6",
    "filename": "map.png",
    "size": 12,
    "url": "https://cdn.example/map.png",
    "proxy_url": "https://cdn.example/map.png",
    "content_type": "image/png",
    "description": "The way to the lighthouse",
}
EMBED = {
    "type": "rich",
    "author": {"name": "Weather service"},
    "title": "Frost warning",
    "description": "Minus two on Friday",
    "fields": [{"name": "Cover", "value": "tomatoes", "inline": True}],
    "footer": {"text": "issued at noon"},
}


def payload(**more: Any) -> dict[str, Any]:
    """Return a message of Discord's interface that says nothing but what is given."""
    author = {"id": "42", "username": "ada_l", "global_name": "Ada", "discriminator": "0", "avatar": None}
    return {
        "id": "1490000004194304000",
        "channel_id": str(CHANNEL_ID),
        "type": 0,
        "content": "",
        "author": author,
        "timestamp": "2026-04-04T10:00:00.120000+00:00",
        "edited_timestamp": None,
        "tts": False,
        "mention_everyone": False,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "pinned": False,
        "flags": 0,
        **more,
    }


def forwarding(**more: Any) -> dict[str, Any]:
    """Return a message that forwards another one."""
    inner = {
        "type": 0,
        "content": "",
        "attachments": [],
        "embeds": [],
        "timestamp": "2026-04-01T10:00:00+00:00",
        "edited_timestamp": None,
        "mentions": [],
        "mention_roles": [],
        "flags": 0,
    }
    reference = {"type": 1, "message_id": "5", "channel_id": "99", "guild_id": "98"}
    return payload(message_snapshots=[{"message": {**inner, **more}}], message_reference=reference)


VOICE_FILE = {**IMAGE, "filename": "voice-message.ogg", "content_type": "audio/ogg", "description": None}
POLL = {
    "question": {"text": "Which compost do we buy?"},
    "answers": [
        {"answer_id": 1, "poll_media": {"text": "Peat-free"}},
        {"answer_id": 2, "poll_media": {"text": "Mushroom"}},
    ],
    "expiry": "2026-04-05T10:00:00+00:00",
    "allow_multiselect": False,
    "layout_type": 1,
}
POLL_RESULT = {
    "type": "poll_result",
    "fields": [
        {"name": "poll_question_text", "value": "Which compost do we buy?", "inline": False},
        {"name": "victor_answer_votes", "value": "12", "inline": False},
        {"name": "total_votes", "value": "20", "inline": False},
        {"name": "victor_answer_id", "value": "1", "inline": False},
        {"name": "victor_answer_text", "value": "Peat-free", "inline": False},
    ],
}
SECTION = {
    "type": 9,
    "components": [{"type": 10, "content": "Doors open at seven"}],
    "accessory": {"type": 11, **{"media": {"url": "https://cdn.example/a.png"}}},
}
COMPONENTS = [{"type": 17, "components": [{"type": 10, "content": "# Seed swap"}, SECTION]}]

SHOWING: dict[str, tuple[dict[str, Any], list[str], int]] = {
    "a title alone": (payload(embeds=[{"type": "link", "title": "The tide tables"}]), ["The tide tables"], 0),
    "an embed": (
        payload(embeds=[EMBED]),
        ["Weather service", "Frost warning", "Minus two on Friday", "Cover: tomatoes", "issued at noon"],
        0,
    ),
    "a forwarded image": (forwarding(attachments=[IMAGE]), ["(map.png: The way to the lighthouse)"], 1),
    "a forwarded text with file and embed": (
        forwarding(content="The key hangs behind the can", attachments=[IMAGE], embeds=[EMBED]),
        [
            "The key hangs behind the can",
            "Weather service",
            "Frost warning",
            "Minus two on Friday",
            "Cover: tomatoes",
            "issued at noon",
            "(map.png: The way to the lighthouse)",
        ],
        1,
    ),
    "a poll": (payload(poll=POLL), ["Poll: Which compost do we buy?", "- Peat-free", "- Mushroom"], 0),
    "a poll's result": (
        payload(type=46, embeds=[POLL_RESULT]),
        ["Poll closed: Which compost do we buy? Peat-free (12 of 20 votes)"],
        0,
    ),
    "a sticker": (
        payload(sticker_items=[{"id": "9", "name": "Happy Tomato", "format_type": 1}]),
        ["(sticker: Happy Tomato)"],
        0,
    ),
    "a voice message": (
        payload(flags=1 << 13, attachments=[{**VOICE_FILE, "duration_secs": 72.4, "waveform": "AAAA"}]),
        ["(voice message, 1:12)"],
        1,
    ),
    "components": (payload(flags=1 << 15, components=COMPONENTS), ["# Seed swap", "Doors open at seven"], 0),
}
"""What is sent, the lines that are remembered beside its words, and how many files come with it."""


def received(data: dict[str, Any]) -> discord.Message:
    """Return the message as discord.py hands it to the gateway."""
    guild = discord.Guild(data={"id": str(GUILD_ID), "name": "Club", "owner_id": "1"}, state=STATE)  # type: ignore[typeddict-item]
    channel_data: Any = {"id": str(CHANNEL_ID), "type": 0, "name": "plans", "position": 0, "permission_overwrites": []}
    channel = discord.TextChannel(state=STATE, guild=guild, data=channel_data)
    return discord.Message(state=STATE, channel=channel, data=data)  # type: ignore[arg-type]
