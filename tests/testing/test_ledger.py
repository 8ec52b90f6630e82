"""The money checker: every law has a ledger that breaks it, and one that does not."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest

from amends import Context, Orchestrator, Park, Reject, Saga, for_each, pivot, step
from amends.testing.ledger import Entry, Said, Trouble, check, entries, sagas_in

CHARGED = Entry("s1", "charge", "do", 500)
REFUNDED = Entry("s1", "charge", "undo", -500)
HELD = Entry("s1", "hold", "do")
LET_GO = Entry("s1", "hold", "undo")
COMPLETED = Said("s1", "completed", frozenset({"charge", "hold"}))
COMPENSATED = Said("s1", "compensated")


@pytest.mark.parametrize(
    ("ledger", "said"),
    [
        ([HELD, CHARGED], COMPLETED),
        ([], COMPENSATED),
        ([HELD, LET_GO], COMPENSATED),
        ([HELD, CHARGED, REFUNDED, LET_GO], COMPENSATED),
        ([HELD], Said("s1", "parked", frozenset({"hold"}), frozenset({"charge"}))),
        ([HELD, CHARGED], Said("s1", "parked", frozenset({"hold"}), frozenset({"charge"}))),
        ([HELD, CHARGED, REFUNDED, CHARGED], COMPLETED._replace(again=frozenset({"charge"}))),
    ],
)
def test_a_ledger_that_is_right_has_no_trouble(ledger: list[Entry], said: Said) -> None:
    assert check(ledger, [said]) == []


@pytest.mark.parametrize(
    ("ledger", "said", "words"),
    [
        ([HELD, CHARGED, CHARGED], COMPLETED, "charge is done twice"),
        ([HELD, CHARGED], COMPENSATED, "it is compensated, and charge stands in the ledger as done"),
        ([CHARGED], COMPLETED, "it is completed, and hold is not in the ledger as done"),
        ([HELD, LET_GO, LET_GO], COMPENSATED, "hold is undone twice"),
        ([LET_GO], COMPENSATED, "hold is undone and was never done"),
        ([HELD, CHARGED, REFUNDED, CHARGED], COMPLETED, "charge is done after it was undone"),
        ([CHARGED, REFUNDED._replace(cents=-470)], COMPENSATED, "charge is undone, and 30 of its cents are not back"),
        ([HELD, CHARGED], Said("s1", "parked", frozenset({"hold"})), "it is parked, and charge stands in the ledger"),
        ([HELD], Said("s1", "running"), "it has not ended: running"),
        ([HELD._replace(op="redo")], COMPENSATED, "'redo' is neither 'do' nor 'undo'"),
    ],
)
def test_what_does_not_fit_is_told_with_its_saga(ledger: list[Entry], said: Said, words: str) -> None:
    told = check(ledger, [said], steps=["charge", "hold"])

    assert [trouble.saga for trouble in told if words in trouble.what] == ["s1"]


def test_an_entry_of_no_saga_is_told() -> None:
    assert check([CHARGED], []) == [Trouble("s1", "it is in the ledger, and there is no such saga")]


def test_what_still_moves_may_be_left_out_but_never_happens_twice() -> None:
    assert check([HELD], [Said("s1", "running")], moving=True) == []
    assert check([HELD, HELD], [Said("s1", "running")], moving=True) == [Trouble("s1", "hold is done twice")]


@dataclass(frozen=True)
class Order:
    number: int


LEDGER = "CREATE TABLE ledger (seq INTEGER PRIMARY KEY, saga TEXT, step TEXT, op TEXT, cents INTEGER)"
WRITE = "INSERT INTO ledger (saga, step, op, cents) VALUES (?, ?, ?, ?)"


@step
def charge(order: Order, tx: sqlite3.Connection, ctx: Context) -> None:
    tx.execute(WRITE, (ctx.saga_id, ctx.address, "do", 500))


@charge.compensation
def refund(order: Order, tx: sqlite3.Connection, ctx: Context) -> None:
    tx.execute(WRITE, (ctx.saga_id, ctx.address, "undo", -500))


@step
def pick(item: int, tx: sqlite3.Connection, ctx: Context) -> None:
    tx.execute(WRITE, (ctx.saga_id, ctx.address, "do", 0))


@pick.compensation
def put_back(item: int, tx: sqlite3.Connection, ctx: Context) -> None:
    tx.execute(WRITE, (ctx.saga_id, ctx.address, "undo", 0))


@step
def decide(order: Order) -> None:
    if order.number == 1:
        raise Reject("no")
    if order.number == 2:
        raise Park("a person")


def two(order: Order) -> list[int]:
    return [1, 2]


def test_a_ledger_in_a_database_against_the_sagas_beside_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    saga = Saga("sell", charge, for_each(pick, over=two), pivot(decide), input=Order)

    async def main() -> None:
        connection = sqlite3.connect(tmp_path / "shop.db")
        connection.execute(LEDGER)
        connection.close()
        async with Orchestrator(url, sagas=[saga]) as orchestrator:
            for number in range(3):
                await orchestrator.run(saga, Order(number), id=f"s{number}")

    asyncio.run(main())
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        rows = connection.execute("SELECT saga, step, op, cents FROM ledger ORDER BY seq").fetchall()
    connection.close()

    sagas = asyncio.run(sagas_in(url))

    assert {said.saga: said.status for said in sagas} == {"s0": "completed", "s1": "compensated", "s2": "parked"}
    assert check(entries(rows), sagas, steps=["charge", "pick"]) == []
    lost = [row for row in rows if row[:3] != ("s1", "pick[1]", "undo")]
    assert check(entries(lost), sagas, steps=["charge", "pick"]) == [
        Trouble("s1", "it is compensated, and pick[1] stands in the ledger as done")
    ]
