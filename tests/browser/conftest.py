"""What the tests in a browser share: one browser, and a shop at work with its dashboard on a port of this machine.

Guarantees: without the browser a test is skipped loudly, and fails where AMENDS_REQUIRE_SERVICES is set; what a page
logs as an error, and what it asks of anybody but the dashboard, fails the test.
Must not: leave a process behind.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from browser_desk import Desk
from playwright.sync_api import Browser, sync_playwright
from running import Running, running

import services.browser
from servers import need


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
