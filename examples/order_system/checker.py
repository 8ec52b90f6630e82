"""The money checker: whether goods and money are where the sagas say they are, each order by itself and all together.

Guarantees: a pure function of the books and the sagas; whatever does not fit is told with its order.
Must not: trust a saga, or the participants' own notes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from .books import Books, Goods, Shelf
from .sagas import Said


class Trouble(NamedTuple):
    """Something that does not fit. order: empty where it is no single one's."""

    order: str
    what: str


class Totals(NamedTuple):
    """Cents, over all orders."""

    charged: int
    refunded: int
    worth: int


def totals(books: Books, sagas: Sequence[Said]) -> Totals:
    """What was charged and refunded, and what the completed orders are worth."""
    charged = sum(money.cents for money in books.money if money.cents > 0)
    refunded = -sum(money.cents for money in books.money if money.cents < 0)
    return Totals(charged, refunded, sum(said.order.cents for said in sagas if said.status == "completed"))


def check(books: Books, sagas: Sequence[Said], placed: Collection[str], cancelled: Collection[str]) -> list[Trouble]:
    """All that does not fit. placed, cancelled: what customers were promised."""
    troubles = [*_of_orders(books, sagas), *_of_promises(sagas, placed, cancelled)]
    troubles += [trouble for shelf in books.shelves for trouble in _of_shelf(shelf, books.goods)]
    total = totals(books, sagas)
    if total.charged - total.refunded != total.worth:
        troubles.append(
            Trouble("", f"charged {total.charged} - refunded {total.refunded} is not {total.worth}, what was completed")
        )
    return troubles


def _of_orders(books: Books, sagas: Sequence[Said]) -> Iterator[Trouble]:
    """Each order by itself."""
    log: dict[str, list[str]] = defaultdict(list)
    goods: dict[str, list[Goods]] = defaultdict(list)
    money: dict[str, list[tuple[int, str]]] = defaultdict(list)
    receipts: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for order, what in books.orders:
        log[order].append(what)
    for one in books.goods:
        goods[one.order].append(one)
    for moved in books.money:
        money[moved.order].append((moved.cents, moved.receipt))
    for moved in books.receipts:
        receipts[moved.order].append((moved.cents, moved.receipt))
    for said in sagas:
        name = said.order.id
        if said.story:
            yield Trouble(name, f"its history is none of a saga: {said.story}")
        for what in _of_order(said, log[name], goods[name], [cents for cents, _ in money[name]]):
            yield Trouble(name, what)
        if sorted(receipts[name]) != sorted(money[name]):  # an event that comes again may come late
            yield Trouble(name, f"money moved {money[name]}, and its receipts are {receipts[name]}")
    known = {said.order.id for said in sagas}
    for name in sorted({*log, *goods, *money, *receipts} - known):
        yield Trouble(name, "it is in the books, and there is no such saga")


def _of_order(said: Said, log: list[str], goods: list[Goods], cents: list[int]) -> Iterator[str]:
    """One order: completed is charged, reserved and shipped once; compensated is as if it had not been."""
    order = said.order
    whats = [one.what for one in goods]
    if any((one.sku, one.quantity) != (order.sku, order.quantity) for one in goods):
        yield f"it asked for {order.quantity} {order.sku}, and got {goods}"
    if said.status == "completed":
        wanted = (["opened", "confirmed"], ["reserved", "shipped"], [order.cents])
        if (log, whats, cents) != wanted:
            yield f"it is completed, and the books say {log}, {whats}, {cents} cents instead of {wanted}"
    elif said.status == "compensated":
        if log not in ([], ["opened", "cancelled"]):
            yield f"it is compensated, and the order is {log}"
        if whats not in ([], ["reserved", "released"]):
            yield f"it is compensated, and its goods are {whats}"
        if cents not in ([], [order.cents, -order.cents]):
            yield f"it is compensated, and the money that moved is {cents}"
    else:
        yield f"it has not ended: {said.status} {said.reason}"


def _of_promises(sagas: Sequence[Said], placed: Collection[str], cancelled: Collection[str]) -> Iterator[Trouble]:
    statuses = {said.order.id: said.status for said in sagas}
    for name in placed:
        if name not in statuses:
            yield Trouble(name, "its customer was told that it is on disk, and there is no such saga")
    for name in cancelled:
        if statuses.get(name) == "completed":
            yield Trouble(name, "its customer was told that it is cancelled, and it is completed")
    for name, times in Counter(said.order.id for said in sagas).items():
        if times > 1:
            yield Trouble(name, f"there are {times} sagas of it")


def _of_shelf(shelf: Shelf, goods: Sequence[Goods]) -> Iterator[Trouble]:
    """Nothing appears and nothing vanishes."""
    moved: Counter[str] = Counter()
    for one in goods:
        if one.sku == shelf.sku:
            moved[one.what] += one.quantity
    gone = moved["reserved"] - moved["released"]
    if shelf.available != shelf.initial - gone or shelf.available < 0:
        yield Trouble("", f"{shelf.sku}: {shelf.initial} in the beginning, {shelf.available} left, {gone} put aside")
