"""Somebody before the pages of one shop, in a real browser.

Guarantees: what a page logs as an error, and what it asks of anybody but the dashboard, fails the test.
Must not: know what a page should show.
"""

from __future__ import annotations

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page
from running import Running

PATIENCE_MILLISECONDS = 20_000


class Desk:
    """Somebody before the pages of one shop."""

    def __init__(self, browser: Browser, shop: Running) -> None:
        self.shop = shop
        self._browser = browser
        self.contexts: list[BrowserContext] = []
        self.wrong: list[str] = []

    def open(
        self, path: str, who: str = "admin", *, script: bool = True, width: int = 1280, dark: bool = False
    ) -> Page:
        """A page, as somebody who is logged in sees it. who: empty for somebody who is not."""
        context = self._browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,
            reduced_motion="reduce",
        )
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        self.contexts.append(context)
        if who:
            context.add_cookies([self.shop.cookie(who)])
        page = context.new_page()
        page.on("console", lambda said: self._hear(path, said))
        page.on("pageerror", lambda error: self.wrong.append(f"{path}: {error}"))
        page.on("request", lambda asked: self._see(path, asked.url))
        page.goto(self.shop.url + path)
        return page

    def _hear(self, path: str, said: ConsoleMessage) -> None:
        if said.type == "error":
            self.wrong.append(f"{path}: {said.text}")

    def _see(self, path: str, url: str) -> None:
        if not url.startswith(self.shop.url):
            self.wrong.append(f"{path}: asks {url}")

    def close(self) -> None:
        """Leave all pages; nothing may have gone wrong on them."""
        for context in self.contexts:
            context.close()
        assert not self.wrong, "\n".join(self.wrong)
