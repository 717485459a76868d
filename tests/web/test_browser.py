"""The page in a real Chromium: sign-in, every page as two members, hostile texts, no error, no other host, accessible.

``make test`` leaves this file out where no Chromium is installed and says so; ``.ci/run`` installs one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, Request, async_playwright

from cogs.web.gate import Person
from cogs.web.server import serving
from tests.web.building import CODE, KEY, MEMBER, OWNER, Site, running_site
from tests.web.chromium import CHROMIUM, FLAGS

pytestmark = pytest.mark.browser
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}


class Watched:
    """A page, with what it asked for and what went wrong on it."""

    def __init__(self, page: Page, base: str) -> None:
        self.page = page
        self.base = base
        self.elsewhere: list[str] = []
        self.errors: list[str] = []
        page.on("request", self._asked)
        page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: self.errors.append(f"a dialog: {dialog.message}"))

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(self.base):
            self.elsewhere.append(request.url)

    async def text(self) -> str:
        """Return what a person reads."""
        return await self.page.inner_text("body")

    async def open(self, path: str) -> None:
        """Open a page, and check that everybody can use it."""
        await self.page.goto(self.base + path)
        await self.accessible()

    async def accessible(self) -> None:
        """Check the page with axe."""
        found = await Axe().run(self.page, options=RULES)
        broken = [f"{v['id']}: {[node['html'] for node in v['nodes']]}" for v in found.response["violations"]]
        assert broken == []


@asynccontextmanager
async def chromium(site: Site, person: Person, **options: object) -> AsyncIterator[Watched]:
    """Yield a page of a fresh browser, signed in by the link as a person would be."""
    async with serving(site.app, "127.0.0.1:0") as base, async_playwright() as playwright:
        assert CHROMIUM is not None
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = await browser.new_context(**options)  # type: ignore[arg-type]  # Playwright's own options
        # axe is put into the page by the test, which the page's own policy would refuse; the policy is tested beside.
        page = await context.new_page()
        watched = Watched(page, base)
        await page.goto(f"{base}/enter?link={site.context.gate.link(person)}")
        await page.get_by_role("button", name="Sign in").click()
        await page.wait_for_url(f"{base}/")
        yield watched
        await browser.close()
        assert watched.elsewhere == []
        assert watched.errors == []


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running_site(tmp_path, profile="cpu") as site:
        yield site


async def test_an_owner_uses_every_page_by_keyboard_and_pointer(site: Site) -> None:
    async with chromium(site, OWNER, color_scheme="dark", viewport={"width": 390, "height": 844}) as watched:
        page = watched.page
        await watched.accessible()
        for path in ("/mine", "/judged", "/manage"):
            await watched.open(path)
        await watched.open("/recall")
        await page.get_by_label("Question").focus()
        await page.keyboard.type("what is the code of the safe?")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("text=Hits, in the order of")
        assert CODE in await watched.text()
        await page.get_by_label("Hit 1 is right").click()
        await page.wait_for_selector("text=Noted: right")
        await watched.accessible()
        width = await page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, "a telephone must not have to scroll sideways"
        await page.get_by_role("button", name="Sign out").click()
        await page.wait_for_url("**/enter")


async def test_a_member_sees_hostile_texts_harmless_and_nothing_of_the_closed_channel(site: Site) -> None:
    async with chromium(site, MEMBER) as watched:
        page = watched.page
        for question in ("script alert evil", "where is the key?", "code of the safe"):
            await page.goto(watched.base + "/recall")
            await page.get_by_label("Question").fill(question)
            await page.get_by_role("button", name="Recall").click()
            await page.wait_for_selector("text=Time of each stage")
            said = await watched.text()
            assert "4711" not in said
            if question.startswith("script"):
                assert "<script>alert(1)</script>" in said
                assert await page.locator("main script, main img, main b").count() == 0
            if "key" in question:
                assert KEY in said
        await watched.accessible()
