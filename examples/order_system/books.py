"""What the three services have written down, and what the sagas say of themselves, read from the databases.

Guarantees: nothing but reading; what is read belongs together only once nothing moves any more.
Must not: judge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import asyncpg
import msgspec

from amends.operate.operations import Operations
from amends.run.journal import decode
from amends.testing.account import Account, Misconduct

from .orders import Order

PAGE = 500


class Shelf(NamedTuple):
    """One good: what there was in the beginning, and what is left."""

    sku: str
    initial: int
    available: int


class Goods(NamedTuple):
    """What happened to some goods: reserved, released or shipped."""

    order: str
    sku: str
    quantity: int
    what: str


class Money(NamedTuple):
    """Money that moved: out of a card, or, below zero, back."""

    order: str
    cents: int
    receipt: str


class Said(NamedTuple):
    """A saga: its order, and its status. story: what its history tells that no saga may do."""

    order: Order
    status: str
    reason: str = ""
    story: str = ""


@dataclass(frozen=True)
class Books:
    """Everything. orders: pairs of order and what happened to it."""

    orders: tuple[tuple[str, str], ...]
    receipts: tuple[Money, ...]
    shelves: tuple[Shelf, ...]
    goods: tuple[Goods, ...]
    money: tuple[Money, ...]


async def read_books(databases: dict[str, str]) -> Books:
    """The books of all services, each from its own database, in the order in which they were written."""
    orders = await _rows(databases["orders"], "SELECT id, what FROM order_log ORDER BY seq")
    receipts = await _rows(databases["orders"], "SELECT order_id, cents, receipt FROM receipt ORDER BY seq")
    shelves = await _rows(databases["inventory"], "SELECT sku, initial, available FROM stock ORDER BY sku")
    goods = await _rows(databases["inventory"], "SELECT order_id, sku, quantity, what FROM stock_log ORDER BY seq")
    money = await _rows(databases["payment"], "SELECT order_id, cents, receipt FROM money_log ORDER BY seq")
    return Books(
        tuple((row[0], row[1]) for row in orders),
        tuple(Money(*row) for row in receipts),
        tuple(Shelf(*row) for row in shelves),
        tuple(Goods(*row) for row in goods),
        tuple(Money(*row) for row in money),
    )


async def _rows(url: str, query: str) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def read_sagas(people: Operations) -> list[Said]:
    """What every saga says of itself, oldest first."""
    found: list[Said] = []
    before: str | None = None
    while True:
        page = await people.find(sagas=["place-order"], before=before, limit=PAGE)
        found += [await _said(people, line.id, line.status, line.reason) for line in page.sagas]
        if not page.more:
            return found[::-1]
        before = page.sagas[-1].id


async def _said(people: Operations, saga_id: str, status: str, reason: str) -> Said:
    """A saga's order from its input, and its history, read by rules that are not the engine's own."""
    view = await people.show(saga_id)
    loaded = await people.session.store.load(saga_id)
    assert loaded is not None
    try:
        account = Account(view.plan).read(map(decode, loaded.rows))
    except Misconduct as wrong:
        story = str(wrong)
    else:
        story = "" if account.end in ("", status) else f"its history ends {account.end}"
    return Said(msgspec.json.decode(view.input, type=Order), status, reason, story)
