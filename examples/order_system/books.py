"""What the three services have written down, read from their databases.

Guarantees: nothing but reading; what is read belongs together only once nothing moves any more.
Must not: judge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import asyncpg


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
