"""Choreographed sagas in a real browser, on the pages of the orchestrated ones."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from browser_desk import BROWSING, Desk
from playwright.sync_api import Browser
from running import running
from scene import Scene
from test_homes_over_http import Ask, buy, orders
from test_pages_in_a_browser import serious

from amends import Participant
from amends.operate.web.app import web
from amends.operate.web.desks import Desks


@pytest.fixture
def both(browser: Browser, tmp_path: Path) -> Iterator[Desk]:
    """Pages of a shop and of a home."""

    @asynccontextmanager
    async def beside(shop: Scene) -> AsyncGenerator[Scene, None]:
        path = tmp_path / "orders.db"
        async with Participant(orders, database=f"sqlite:///{path}", sagas=[buy]) as home:
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                home.start(buy, Ask("tea"), within=connection, id="tea-1")
                connection.execute("COMMIT")
            yield shop._replace(app=web(Desks(shop.orchestrator, [home]), access=shop.app.state.web.access))

    with running(full=False, beside=beside) as shop:
        desk = Desk(browser, shop)
        yield desk
        BROWSING.submit(desk.close).result()


def test_a_choreographed_saga_is_found_at_its_home_and_understood(both: Desk) -> None:
    page = both.open("/sagas")

    page.get_by_role("heading", name="No sagas yet").wait_for()
    page.get_by_role("link", name="orders", exact=True).click()
    page.get_by_role("link", name="tea-1").click()
    page.get_by_text("choreographed, home orders").wait_for()
    page.locator(".live[data-state=on]").wait_for()
    assert serious(page) == []
    page.goto(f"{both.shop.url}/sagas/tea-1/act?verb=cancel&at=orders")
    page.get_by_role("heading", name="What it will do").wait_for()
    assert serious(page) == []
    page.get_by_role("link", name="orchestrated").click()
    page.get_by_role("heading", name="No sagas yet").wait_for()
