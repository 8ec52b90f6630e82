"""What the tests in a browser share: one browser, and a shop at work with its dashboard on a port of this machine.

Guarantees: without the browser a test is skipped loudly, and fails where AMENDS_REQUIRE_SERVICES is set; what a page
logs as an error, and what it asks of anybody but the dashboard, fails the test.
Must not: leave a process behind.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright
from running import Running, running

import services.browser
from servers import need

PATIENCE_MILLISECONDS = 8_000


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One for all tests."""
    need(lambda: services.browser.browser().program)
    found = services.browser.browser()
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=found.program,
            env={**os.environ, **found.environment},
            args=["--no-sandbox", "--disable-dev-shm-usage"],
        )
        yield made
        made.close()


@pytest.fixture(scope="session")
def shop() -> Iterator[Running]:
    """Filled with something of everything, for tests that only look."""
    with running(full=True) as made:
        yield made


@pytest.fixture
def fresh() -> Iterator[Running]:
    """An empty one, for tests that act."""
    with running(full=False) as made:
        yield made


class Desk:
    """Somebody before the pages of one shop."""

    def __init__(self, browser: Browser, shop: Running) -> None:
        self.shop = shop
        self._browser = browser
        self.contexts: list[BrowserContext] = []
        self.wrong: list[str] = []

    def open(self, path: str, who: str = "admin", *, script: bool = True, width: int = 1280, dark: bool = False):  # type: ignore[no-untyped-def]
        """A page, as somebody who is logged in sees it."""
        context = self._browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,
            reduced_motion="reduce",
        )
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        self.contexts.append(context)
        context.add_cookies([self.shop.cookie(who)])
        page = context.new_page()
        page.on("console", lambda said: said.type == "error" and self.wrong.append(f"{path}: {said.text}"))
        page.on("pageerror", lambda error: self.wrong.append(f"{path}: {error}"))
        page.on("request", lambda asked: self._see(path, asked.url))
        page.goto(self.shop.url + path)
        return page

    def _see(self, path: str, url: str) -> None:
        if not url.startswith(self.shop.url):
            self.wrong.append(f"{path}: asks {url}")

    def close(self) -> None:
        """Leave all pages; nothing may have gone wrong on them."""
        for context in self.contexts:
            context.close()
        assert not self.wrong, "\n".join(self.wrong)


@pytest.fixture
def look(browser: Browser, shop: Running) -> Iterator[Desk]:
    """Pages of the filled shop."""
    desk = Desk(browser, shop)
    yield desk
    desk.close()


@pytest.fixture
def act(browser: Browser, fresh: Running) -> Iterator[Desk]:
    """Pages of the empty one."""
    desk = Desk(browser, fresh)
    yield desk
    desk.close()
