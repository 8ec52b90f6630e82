"""What the tests in a browser share: one browser, and a shop at work with its dashboard on a port of this machine.

Guarantees: without the browser a test is skipped loudly, and fails where AMENDS_REQUIRE_SERVICES is set; what a page
logs as an error, and what it asks of anybody but the dashboard, fails the test. A test of this directory runs in the
browser's thread, its fixtures where they always do.
Must not: leave a process behind.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from browser_desk import BROWSING, Desk
from playwright.sync_api import Browser, Playwright, sync_playwright
from running import Running, running

import services.browser
from servers import need


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    """Run a test of this directory in the browser's thread."""
    given = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    BROWSING.submit(pyfuncitem.obj, **given).result()
    return True


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One for all tests."""
    need(lambda: services.browser.browser().program)
    playwright = BROWSING.submit(sync_playwright().start).result()
    made = BROWSING.submit(_open, playwright).result()
    yield made
    BROWSING.submit(made.close).result()
    BROWSING.submit(playwright.stop).result()


def _open(playwright: Playwright) -> Browser:
    found = services.browser.browser()
    return playwright.chromium.launch(
        executable_path=found.program,
        env={**os.environ, **found.environment},
        args=["--no-sandbox", "--disable-dev-shm-usage"],
    )


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
    BROWSING.submit(desk.close).result()


@pytest.fixture
def act(browser: Browser, fresh: Running) -> Iterator[Desk]:
    """Pages of the empty one."""
    desk = Desk(browser, fresh)
    yield desk
    BROWSING.submit(desk.close).result()
