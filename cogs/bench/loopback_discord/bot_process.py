"""The real bot as a process of its own, connected to a loopback Discord."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cogs.bench.loopback_discord.server import DiscordServer
from config.settings import PROJECT_DIR

STARTED = 120.0
SHARED_MODELS = PROJECT_DIR / "data" / "cache" / "models"
"""The exported embedder is shared by all of them: exporting it takes seconds, and it is keyed by its weights."""


@dataclass
class BotProcess:
    """A running bot; ``log`` is what it wrote to standard error so far."""

    process: asyncio.subprocess.Process
    log_file: Path

    @property
    def log(self) -> str:
        """Return what the bot has logged."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    async def terminate(self, seconds: float = 15.0) -> int:
        """Ask it to stop, and return its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), seconds)

    async def kill(self) -> None:
        """End it at once."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


async def launch(server: DiscordServer, folder: Path, **settings: str) -> BotProcess:
    """Start ``python bot.py run`` against the server, in an existing folder; it is not waited for."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MNEME_", "DISCORD_", "DATABASE_URL"))}
    environment |= {
        "LOOPBACK_URL": server.url,
        "DISCORD_TOKEN": server.token,
        "MNEME_DATA_DIR": str(folder / "data"),
        "MNEME_MODELS_DIR": str(SHARED_MODELS),
        "MNEME_PROFILE": "minimal",
        # A test asks again and again until something is found; that there are limits is a test of its own.
        **{f"MNEME_{what}_PER_MINUTE": "0" for what in ("COMMANDS", "REPLIES", "CHANNEL_REPLIES")},
        "PYTHONPATH": str(PROJECT_DIR),
        **settings,
    }
    log_file = folder / "bot.log"
    with log_file.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cogs.app.loopback", "run",
            stdout=log, stderr=log, env=environment, cwd=folder,
        )  # fmt: skip
    return BotProcess(process, log_file)


@asynccontextmanager
async def running_bot(server: DiscordServer, folder: Path, **settings: str) -> AsyncIterator[BotProcess]:
    """Yield a bot that is connected and has registered its commands; stop it afterwards."""
    before = server.rest.registrations
    await server.gateway.drop(forget=True)
    bot = await launch(server, folder, **settings)
    try:
        await server.until(
            lambda: (
                bot.process.returncode is not None
                or (server.gateway.ready.is_set() and server.rest.registrations > before)
            ),
            "a connected bot",
            STARTED,
        )
        assert bot.process.returncode is None, bot.log
        yield bot
    finally:
        try:
            await bot.terminate()
        except TimeoutError:
            await bot.kill()
