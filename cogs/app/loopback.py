"""Discord only: the bot on a loopback Discord, for tests and benchmarks: ``python -m cogs.app.loopback run``.

``LOOPBACK_URL`` names the server. The product itself has no setting for this: a bot that can be pointed elsewhere hands
its token to whoever can change a setting.
"""

from __future__ import annotations

import os
import sys

import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route


def main() -> None:
    """Start ``bot.py`` with this process's arguments."""
    url = os.environ["LOOPBACK_URL"]
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url.replace("http", "ws", 1) + "/gateway-socket")
    Route.BASE = f"{url}/api/v10"
    sys.argv[0] = "bot.py"
    import bot

    bot.main()


if __name__ == "__main__":
    main()
