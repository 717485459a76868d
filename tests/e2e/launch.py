"""Starts the product's own entry point with discord.py pointed at the loopback server that LOOPBACK_URL names."""

import os
import sys
from pathlib import Path

import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(os.environ["LOOPBACK_URL"].replace("http", "ws", 1) + "/gateway-socket")
Route.BASE = os.environ["LOOPBACK_URL"] + "/api/v10"
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.argv = ["bot.py", *sys.argv[1:]]

import bot  # noqa: E402

bot.main()
