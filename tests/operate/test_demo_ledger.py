"""The demo's services and its ledger: what must hold of them, by hand-made cases.

Guarantees: each case has one thing wrong, and the checker names that thing.
Must not: run the demo.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from amends.operate.demo.ledger import Books, Counts, Entry, Reservation, Said, Stock, Written, check
from amends.operate.demo.live import LiveShow, chosen
from amends.operate.demo.sagas import Order, place_order
from amends.operate.demo.service import Undone
from amends.operate.demo.services import Declined, Inventory, Payments, SoldOut
from amends.operate.demo.story import Scene
from amends.operate.demo.watch import STEPS, View

PAID = Order("paid", "Ada", "tea", 2, 1000, "4242", "post")
BACK = Order("back", "Alan", "tea", 1, 500, "4242", "post")
NONE = Order("none", "Grace", "tea", 3, 1500, "0002", "post")
SAGAS = [Said(PAID, "completed"), Said(BACK, "compensated"), Said(NONE, "compensated")]
GOOD = Books(
    entries=(Entry("paid", 1000), Entry("back", 500), Entry("back", -500)),
    reservations=(Reservation("paid", "tea", 2, "shipped"), Reservation("back", "tea", 1, "released")),
    stock=(Stock("tea", 10, 8),),
    orders=(Written("paid", "confirmed"), Written("back", "cancelled"), Written("none", "cancelled")),
)

# The checker


def test_books_that_fit_the_sagas_balance() -> None:
    balance = check(GOOD, SAGAS)

    assert balance.balances
    assert (balance.charged, balance.refunded, balance.worth, balance.unsettled) == (1500, 500, 1000, 0)
    assert [(shelf.initial, shelf.available, shelf.shipped) for shelf in balance.shelves] == [(10, 8, 2)]


@pytest.mark.parametrize(
    ("books", "trouble"),
    [
        (replace(GOOD, entries=(*GOOD.entries, Entry("paid", 1000))), "paid is completed and costs 10.00"),
        (replace(GOOD, entries=GOOD.entries[:2]), "back is compensated, but its entries are 5.00"),
        (replace(GOOD, entries=(*GOOD.entries, Entry("back", -500))), "back is compensated, but its entries are"),
        (replace(GOOD, entries=GOOD.entries[1:]), "paid is completed and costs 10.00, but its entries are none"),
        (replace(GOOD, entries=(Entry("paid", 999), *GOOD.entries[1:])), "charged 14.99 - refunded 5.00 is 9.99"),
        (replace(GOOD, entries=(Entry("back", 1000), *GOOD.entries[1:])), "back is compensated"),
        (replace(GOOD, reservations=GOOD.reservations[1:]), "paid is completed, but 2 tea were not shipped once"),
        (replace(GOOD, reservations=GOOD.reservations * 2), "paid is completed, but 2 tea were not shipped once"),
        (
            replace(GOOD, reservations=(GOOD.reservations[0], Reservation("back", "tea", 1, "reserved"))),
            "back is compensated, but 1 tea were not put back once",
        ),
        (replace(GOOD, stock=(Stock("tea", 10, 7),)), "tea: 10 in the beginning, 9 now"),
        (replace(GOOD, stock=(Stock("tea", 1, -1),)), "tea: 1 in the beginning"),
        (
            replace(GOOD, orders=(Written("paid", "open"), *GOOD.orders[1:])),
            "paid is completed, but written down as open",
        ),
        (replace(GOOD, orders=GOOD.orders[1:]), "paid is completed, but written down as None"),
        (
            replace(GOOD, orders=(*GOOD.orders[:2], Written("none", "open"))),
            "none is compensated, but written down as open",
        ),
        (replace(GOOD, entries=(*GOOD.entries, Entry("ghost", 1), Entry("ghost", -1))), "ghost is in the books"),
    ],
)
def test_books_with_one_thing_wrong_do_not_balance(books: Books, trouble: str) -> None:
    balance = check(books, SAGAS)

    assert any(line.startswith(trouble) for line in balance.troubles), balance.troubles


@pytest.mark.parametrize("status", ["running", "compensating", "parked"])
def test_a_saga_that_has_not_ended_is_named_and_what_it_holds_is_unsettled(status: str) -> None:
    balance = check(GOOD, [Said(PAID, status), *SAGAS[1:]])

    assert balance.unsettled == 1000
    assert balance.worth == 0
    assert f"paid has not ended: it is {status}" in balance.troubles
    assert not any("charged" in trouble for trouble in balance.troubles)


def test_a_saga_that_says_compensated_while_money_stands_is_named() -> None:
    balance = check(GOOD, [Said(PAID, "compensated"), *SAGAS[1:]])

    assert "paid is compensated, but its entries are 10.00" in balance.troubles


# The services


@pytest.fixture
def payments(tmp_path: Path) -> Iterator[Payments]:
    with closing(Payments(tmp_path / "payments.db")) as service:
        yield service


def _entries(tmp_path: Path) -> list[int]:
    with closing(sqlite3.connect(tmp_path / "payments.db")) as db:
        return [cents for (cents,) in db.execute("SELECT cents FROM entry ORDER BY rowid")]


def test_the_same_key_charges_once(payments: Payments, tmp_path: Path) -> None:
    async def story() -> tuple[str, str]:
        first = await payments.charge("one", "4242", 700, key="k")
        return first, await payments.charge("one", "4242", 700, key="k")

    first, second = asyncio.run(story())

    assert first == second
    assert _entries(tmp_path) == [700]


def test_a_refund_repeated_gives_the_money_back_once(payments: Payments, tmp_path: Path) -> None:
    async def story() -> None:
        await payments.charge("one", "4242", 700, key="k")
        await payments.refund("one", key="r", action_key="k")
        await payments.refund("one", key="r", action_key="k")

    asyncio.run(story())

    assert _entries(tmp_path) == [700, -700]


def test_a_charge_that_comes_after_its_refund_is_refused(payments: Payments, tmp_path: Path) -> None:
    async def story() -> None:
        await payments.refund("one", key="r", action_key="k")
        with pytest.raises(Undone):
            await payments.charge("one", "4242", 700, key="k")

    asyncio.run(story())

    assert _entries(tmp_path) == []


def test_what_is_declined_leaves_no_note_and_may_be_asked_again(payments: Payments, tmp_path: Path) -> None:
    async def story() -> None:
        with pytest.raises(Declined):
            await payments.charge("one", "4000000000000002", 700, key="k")
        await payments.charge("one", "4242", 700, key="k")

    asyncio.run(story())

    assert _entries(tmp_path) == [700]


def test_the_shelf_gives_what_it_has_and_takes_back_what_it_gave(tmp_path: Path) -> None:
    path = tmp_path / "inventory.db"

    async def story(inventory: Inventory) -> None:
        await inventory.reserve("one", "tea", 2, key="a")
        with pytest.raises(SoldOut):
            await inventory.reserve("two", "tea", 1, key="b")
        await inventory.release("one", key="r", action_key="a")

    with closing(Inventory(path)) as inventory, closing(sqlite3.connect(path)) as db:
        db.execute("INSERT INTO stock VALUES ('tea', 2, 2)")
        db.commit()
        asyncio.run(story(inventory))
        left = db.execute("SELECT available FROM stock").fetchone()[0]
        reservations = db.execute("SELECT order_id, status FROM reservation").fetchall()

    assert left == 2
    assert reservations == [("one", "released")]


# The picture


def _scene(count: int) -> Scene:
    words = ("succeeded", "compensated", "undo running", "stuck", "unknown")
    views: dict[str, View] = {}
    for number in range(count):
        order = replace(PAID, id=f"order-{number:03}", cents=49800)
        status = "compensating" if number % 3 else "completed"
        notes = ("killed, taken up", "customer withdrew (but an earlier attempt may have worked)")
        views[order.id] = View(order, status, words, notes=notes)
    return Scene(views, count, Counts(12345, 678, 90), "worker 1234567", alive=True, seconds=1234.5)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (200, 60), (80, 12)])
@pytest.mark.parametrize("count", [0, 5, 500])
def test_the_picture_fits_the_terminal(width: int, height: int, count: int) -> None:
    console = Console(file=StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    show = LiveShow(console, "amends demo: orders")
    for number in range(20):
        show.say(f"line {number} " + "that is much longer than any terminal is wide " * 8, "bad")

    lines = console.render_lines(show.picture(_scene(count)), pad=False)

    assert len(lines) <= max(height - 1, 16)
    assert all(sum(segment.cell_length for segment in line) <= width for line in lines)


def test_a_terminal_without_unicode_gets_the_picture_in_ascii() -> None:
    class Ascii(StringIO):
        encoding = "ascii"

    console = Console(file=Ascii(), width=80, height=24, color_system=None)
    show = LiveShow(console, "amends demo")
    show.say("a line that is longer than the terminal is wide " * 3, "good")

    lines = console.render_lines(show.picture(_scene(5)), pad=False)

    assert "".join(segment.text for line in lines for segment in line).isascii()


def test_orders_that_move_are_shown_before_those_that_ended() -> None:
    views = list(_scene(30).views.values())

    shown = chosen(views, 12)

    assert [view.order.id for view in shown] == sorted(view.order.id for view in shown)
    assert sum(view.status == "compensating" for view in shown) == 12


def test_the_table_has_a_column_for_every_step_of_the_saga() -> None:
    assert list(STEPS) == list(place_order.program.steps)
