"""Choreographed sagas over HTTP: at the home that `at=` names, beside those of an orchestrator."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from web_scene import SAGAS, TOKENS, access, client_of

from amends import Orchestrator, Participant, Retry, Saga, Service, pivot
from amends.operate.web.app import web
from amends.operate.web.desks import Desks, Source


@dataclass(frozen=True)
class Ask:
    sku: str


orders, inventory = Service("orders"), Service("inventory")
reserve_stock = inventory.command("reserve-stock", Ask, compensation=False, reply=str)


@reserve_stock.request(retry=Retry(attempts=1))
def ask_for_stock(order: Ask) -> Ask:
    return order


buy = Saga("buy", pivot(ask_for_stock), input=Ask)


@asynccontextmanager
async def asked(
    path: Path, source: Source = None, *, alone: bool = False, orders_made: Sequence[str] = ("order-1",)
) -> AsyncGenerator[httpx.AsyncClient, None]:
    """A client of a dashboard that shows the home of one order, or of some."""
    desk = Participant(orders, database=f"sqlite:///{path}", sagas=[buy])
    async with desk:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for id_ in orders_made:
                desk.start(buy, Ask("tea"), within=connection, id=id_)
            connection.execute("COMMIT")
        app = web(Desks(desk) if alone else Desks(source, [desk]), access=access())
        async with client_of(app) as client:
            client.headers["authorization"] = f"Bearer {TOKENS['admin']}"
            yield client


def test_the_sagas_of_a_home_are_read_beside_those_of_an_orchestrator(tmp_path: Path) -> None:
    orchestrator = Orchestrator("memory://", sagas=SAGAS)

    async def main() -> None:
        async with orchestrator, asked(tmp_path / "orders.db", orchestrator) as client:
            me = (await client.get("/api/v1/me")).json()
            here = (await client.get("/api/v1/sagas")).json()
            there = (await client.get("/api/v1/sagas?at=orders")).json()

        assert (me["places"], here["sagas"]) == (["orders"], [])
        assert [(saga["id"], saga["home"]) for saga in there["sagas"]] == [("order-1", "orders")]

    asyncio.run(main())


def test_the_pages_of_a_home_meet(tmp_path: Path) -> None:
    made = ("order-1", "order-2", "order-3")

    async def main() -> None:
        async with asked(tmp_path / "orders.db", alone=True, orders_made=made) as client:
            page = (await client.get("/api/v1/sagas?limit=1")).json()
            seen = [saga["id"] for saga in page["sagas"]]
            while page["more"]:
                page = (await client.get("/api/v1/sagas", params={"limit": 1, "cursor": page["next"]})).json()
                seen += [saga["id"] for saga in page["sagas"]]

        assert sorted(seen) == list(made)

    asyncio.run(main())


def test_a_home_alone_is_what_is_meant_where_nothing_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        async with asked(tmp_path / "orders.db", alone=True) as client:
            get = client.get
            found = {
                path: (await get(f"/api/v1/{path}"))
                for path in ("sagas/order-1", "sagas/order-1/history", "sagas/order-1/flow", "plans", "stuck", "doctor")
            }
            unready = await get("/readyz")

        assert found["sagas/order-1"].json()["input"] == {"sku": "tea"}
        assert found["plans"].json()["plans"][0]["name"] == "buy"
        assert {path: one.status_code for path, one in found.items()} == dict.fromkeys(found, 200)
        assert [line["what"] for line in found["doctor"].json()["findings"]][-2:] == ["database", "outbox"]
        assert unready.status_code == 200

    asyncio.run(main())


def test_the_outbox_of_a_service_is_looked_at_and_an_admin_has_events_published_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "orders.db"
    again = {"since_seconds": 3600}

    async def main() -> None:
        orchestrator = Orchestrator("memory://", sagas=SAGAS)
        async with orchestrator, asked(path, orchestrator) as client:  # what starts an order is in the outbox
            waits = (await client.get("/api/v1/outbox?at=orders")).json()
            nothing = (await client.post("/api/v1/outbox/republish?at=orders", json=again)).json()
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("UPDATE amends_outbox SET settled = unixepoch()")
                connection.commit()
            was = (await client.get("/api/v1/outbox?at=orders")).json()
            told = (await client.post("/api/v1/outbox/republish?at=orders", json=again)).json()
            wide = await client.get("/api/v1/outbox")
            client.headers["authorization"] = f"Bearer {TOKENS['operator']}"
            refused = await client.post("/api/v1/outbox/republish?at=orders", json=again)
            still = (await client.get("/api/v1/outbox?at=orders")).json()

        assert (waits["service"], waits["database"], waits["unpublished"]) == ("orders", f"sqlite:///{path}", 1)
        assert (nothing["republished"], was["unpublished"], told["republished"], still["unpublished"]) == (0, 0, 1, 1)
        assert (wide.status_code, wide.json()["code"]) == (501, "not-here")
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")

    asyncio.run(main())

    assert "has the events of orders of the last 3600 s published again: 1" in caplog.text


def test_what_a_choreographed_saga_does_not_take_is_refused_in_words(tmp_path: Path) -> None:
    async def main() -> None:
        async with asked(tmp_path / "orders.db", alone=True) as client:
            post = client.post
            signal = await post("/api/v1/sagas/order-1/signal", json={"name": "x", "value": 1})
            start = await post("/api/v1/sagas", json={"saga": "buy", "input": {"sku": "tea"}})
            bulk = await post("/api/v1/bulks/plan", json={"verb": "unpark"})

        assert [one.json()["code"] for one in (signal, start, bulk)] == ["refused", "refused", "not-here"]

    asyncio.run(main())
