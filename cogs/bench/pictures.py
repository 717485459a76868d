"""The pictures of the README, made from the sample server: the console as SVG, the page as PNG out of a real Chromium.

``python -m cogs.bench.pictures OUT``. The page needs Playwright, which is a package for development, and a Chromium.
"""

from __future__ import annotations

import asyncio
import io
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from cogs.chat.service import build_chat
from cogs.imports.importing import import_files
from cogs.memory.access.guild_view_files import exports_in, load_guild_views, save_guild_view_of
from cogs.memory.service import MemoryService
from cogs.shell.console_commands import ConsoleCommands
from cogs.web.context import WebContext
from cogs.web.directory import GuildViewDirectory
from cogs.web.gate import Gate, Person
from cogs.web.server import serving
from cogs.web.site import build_site
from config.settings import PROJECT_DIR, Settings

SAMPLE = PROJECT_DIR / "data" / "sample"
QUESTION = "where does Nadia live"
TYPED = {
    "recall": [f"/recall {QUESTION} limit:3"],
    "around": [f"/recall {QUESTION} limit:1", "/around 1"],
    "catchup": ["/catchup 30 days ago"],
}
"""What is typed for each picture of the console; the last answer is kept."""
WIDTH = 110
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-sync"]


async def draw(out: Path) -> None:
    """Write every picture into a folder that exists."""
    with tempfile.TemporaryDirectory() as name:
        settings = Settings(_env_file=None, data_dir=Path(name))  # type: ignore[call-arg]
        service = await MemoryService.open(settings)
        try:
            await service.start()
            await import_files(service, exports_in(SAMPLE))
            save_guild_view_of(SAMPLE, settings.data_dir)
            await service.drain()
            await _console(service, settings, out)
            await _page(service, settings, out)
        finally:
            await service.close()


async def _console(service: MemoryService, settings: Settings, out: Path) -> None:
    (view,) = load_guild_views(settings.data_dir).values()
    for name, lines in TYPED.items():
        commands = ConsoleCommands(service, build_chat(settings, service), view)
        console = Console(record=True, width=WIDTH, file=io.StringIO())
        for line in lines:
            console.print(Text(commands.prompt(), style="bold cyan") + Text(line, style="bold"))
            async for answer in commands.handle(line):
                console.print(Text(answer))
        await asyncio.to_thread(console.save_svg, str(out / f"{name}.svg"), title="Mneme")


async def _page(service: MemoryService, settings: Settings, out: Path) -> None:
    from playwright.async_api import async_playwright

    views = load_guild_views(settings.data_dir)
    (view,) = views.values()
    context = WebContext(service, Gate(bytes(32)), GuildViewDirectory(service, views))
    link = context.gate.link(Person(view.id, view.owner_id))
    async with serving(build_site(context), "127.0.0.1:0") as base, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = await browser.new_page(viewport={"width": 1100, "height": 760})
        await page.goto(f"{base}/enter?link={link}")
        await page.get_by_role("button", name="Sign in").click()
        await page.goto(f"{base}/recall")
        await page.get_by_label("Question").fill(QUESTION)
        await page.get_by_role("button", name="Recall").click()
        await page.wait_for_selector("text=Time of each stage")
        await page.screenshot(path=out / "page-recall.png")
        await page.goto(base)
        await page.screenshot(path=out / "page-overview.png")
        await browser.close()


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "data/pictures")
    folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(draw(folder))
