"""A loopback Discord: REST v10 and the gateway on aiohttp, to which the real bot connects with the real discord.py."""

from tests.discord_server.calls import Call
from tests.discord_server.server import DiscordServer
from tests.discord_server.world import Channel, Guild, Person, World

__all__ = ["Call", "Channel", "DiscordServer", "Guild", "Person", "World"]
