"""Choreographed sagas on the same pages: at the home that `at=` names, and at a home alone."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from page_shop import HTML, words_of
from web_scene import SAGAS, TOKENS, access, client_of

from amends import Orchestrator, Participant, Retry, Saga, Service
from amends.operate.web.app import web
from amends.operate.web.desks import Desks


@dataclass(frozen=True)
class Ask:
    sku: str


orders, inventory = Service("orders"), Service("inventory")
reserve_stock = inventory.command("reserve-stock", Ask, reply=str)


@reserve_stock.request(retry=Retry(attempts=1))
def ask_for_stock(order: Ask) -> Ask:
    return order


buy = Saga("buy", ask_for_stock, input=Ask)


@asynccontextmanager
async def asked(path: Path, orchestrator: Orchestrator | None = None) -> AsyncGenerator[httpx.AsyncClient, None]:
    """A client of a dashboard that shows the home of one order, alone or beside an orchestrator."""
    desk = Participant(orders, database=f"sqlite:///{path}", sagas=[buy])
    async with desk:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            desk.start(buy, Ask("tea"), within=connection, id="order-1")
            connection.execute("COMMIT")
        app = web(Desks(desk) if orchestrator is None else Desks(orchestrator, [desk]), access=access())
        async with client_of(app) as client:
            client.headers["authorization"] = f"Bearer {TOKENS['admin']}"
            yield client


def test_a_home_stands_beside_the_orchestrated_sagas_and_links_stay_with_it(tmp_path: Path) -> None:
    orchestrator = Orchestrator("memory://", sagas=SAGAS)

    async def main() -> None:
        async with orchestrator, asked(tmp_path / "orders.db", orchestrator) as client:
            listed = await client.get("/sagas?at=orders", headers=HTML)
            first = await client.get("/?at=orders", headers=HTML)

        assert 'href="/sagas/order-1?at=orders"' in listed.text
        assert 'href="/sagas?at="' in listed.text
        assert (first.status_code, first.headers["location"]) == (303, "/sagas?at=orders")

    asyncio.run(main())


def test_what_a_home_has_not_is_not_offered_there(tmp_path: Path) -> None:
    orchestrator = Orchestrator("memory://", sagas=SAGAS)

    async def main() -> None:
        async with orchestrator, asked(tmp_path / "orders.db", orchestrator) as client:
            there, here = [await client.get(path, headers=HTML) for path in ("/sagas?at=orders", "/sagas")]
        async with asked(tmp_path / "alone.db") as client:
            alone = await client.get("/sagas", headers=HTML)

        assert 'data-place="bulk"' in here.text
        assert not re.search(r'data-place="bulk"|href="[^"]*/bulk|data-pick', there.text + alone.text)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/sagas", 200, "order-1"),
        ("/sagas/order-1", 200, "choreographed, home orders"),
        ("/sagas/order-1/act?verb=cancel", 200, "Cancel it"),
        ("/stuck", 200, "All is well"),
        ("/workers", 200, "None, and none is needed"),
        ("/definitions", 200, "buy"),
        ("/definitions/buy", 200, "ask_for_stock"),
        ("/definitions/sell", 404, "is called 'sell'"),
        ("/bulk", 501, "bulk operations are for orchestrated ones"),
    ],
)
def test_every_page_of_a_home_alone_says_what_its_home_knows(tmp_path: Path, path: str, status: int, says: str) -> None:
    async def main() -> httpx.Response:
        async with asked(tmp_path / "orders.db") as client:
            return await client.get(path, headers=HTML)

    found = asyncio.run(main())

    assert found.status_code == status, words_of(found)
    assert says in words_of(found)
