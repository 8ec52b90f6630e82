"""What the tests in a browser share: one browser, and a shop at work with its dashboard on a port of this machine.

Guarantees: without the browser a test is skipped loudly, and fails where AMENDS_REQUIRE_SERVICES is set; what a page
logs as an error, and what it asks of anybody but the dashboard, fails the test.
Must not: leave a process behind.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright
from running import Running, running

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
UNPACKED = Path(__file__).parents[2] / ".services" / "root" / "usr" / "bin"
PATIENCE_MILLISECONDS = 8_000


def program() -> str:
    """The browser; without one the test is not run, and that is said."""
    places = f"{UNPACKED}{os.pathsep}{os.environ.get('PATH', '')}"
    found = next((found for name in PROGRAMS if (found := shutil.which(name, path=places))), None)
    if found is not None:
        return found
    told = "`chromium` is not on this machine: run `make services-install`, or install the package chromium"
    if os.environ.get("AMENDS_REQUIRE_SERVICES"):
        pytest.fail(f"AMENDS_REQUIRE_SERVICES is set, and {told}", pytrace=False)
    pytest.skip(f"NOT TESTED: {told}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One for all tests."""
    found = program()
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"])
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
