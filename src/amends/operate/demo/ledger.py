"""The ledger: what the three services hold, beside what the sagas say.

Guarantees: `check` is a pure function of both, and names every order and good that does not fit.
Must not: trust a saga, or mend anything.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from amends.operate.demo.sagas import Order

COUNTS = """SELECT coalesce(sum(early = 0), 0), coalesce(sum(repeats), 0), coalesce(sum(late), 0) FROM seen"""


class Entry(NamedTuple):
    """A movement of money: a charge, or, below zero, a refund."""

    order: str
    cents: int


class Reservation(NamedTuple):
    """Goods put aside: reserved, released or shipped."""

    order: str
    sku: str
    quantity: int
    status: str


class Stock(NamedTuple):
    """What was on the shelf in the beginning, and what is now."""

    sku: str
    initial: int
    available: int


class Written(NamedTuple):
    """An order in the books of the order service: open, confirmed or cancelled."""

    order: str
    status: str


class Counts(NamedTuple):
    """effects: keys that had theirs, each once. repeats: calls absorbed. late: commands refused
    because their undo had come before them."""

    effects: int
    repeats: int
    late: int


class Said(NamedTuple):
    """What a saga says of itself."""

    order: Order
    status: str


@dataclass(frozen=True)
class Books:
    """Everything the three services hold."""

    entries: tuple[Entry, ...]
    reservations: tuple[Reservation, ...]
    stock: tuple[Stock, ...]
    orders: tuple[Written, ...]


@dataclass(frozen=True)
class Shelf:
    """One good, accounted for."""

    sku: str
    initial: int
    available: int
    reserved: int
    shipped: int


@dataclass(frozen=True)
class Balance:
    """The result. unsettled: money held by sagas that have not ended. troubles: what does not fit."""

    charged: int
    refunded: int
    worth: int
    unsettled: int
    shelves: tuple[Shelf, ...]
    troubles: tuple[str, ...]

    @property
    def balances(self) -> bool:
        """Whether all of it fits."""
        return not self.troubles


def read_books(directory: Path) -> Books:
    """Read the services' databases."""
    with (
        closing(sqlite3.connect(directory / "payments.db", timeout=30)) as payments,
        closing(sqlite3.connect(directory / "inventory.db", timeout=30)) as inventory,
        closing(sqlite3.connect(directory / "orders.db", timeout=30)) as orders,
    ):
        reserved = inventory.execute("SELECT order_id, sku, quantity, status FROM reservation ORDER BY order_id")
        return Books(
            tuple(Entry(*row) for row in payments.execute("SELECT order_id, cents FROM entry ORDER BY rowid")),
            tuple(Reservation(*row) for row in reserved),
            tuple(Stock(*row) for row in inventory.execute("SELECT sku, initial, available FROM stock ORDER BY sku")),
            tuple(Written(*row) for row in orders.execute("SELECT id, status FROM orders ORDER BY id")),
        )


def read_counts(directory: Path) -> Counts:
    """How often the services were asked, in numbers."""
    totals = Counts(0, 0, 0)
    for name in ("orders", "inventory", "payments"):
        with closing(sqlite3.connect(directory / f"{name}.db", timeout=30)) as db:
            row = db.execute(COUNTS).fetchone()
        totals = Counts(*(total + more for total, more in zip(totals, row, strict=True)))
    return totals


def written_down(directory: Path, order: str) -> str:
    """How an order stands in the books of the order service; empty if it does not."""
    with closing(sqlite3.connect(directory / "orders.db", timeout=30)) as db:
        row = db.execute("SELECT status FROM orders WHERE id = ?", (order,)).fetchone()
    return "" if row is None else str(row[0])


def check(books: Books, sagas: Sequence[Said]) -> Balance:
    """Whether money and goods are where the sagas say they are."""
    charged = sum(entry.cents for entry in books.entries if entry.cents > 0)
    refunded = -sum(entry.cents for entry in books.entries if entry.cents < 0)
    worth = sum(said.order.cents for said in sagas if said.status == "completed")
    open_orders = {said.order.id for said in sagas if said.status not in ("completed", "compensated")}
    unsettled = sum(entry.cents for entry in books.entries if entry.order in open_orders)
    shelves = tuple(_shelf(stock, books.reservations) for stock in books.stock)
    troubles = [f"{said.order.id} has not ended: it is {said.status}" for said in sagas if said.order.id in open_orders]
    if charged - refunded != worth + unsettled:
        troubles.append(
            f"charged {money(charged)} - refunded {money(refunded)} is {money(charged - refunded)}, "
            f"but the completed orders are worth {money(worth)}"
        )
    troubles += _of_orders(books, sagas)
    troubles += _of_shelves(shelves, sagas)
    return Balance(charged, refunded, worth, unsettled, shelves, tuple(troubles))


def money(cents: int) -> str:
    """Cents, as people write them."""
    return f"{cents / 100:,.2f}"


def _shelf(stock: Stock, reservations: Iterable[Reservation]) -> Shelf:
    held: dict[str, int] = defaultdict(int)
    for reservation in reservations:
        if reservation.sku == stock.sku:
            held[reservation.status] += reservation.quantity
    return Shelf(stock.sku, stock.initial, stock.available, held["reserved"], held["shipped"])


def _of_shelves(shelves: Iterable[Shelf], sagas: Iterable[Said]) -> Iterator[str]:
    sold: dict[str, int] = defaultdict(int)
    for said in sagas:
        if said.status == "completed":
            sold[said.order.sku] += said.order.quantity
    for shelf in shelves:
        there = shelf.available + shelf.reserved + shelf.shipped
        if shelf.initial != there or shelf.available < 0:
            yield f"{shelf.sku}: {shelf.initial} in the beginning, {there} now"
        if shelf.shipped != sold[shelf.sku]:
            yield f"{shelf.sku}: {shelf.shipped} shipped, {sold[shelf.sku]} in completed orders"


def _of_orders(books: Books, sagas: Sequence[Said]) -> Iterator[str]:
    entries: dict[str, list[int]] = defaultdict(list)
    goods: dict[str, list[Reservation]] = defaultdict(list)
    for entry in books.entries:
        entries[entry.order].append(entry.cents)
    for reservation in books.reservations:
        goods[reservation.order].append(reservation)
    written = dict(books.orders)
    for said in sagas:
        name = said.order.id
        if said.status == "completed":
            yield from _of_completed(said.order, entries[name], goods[name], written.get(name))
        elif said.status == "compensated":
            yield from _of_compensated(said.order, entries[name], goods[name], written.get(name))
    for name in sorted({*entries, *goods, *written} - {said.order.id for said in sagas}):
        yield f"{name} is in the books, and there is no such saga"


def _of_completed(order: Order, cents: list[int], goods: list[Reservation], written: str | None) -> Iterator[str]:
    if cents != [order.cents]:
        yield f"{order.id} is completed and costs {money(order.cents)}, but its entries are {_listed(cents)}"
    if goods != [Reservation(order.id, order.sku, order.quantity, "shipped")]:
        yield f"{order.id} is completed, but {order.quantity} {order.sku} were not shipped once"
    if written != "confirmed":
        yield f"{order.id} is completed, but written down as {written}"


def _of_compensated(order: Order, cents: list[int], goods: list[Reservation], written: str | None) -> Iterator[str]:
    if cents not in ([], [order.cents, -order.cents]):
        yield f"{order.id} is compensated, but its entries are {_listed(cents)}"
    if len(goods) > 1 or any(reservation.status != "released" for reservation in goods):
        yield f"{order.id} is compensated, but {order.quantity} {order.sku} were not put back once"
    if written not in (None, "cancelled"):
        yield f"{order.id} is compensated, but written down as {written}"


def _listed(cents: list[int]) -> str:
    return ", ".join(map(money, cents)) or "none"
