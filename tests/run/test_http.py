"""An endpoint with an idempotency key has the barrier: each key has its effect once, on PostgreSQL and SQLite."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import Depends, FastAPI

from amends import Context, Park, Participant, Reject, Retry, Service
from amends.errors import AmendsError
from amends.http import Once, accepted, idempotency


@dataclass(frozen=True)
class Charge:
    cents: int


@dataclass(frozen=True)
class Charged:
    receipt: str


payment = Service("payment")
charge = payment.command("charge", Charge, reply=Charged)


def served(participant: Participant) -> FastAPI:
    """The team's web application."""
    web = FastAPI()
    once: Any = Depends(idempotency(participant))

    @web.post("/charges")
    async def post(body: Charge, asked: Once = once) -> Any:
        return await asked(charge, body)

    @web.post("/charges/undo")
    async def undo(asked: Once = once) -> Any:
        return await asked.undo(charge)

    return web


@dataclass
class Shop:
    """A client of the application, and the ledger behind it."""

    client: httpx.AsyncClient
    ledger: Callable[[], Any]
    calls: list[str]

    async def charge(self, key: str | None, cents: int = 100) -> httpx.Response:
        """Ask for a charge."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return await self.client.post("/charges", json={"cents": cents}, headers=headers)

    async def undo(self, key: str, **headers: str) -> httpx.Response:
        """Ask for its undo."""
        return await self.client.post("/charges/undo", headers={"Idempotency-Key": key, **headers})


def misbehave(cents: int) -> None:
    """What some amounts lead to."""
    if cents == 13:
        raise Reject("unlucky")
    if cents == 14:
        raise Retry.after(7)
    if cents == 15:
        raise Park("a person must look")
    if cents == 16:
        raise ValueError("broken")


@asynccontextmanager
async def on_postgres(url: str) -> AsyncIterator[Shop]:
    app, calls = Participant(payment, database=url, migrate=True), list[str]()

    @app.handles(charge)
    async def do(command: Charge, tx: asyncpg.Connection, ctx: Context) -> Charged:
        calls.append(ctx.saga_id)
        await tx.execute("INSERT INTO ledger VALUES ($1, $2)", ctx.saga_id, command.cents)
        misbehave(command.cents)
        return Charged(f"receipt {len(calls)}")

    @app.compensates(charge)
    async def undo(command: Charge, charged: Charged, tx: asyncpg.Connection, ctx: Context) -> None:
        await tx.execute("INSERT INTO ledger VALUES ($1, $2)", ctx.saga_id, -command.cents)

    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE ledger (key text, cents integer)")

    async def ledger() -> list[Any]:
        return [tuple(row) for row in await connection.fetch("SELECT key, cents FROM ledger")]

    transport = httpx.ASGITransport(app=served(app))
    async with app, httpx.AsyncClient(transport=transport, base_url="http://payment") as client:
        yield Shop(client, ledger, calls)
    await connection.close()


@asynccontextmanager
async def on_sqlite(path: Path) -> AsyncIterator[Shop]:
    app, calls = Participant(payment, database=f"sqlite:///{path}"), list[str]()

    @app.handles(charge)
    def do(command: Charge, tx: sqlite3.Connection, ctx: Context) -> Charged:
        calls.append(ctx.saga_id)
        tx.execute("INSERT INTO ledger VALUES (?, ?)", (ctx.saga_id, command.cents))
        misbehave(command.cents)
        return Charged(f"receipt {len(calls)}")

    @app.compensates(charge)
    def undo(command: Charge, charged: Charged, tx: sqlite3.Connection, ctx: Context) -> None:
        tx.execute("INSERT INTO ledger VALUES (?, ?)", (ctx.saga_id, -command.cents))

    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE ledger (key text, cents integer)")
    connection.commit()

    async def ledger() -> list[Any]:
        return connection.execute("SELECT key, cents FROM ledger").fetchall()

    transport = httpx.ASGITransport(app=served(app))
    async with app, httpx.AsyncClient(transport=transport, base_url="http://payment") as client:
        yield Shop(client, ledger, calls)
    connection.close()


Shops = Callable[[], Any]


@pytest.fixture(params=["postgresql", "sqlite"])
def shops(request: pytest.FixtureRequest, tmp_path: Path) -> Shops:
    if request.param == "sqlite":
        return lambda: on_sqlite(tmp_path / "payment.db")
    url = request.getfixturevalue("postgres_url")
    return lambda: on_postgres(url)


def test_a_key_has_its_effect_once_and_its_answer_every_time(shops: Shops) -> None:
    async def main() -> None:
        async with shops() as shop:
            first, again = await shop.charge("k"), await shop.charge("k")
            together = await asyncio.gather(*(shop.charge("m") for _ in range(10)))

            assert (first.status_code, first.json()) == (200, {"receipt": "receipt 1"})
            assert again.json() == first.json()
            assert {response.text for response in together} == {'{"receipt":"receipt 2"}'}
            assert await shop.ledger() == [("k", 100), ("m", 100)]

    asyncio.run(main())


def test_an_undo_that_comes_first_keeps_the_action_from_ever_being_done(shops: Shops) -> None:
    async def main() -> None:
        async with shops() as shop:
            undone, late = await shop.undo("k"), await shop.charge("k")

            assert (undone.status_code, undone.json()["outcome"]) == (200, "void")
            assert (late.status_code, late.json()["outcome"]) == (409, "fenced")
            assert shop.calls == []

    asyncio.run(main())


def test_what_was_done_is_undone_once(shops: Shops) -> None:
    async def main() -> None:
        async with shops() as shop:
            await shop.charge("k")
            undone = [await shop.undo("k", **{"Amends-Known": "succeeded"}) for _ in range(2)]
            missing = await shop.undo("other", **{"Amends-Known": "succeeded"})

            assert [response.headers["Amends-Outcome"] for response in undone] == ["compensated", "compensated"]
            assert (missing.status_code, missing.json()["outcome"]) == (409, "missing")
            assert await shop.ledger() == [("k", 100), ("k", -100)]

    asyncio.run(main())


def test_what_leaves_nothing_says_so_and_a_no_is_kept(shops: Shops) -> None:
    async def main() -> None:
        async with shops() as shop:
            unlucky, busy, person, broken = [await shop.charge(f"k{cents}", cents) for cents in (13, 14, 15, 16)]
            again = await shop.charge("k13", 13)

            assert (unlucky.status_code, unlucky.json()) == (422, {"outcome": "rejected", "reason": "unlucky"})
            assert again.json() == unlucky.json()
            assert (busy.status_code, busy.headers["Retry-After"]) == (503, "7")
            assert (person.status_code, person.headers["Amends-Park"]) == (500, "true")
            assert (broken.status_code, broken.headers["Retry-After"]) == (503, "1")
            assert await shop.ledger() == []
            assert shop.calls.count("k13") == 1

    asyncio.run(main())


def test_a_key_that_comes_with_another_request_is_refused(shops: Shops) -> None:
    async def main() -> None:
        async with shops() as shop:
            await shop.charge("k", 100)
            other = await shop.charge("k", 200)

            assert (other.status_code, other.json()["outcome"]) == (422, "refused")
            assert await shop.ledger() == [("k", 100)]

    asyncio.run(main())


@pytest.mark.parametrize("key", [None, "", '""', "x" * 201])
def test_a_request_without_a_key_that_can_be_kept_is_refused(key: str | None, tmp_path: Path) -> None:
    async def main() -> None:
        async with on_sqlite(tmp_path / "payment.db") as shop:
            refused = await shop.charge(key)

            assert refused.status_code == 400
            assert "Idempotency-Key" in refused.json()["detail"]

    asyncio.run(main())


def test_the_step_that_asks_gets_what_means_the_same_to_a_saga(tmp_path: Path) -> None:
    async def main() -> None:
        async with on_sqlite(tmp_path / "payment.db") as shop:
            assert accepted(await shop.charge("k")) == {"receipt": "receipt 1"}
            assert accepted(await shop.undo("k")) is None
            with pytest.raises(Reject, match="unlucky"):
                accepted(await shop.charge("k13", 13))
            with pytest.raises(type(Retry.after(7))):
                accepted(await shop.charge("k14", 14))
            with pytest.raises(Park, match="a person must look"):
                accepted(await shop.charge("k15", 15))
            with pytest.raises(Park, match="missing"):
                accepted(await shop.undo("none", **{"Amends-Known": "succeeded"}))
            with pytest.raises(AmendsError, match="fenced"):
                accepted(await shop.charge("k"))
            with pytest.raises(AmendsError, match="nobody knows"):
                accepted(httpx.Response(502, text="bad gateway"))

    asyncio.run(main())
