"""A loopback Discord: REST v10 and the gateway on aiohttp, to which the real bot connects with the real discord.py."""

from cogs.bench.loopback_discord.calls import Call
from cogs.bench.loopback_discord.server import DiscordServer
from cogs.bench.loopback_discord.world import Channel, Guild, Person, World

__all__ = ["Call", "Channel", "DiscordServer", "Guild", "Person", "World"]
