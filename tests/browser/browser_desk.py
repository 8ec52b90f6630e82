"""Somebody before the pages of one dashboard, in a real browser.

Guarantees: what a page logs as an error, and what it asks of anybody but the dashboard, fails the test. All that asks
the browser is done in one thread of its own: Playwright keeps an event loop running where it was begun, and other
tests want to run theirs.
Must not: know what a page should show.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page
from running import Running

PATIENCE_MILLISECONDS = 20_000
BROWSING = ThreadPoolExecutor(1, thread_name_prefix="browser")


class Window:
    """Somebody before the pages of one dashboard."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.url = url
        self._browser = browser
        self.contexts: list[BrowserContext] = []
        self.wrong: list[str] = []

    def page(
        self, path: str, cookies: Sequence[Any] = (), *, script: bool = True, width: int = 1280, dark: bool = False
    ) -> Page:
        """One page, in a context of its own."""
        context = self._browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,
            reduced_motion="reduce",
        )
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        self.contexts.append(context)
        context.add_cookies(cookies)
        page = context.new_page()
        page.on("console", lambda said: self._hear(path, said))
        page.on("pageerror", lambda error: self.wrong.append(f"{path}: {error}"))
        page.on("request", lambda asked: self._see(path, asked.url))
        page.goto(self.url + path)
        return page

    def _hear(self, path: str, said: ConsoleMessage) -> None:
        if said.type == "error":
            self.wrong.append(f"{path}: {said.text}")

    def _see(self, path: str, url: str) -> None:
        if not url.startswith(self.url):
            self.wrong.append(f"{path}: asks {url}")

    def close(self) -> None:
        """Leave all pages; nothing may have gone wrong on them."""
        for context in self.contexts:
            context.close()
        assert not self.wrong, "\n".join(self.wrong)


class Desk(Window):
    """Somebody before the pages of one shop."""

    def __init__(self, browser: Browser, shop: Running) -> None:
        super().__init__(browser, shop.url)
        self.shop = shop

    def open(self, path: str, who: str = "admin", **how: Any) -> Page:
        """A page, as somebody who is logged in sees it. who: empty for somebody who is not."""
        return self.page(path, [self.shop.cookie(who)] if who else [], **how)
