"""The money checker of the order system: every kind of thing that does not fit is found, and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from order_system.books import Books, Goods, Money, Shelf
from order_system.checker import Trouble, check, totals
from order_system.saga import Order
from order_system.sagas import Said

BOUGHT = Order("bought", "book", 1, 2_900, "4000-0001")
DECLINED = Order("declined", "lamp", 2, 4_500, "4000-0002")
SOLD_OUT = Order("sold-out", "piano", 1, 390_000, "4000-0001")
SAGAS = (Said(BOUGHT, "completed"), Said(DECLINED, "compensated"), Said(SOLD_OUT, "compensated"))
PLACED = ("bought", "declined", "sold-out")
MONEY = (
    Money("bought", 2_900, "r1"),
    Money("sold-out", 390_000, "r2"),
    Money("sold-out", -390_000, "r2"),
)
BOOKS = Books(
    orders=(
        ("bought", "opened"),
        ("declined", "opened"),
        ("bought", "confirmed"),
        ("declined", "cancelled"),
        ("sold-out", "opened"),
        ("sold-out", "cancelled"),
    ),
    receipts=MONEY,
    shelves=(Shelf("book", 10, 9), Shelf("lamp", 10, 10), Shelf("piano", 0, 0)),
    goods=(
        Goods("bought", "book", 1, "reserved"),
        Goods("declined", "lamp", 2, "reserved"),
        Goods("declined", "lamp", 2, "released"),
        Goods("bought", "book", 1, "shipped"),
    ),
    money=MONEY,
)


def test_what_fits_is_no_trouble() -> None:
    assert check(BOOKS, SAGAS, PLACED, ("declined",)) == []
    assert totals(BOOKS, SAGAS) == (392_900, 390_000, 2_900)


def without(books: Books, field: str, at: int) -> Books:
    rows = list(getattr(books, field))
    del rows[at]
    return replace(books, **{field: tuple(rows)})


def twice(books: Books, field: str, at: int) -> Books:
    rows = getattr(books, field)
    return replace(books, **{field: (*rows, rows[at])})


@pytest.mark.parametrize(
    ("broken", "order"),
    [
        (lambda: twice(BOOKS, "money", 0), "bought"),
        (lambda: without(BOOKS, "money", 0), "bought"),
        (lambda: without(BOOKS, "money", 2), "sold-out"),
        (lambda: twice(BOOKS, "money", 2), "sold-out"),
        (lambda: twice(BOOKS, "goods", 0), "bought"),
        (lambda: twice(BOOKS, "goods", 3), "bought"),
        (lambda: without(BOOKS, "goods", 2), "declined"),
        (lambda: twice(BOOKS, "goods", 2), "declined"),
        (lambda: without(BOOKS, "goods", 3), "bought"),
        (lambda: without(BOOKS, "orders", 2), "bought"),
        (lambda: twice(BOOKS, "orders", 2), "bought"),
        (lambda: without(BOOKS, "orders", 3), "declined"),
        (lambda: without(BOOKS, "receipts", 0), "bought"),
        (lambda: twice(BOOKS, "receipts", 0), "bought"),
        (lambda: replace(BOOKS, money=(*MONEY, Money("nobody", 1, "r3"))), "nobody"),
        (lambda: replace(BOOKS, goods=(*BOOKS.goods, Goods("nobody", "book", 1, "reserved"))), "nobody"),
        (lambda: replace(BOOKS, orders=(*BOOKS.orders, ("nobody", "opened"))), "nobody"),
        (lambda: replace(BOOKS, goods=(Goods("bought", "book", 2, "reserved"), *BOOKS.goods[1:])), "bought"),
    ],
)
def test_a_row_too_much_too_little_or_of_nobody_is_told_with_its_order(broken: Callable[[], Books], order: str) -> None:
    assert order in {trouble.order for trouble in check(broken(), SAGAS, PLACED, ())}


def test_receipts_may_be_filed_in_any_order_since_an_event_that_comes_again_comes_late() -> None:
    assert check(replace(BOOKS, receipts=(MONEY[0], MONEY[2], MONEY[1])), SAGAS, PLACED, ()) == []


def test_an_undo_before_its_action_does_not_count_as_undone() -> None:
    turned = replace(BOOKS, money=(MONEY[0], MONEY[2], MONEY[1]), receipts=(MONEY[0], MONEY[2], MONEY[1]))

    assert "sold-out" in {trouble.order for trouble in check(turned, SAGAS, PLACED, ())}


def test_a_saga_that_has_not_ended_or_whose_history_is_wrong_is_told() -> None:
    parked = (*SAGAS[:2], Said(SOLD_OUT, "parked", "no answer"))
    strange = (*SAGAS[:2], Said(SOLD_OUT, "compensated", "", "pack begins before reserve is done"))

    assert check(BOOKS, parked, PLACED, ()) == [Trouble("sold-out", "it has not ended: parked no answer")]
    assert [trouble.order for trouble in check(BOOKS, strange, PLACED, ())] == ["sold-out"]


def test_goods_do_not_appear_or_vanish() -> None:
    stolen = replace(BOOKS, shelves=(Shelf("book", 10, 8), *BOOKS.shelves[1:]))

    [trouble] = check(stolen, SAGAS, PLACED, ())

    assert trouble == Trouble("", "book: 10 in the beginning, 8 left, 1 put aside")


def test_what_customers_were_promised_is_kept() -> None:
    lost = check(BOOKS, SAGAS, (*PLACED, "lost"), ())
    cancelled = check(BOOKS, SAGAS, PLACED, ("bought",))
    doubled = check(BOOKS, (*SAGAS, SAGAS[2]), PLACED, ())

    assert [trouble.order for trouble in lost] == ["lost"]
    assert [trouble.order for trouble in cancelled] == ["bought"]
    assert "sold-out" in {trouble.order for trouble in doubled}
