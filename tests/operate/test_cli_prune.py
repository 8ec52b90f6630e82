"""`amends prune`: what it forgets, what it keeps, and what it says."""

from __future__ import annotations

import asyncio
import sqlite3
from uuid import UUID

import asyncpg
import pytest
from shop_floor import TEA, Floor

from amends import Orchestrator
from amends.errors import DefinitionError
from amends.operate.cli.prune import Progress
from amends.operate.operations import operations
from amends.operate.values import Pruned

ORDERS = "--database=sqlite:///orders.db"
LEDGER = """

import {driver}


@step
{form} book(order: Order, tx: {driver}.Connection) -> None: ...


@book.compensation
{form} unbook(tx: {driver}.Connection) -> None: ...


ledger = Orchestrator({database!r}, sagas=[Saga("ledger", book, input=Order)])
"""


def ids(floor: Floor, *database: str) -> list[str]:
    """What is there."""
    return [saga["id"] for saga in floor.ok("list", *(database or (ORDERS,)), "--json").data["sagas"]]


def older(saga: bytes, days: float) -> bytes:
    """An internal id that was made some days before: it begins with when that was."""
    return (int.from_bytes(saga[:6], "big") - int(days * 86_400_000)).to_bytes(6, "big") + saga[6:]


def age(floor: Floor, days: float, *names: str, file: str = "orders.db") -> None:
    """Have sagas, and what their steps' transactions left, be of some days ago."""
    with sqlite3.connect(floor.directory / file, timeout=60) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for name in names:
            connection.execute("UPDATE amends_saga SET updated_at = updated_at - ? WHERE key = ?", (days * 86400, name))
            saga = connection.execute("SELECT id FROM amends_saga WHERE key = ?", (name,)).fetchone()[0]
            for table, column in (("saga", "id"), ("journal", "saga"), ("mail", "saga"), ("inbox", "saga")):
                if f"amends_{table}" in tables:
                    change = f"UPDATE amends_{table} SET {column} = ? WHERE {column} = ?"  # noqa: S608  # tables of ours
                    connection.execute(change, (older(saga, days), saga))
        if "amends_inbox" in tables:
            connection.execute("UPDATE amends_inbox SET at = at - ?", (days * 86400,))
    connection.close()


def rows(floor: Floor, table: str, file: str = "orders.db") -> int:
    """How many rows a table has."""
    with sqlite3.connect(floor.directory / file, timeout=60) as connection:
        count = int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608  # a table of ours
    connection.close()
    return count


def test_what_ended_long_ago_is_forgotten_and_the_rest_is_kept(floor: Floor) -> None:
    floor.order("order-1")
    floor.order("order-2", "declined")
    floor.order("order-3")
    floor.park("order-4")
    age(floor, 31, "order-1", "order-2", "order-4")

    would = floor.ok("prune", ORDERS, "--older-than=30d", "--dry-run")
    still = ids(floor)
    did = floor.ok("prune", ORDERS, "--older-than=30d")
    again = floor.ok("prune", ORDERS, "--older-than=30d", "--json").data

    assert would.out.startswith("2 sagas would be pruned, ended before ")
    assert set(still) == {"order-1", "order-2", "order-3", "order-4"}
    assert did.out.startswith("2 sagas pruned, ended before ")
    assert set(ids(floor)) == {"order-3", "order-4"}
    assert (again["pruned"], again["would_prune"], again["kept"]) == (0, None, 0)
    assert floor.amends("show", "order-1", ORDERS).code == 6


def test_a_pruned_id_is_free_for_a_new_saga(floor: Floor) -> None:
    floor.order("order-1")
    floor.ok("prune", ORDERS, "--older-than=0s")

    other = floor.order("order-1", "declined")

    assert other.code == 3, "the same id with another input is no conflict any more"


def test_no_more_go_than_the_limit_says_the_oldest_first(floor: Floor) -> None:
    for number in range(5):
        floor.order(f"order-{number}")

    data = floor.ok("prune", ORDERS, "--older-than=0s", "--limit=3", "--batch=2", "--json").data

    assert data["pruned"] == 3
    assert ids(floor) == ["order-4", "order-3"]


@pytest.mark.parametrize("span", ["30", "d", "-1d", "1y", "1 d", "", "1e9s", "nan"])
def test_a_span_without_a_unit_that_is_meant_is_refused(floor: Floor, span: str) -> None:
    result = floor.amends("prune", ORDERS, f"--older-than={span}")

    assert result.code == 2
    assert "such as 90s, 15m, 12h, 30d or 8w" in result.err


def test_there_is_no_default_for_how_long_ago(floor: Floor) -> None:
    assert floor.amends("prune", ORDERS).code == 2


@pytest.mark.parametrize("app", [[], ["--app=shop:ledger"]])
def test_what_steps_with_a_transaction_left_goes_with_their_saga_after_a_week(floor: Floor, app: list[str]) -> None:
    with (floor.directory / "shop.py").open("a") as source:
        source.write(LEDGER.format(driver="sqlite3", form="def", database="sqlite:///orders.db"))
    floor.ok("run", "shop:ledger", "ledger", TEA, "--id=booked-1")
    floor.order("order-1")

    early = floor.ok("prune", ORDERS, *app, "--older-than=0s")
    kept = (ids(floor), rows(floor, "amends_inbox"))
    age(floor, 8, "booked-1")
    late = floor.ok("prune", ORDERS, *app, "--older-than=0s", "--json").data

    assert "1 saga pruned" in early.out
    assert "1 saga kept for now: a step of theirs had a transaction less than 7 days ago" in early.out
    assert kept == (["booked-1"], 1)
    assert (late["pruned"], late["kept"]) == (1, 0)
    assert [rows(floor, table) for table in ("amends_inbox", "amends_saga", "amends_journal")] == [0, 0, 0]


def test_the_same_on_a_server(floor: Floor, postgres_url: str) -> None:
    with (floor.directory / "shop.py").open("a") as source:
        source.write(LEDGER.format(driver="asyncpg", form="async def", database=postgres_url))
    app = "--app=shop:ledger"
    floor.ok("db", "upgrade", app)
    floor.ok("run", "shop:ledger", "ledger", TEA, "--id=booked-1")

    async def age_it() -> None:
        connection = await asyncpg.connect(postgres_url)
        saga = await connection.fetchval("SELECT id FROM amends.saga")
        old = UUID(bytes=older(saga.bytes, 8))
        await connection.execute("UPDATE amends.saga SET updated_at = updated_at - 8 * 86400, id = $1", old)
        await connection.execute("UPDATE amends.journal SET saga = $1", old)
        await connection.execute("UPDATE amends.inbox SET at = at - 8 * 86400, saga = $1", old)
        await connection.close()

    async def left() -> list[int]:
        connection = await asyncpg.connect(postgres_url)
        counts = [
            await connection.fetchval("SELECT count(*) FROM amends.saga"),
            await connection.fetchval("SELECT count(*) FROM amends.journal"),
            await connection.fetchval("SELECT count(*) FROM amends.inbox"),
        ]
        await connection.close()
        return counts

    early = floor.ok("prune", app, "--older-than=0s", "--json").data
    there = asyncio.run(left())
    asyncio.run(age_it())
    would = floor.ok("prune", app, "--older-than=7d", "--dry-run", "--json").data
    late = floor.ok("prune", f"--database={postgres_url}", "--older-than=7d", "--json").data

    assert (early["pruned"], early["kept"]) == (0, 1)
    assert (there[0], there[2]) == (1, 1)
    assert (would["pruned"], would["would_prune"]) == (0, 1)
    assert (late["pruned"], late["kept"]) == (1, 0)
    assert asyncio.run(left()) == [0, 0, 0]


def test_a_file_without_an_inbox_gets_none_by_being_pruned(floor: Floor) -> None:
    floor.order("order-1")

    floor.ok("prune", ORDERS, "--older-than=0s")

    with sqlite3.connect(floor.directory / "orders.db") as connection:
        found = connection.execute("SELECT name FROM sqlite_master WHERE name = 'amends_inbox'").fetchall()
    connection.close()
    assert found == []


def test_who_is_interrupted_hears_how_far_it_was(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        floor.order(f"order-{number}")

    def stop(self: Progress, found: Pruned) -> None:
        self.pruned = found.pruned
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Progress, "told", stop)
        result = floor.amends("prune", ORDERS, "--older-than=0s", "--batch=2")

    assert result.code == 130
    assert "Interrupted: 2 sagas pruned; the same command goes on." in result.err
    assert ids(floor) == ["order-3", "order-2"]
    assert floor.ok("prune", ORDERS, "--older-than=0s", "--json").data["pruned"] == 2


@pytest.mark.parametrize("span", [-1.0, float("nan"), float("inf")])
def test_a_program_cannot_ask_for_a_span_that_is_none(floor: Floor, span: float) -> None:
    async def main() -> None:
        async with operations(Orchestrator("sqlite:///orders.db", sagas=())) as found:
            await found.prune(older_than=span)

    floor.ok("db", "upgrade", ORDERS)
    with pytest.raises(DefinitionError, match="older_than="):
        asyncio.run(main())
