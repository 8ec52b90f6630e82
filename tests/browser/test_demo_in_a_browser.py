"""The demo with a dashboard, as a newcomer sees it: what is parked is found, understood and repaired, one and then the
others, and the histories say by whom."""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_desk import BROWSING, Window
from playwright.sync_api import Browser, Page
from test_demo_by_hand import Visitor, begun

from amends.operate.demo.by_hand import HINTS
from amends.operate.demo.weather import SIBLINGS

LONG_MILLISECONDS = 60_000
REASON = "the certificate was renewed"


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Visitor]:
    with begun(tmp_path) as visitor:
        yield visitor


@pytest.fixture
def window(browser: Browser, demo: Visitor) -> Iterator[Window]:
    made = Window(browser, demo.origin)
    yield made
    BROWSING.submit(made.close).result()


def repair_one(page: Page) -> None:
    page.get_by_role("link", name=f"See these {SIBLINGS}").click()
    page.locator("tbody .id").first.click()
    assert "refuses our certificate" in page.locator("#stand").inner_text()
    page.locator("a.act", has_text="Try the undo of").first.click()
    page.locator("#reason").fill(REASON)
    page.get_by_role("button", name="Try again now").click()
    page.locator("h1 + .status", has_text="compensated").wait_for(timeout=LONG_MILLISECONDS)


def repair_the_others(page: Page) -> None:
    page.get_by_role("link", name="Overview").click()
    page.get_by_role("link", name="Repair", exact=True).click()
    page.get_by_role("button", name="See what it would do").click()
    page.locator("#reason").fill(REASON)
    page.get_by_role("button", name=f": {SIBLINGS - 1} sagas").click()
    page.locator("h1 + .status", has_text="done").wait_for(timeout=LONG_MILLISECONDS)


def test_whoever_follows_the_hints_finds_understands_and_repairs_all_of_it(window: Window, demo: Visitor) -> None:
    address = re.search(r"http\S+(/login/\S+)", "".join(demo.heard))
    assert address is not None
    page = window.page(address[1])
    shown = page.locator("main").inner_text()

    repair_one(page)
    repair_the_others(page)
    page.locator("tbody .id").first.click()

    page.locator("h1 + .status", has_text="compensated").wait_for(timeout=LONG_MILLISECONDS)
    assert all(hint in shown for hint in HINTS)
    history = page.locator(".story").inner_text()
    assert getpass.getuser() in history
    assert f"{REASON} (bulk" in history
