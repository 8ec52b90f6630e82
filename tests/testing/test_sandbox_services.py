"""The sandbox with services: fakes that answer as the test says, participants that are asked as they are."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass, field
from typing import Any

import pytest

from amends import (
    Compensated,
    Completed,
    Context,
    Park,
    Parked,
    Participant,
    Reject,
    Resource,
    Retry,
    Saga,
    Service,
    parallel,
    pivot,
    sleep,
)
from amends.errors import DefinitionError
from amends.testing import NewSandbox, Sandbox, fake, host


@dataclass(frozen=True)
class Order:
    pieces: int
    cents: int


@dataclass(frozen=True)
class Reserve:
    pieces: int


@dataclass(frozen=True)
class Charge:
    cents: int


@dataclass(frozen=True)
class Payment:
    number: int


stock, bank, post = Service("stock"), Service("bank"), Service("post")
reserve = stock.command("reserve", Reserve)
charge = bank.command("charge", Charge, reply=Payment)
ship = post.command("ship", Charge, reply=str, compensation=False)
look = post.command("look", Charge, reply=int, readonly=True)


@reserve.request(name="reserve", retry=Retry(attempts=3))
def ask_for_stock(order: Order) -> Reserve:
    return Reserve(order.pieces)


@charge.request(name="charge", retry=Retry(attempts=3, first_delay=1, jitter=0))
def ask_for_money(order: Order) -> Charge:
    return Charge(order.cents)


@ship.request(name="ship")
def ask_for_a_parcel(payment: Payment) -> Charge:
    return Charge(payment.number)


@look.request(name="look")
def ask_for_the_price(order: Order) -> Charge:
    return Charge(order.cents)


SELL = Saga("sell", ask_for_stock, ask_for_money, pivot(ask_for_a_parcel), input=Order, output=ask_for_a_parcel)
TOGETHER = Saga("together", parallel(ask_for_stock, ask_for_money), input=Order)
ORDER = Order(2, 500)


@dataclass
class Town:
    """A sandbox with a fake for each command."""

    app: Sandbox
    stock: Any
    bank: Any
    post: Any


@pytest.fixture
def town(amends: NewSandbox) -> Town:
    fakes = fake(reserve), fake(charge, lambda command: Payment(command.cents)), fake(ship, "on its way")
    return Town(amends([SELL, TOGETHER], services=fakes), *fakes)


# Fakes


def test_a_saga_of_commands_runs_against_fakes_and_they_say_what_they_were_asked(town: Town) -> None:
    began = town.app.now

    outcome = town.app.run(SELL, ORDER)

    assert outcome == Completed("on its way")
    assert town.stock.asked == town.stock.done == [Reserve(2)]
    assert town.bank.done == [Charge(500)]
    assert town.post.done == [Charge(500)]  # made from the reply before
    assert town.stock.undone == []
    assert town.app.now == began


def test_a_no_sends_the_saga_back_and_compensations_get_what_was_stored(amends: NewSandbox) -> None:
    undone: list[tuple[Charge, Payment]] = []

    def pay_back(command: Charge, payment: Payment) -> None:
        undone.append((command, payment))

    money = fake(charge, lambda command: Payment(7), undoes=pay_back)
    shelf, parcels = fake(reserve), fake(ship, "on its way")
    parcels.rejects("no such street")
    app = amends([SELL], services=[money, shelf, parcels])

    assert app.run(SELL, ORDER) == Compensated("ship: no such street", "rejected", "ship")
    assert undone == [(Charge(500), Payment(7))]
    assert money.undone == [Charge(500)]
    assert shelf.undone == [Reserve(2)]
    assert parcels.done == []


def test_a_fake_that_raises_reject_says_no(amends: NewSandbox) -> None:
    def full(command: Reserve) -> None:
        raise Reject("nothing is left")

    app = amends([TOGETHER], services=[fake(reserve, full), fake(charge, Payment(1))])

    assert app.run(TOGETHER, ORDER) == Compensated("reserve: nothing is left", "rejected", "reserve")


def test_what_fails_is_asked_again_and_nothing_has_happened(town: Town) -> None:
    town.bank.fails("out of paper", times=2)

    assert town.app.run(SELL, ORDER) == Completed("on its way")
    assert town.bank.asked == [Charge(500)] * 3
    assert town.bank.done == [Charge(500)]


def test_what_fails_every_time_is_undone_and_the_undo_finds_nothing(town: Town) -> None:
    town.bank.fails("closed")

    outcome = town.app.run(SELL, ORDER)

    assert isinstance(outcome, Compensated)
    assert "closed" in outcome.reason
    assert town.bank.undone == []  # its compensation was asked for, and there was nothing to undo
    assert town.stock.undone == [Reserve(2)]


def test_a_lost_command_is_sent_again_after_the_reply_timeout(town: Town) -> None:
    town.bank.loses_commands(times=1)
    sale = town.app.start(SELL, ORDER)

    town.app.advance(seconds=29)
    assert sale.status == "running"
    assert town.bank.done == []
    town.app.advance(seconds=2)

    assert sale.status == "completed"
    assert town.bank.asked == [Charge(500)]


def test_a_lost_reply_is_given_again_and_the_effect_happens_once(town: Town) -> None:
    town.bank.loses_replies(times=1)

    assert town.app.run(SELL, ORDER) == Completed("on its way")
    assert town.bank.asked == [Charge(500), Charge(500)]
    assert town.bank.done == [Charge(500)]


def test_who_never_answers_is_unknown_and_undone_though_it_happened(town: Town) -> None:
    town.bank.loses_replies()

    outcome = town.app.run(SELL, ORDER)

    assert isinstance(outcome, Compensated)
    assert town.bank.done == town.bank.undone == [Charge(500)]


def test_a_late_reply_is_taken_whichever_attempt_it_answers(town: Town) -> None:
    town.bank.answers_late(seconds=45, times=2)
    sale = town.app.start(SELL, ORDER)

    town.app.advance(seconds=44)
    assert sale.status == "running"
    town.app.advance(seconds=2)

    assert sale.status == "completed"
    assert town.bank.done == [Charge(500)]


def test_a_reply_that_comes_twice_counts_once(town: Town) -> None:
    town.bank.answers_twice()
    town.stock.answers_twice()

    sale = town.app.start(SELL, ORDER)

    assert sale.outcome() == Completed("on its way")
    assert town.bank.done == [Charge(500)]


def test_an_undo_has_trouble_of_its_own(town: Town) -> None:
    town.post.rejects("no such street")
    town.bank.undo.rejects("the account is closed")

    sale = town.app.start(SELL, ORDER)
    outcome = sale.outcome()

    assert isinstance(outcome, Parked)
    assert "the account is closed" in str(outcome)
    assert town.stock.undone == []
    town.bank.undo.works()
    town.app.operate(sale.saga_id, "unpark")
    assert sale.status == "compensated"
    assert town.bank.undone == [Charge(500)]


def test_what_is_said_without_a_number_holds_until_it_works_again(town: Town) -> None:
    town.post.rejects("closed on Mondays")
    assert isinstance(town.app.run(SELL, ORDER), Compensated)
    assert isinstance(town.app.run(SELL, ORDER), Compensated)

    town.post.works()

    assert isinstance(town.app.run(SELL, ORDER), Completed)


def test_what_is_said_with_a_number_comes_first_one_after_the_other(town: Town) -> None:
    town.bank.fails(times=1)
    town.bank.rejects("no", times=1)

    first, second = town.app.run(SELL, ORDER), town.app.run(SELL, ORDER)

    assert isinstance(first, Compensated)
    assert isinstance(second, Completed)


def test_a_fake_may_take_its_time(amends: NewSandbox) -> None:
    async def think(command: Reserve) -> None:
        await asyncio.sleep(20)

    app = amends([TOGETHER], services=[fake(reserve, think), fake(charge, Payment(1))])
    sale = app.start(TOGETHER, ORDER)

    app.advance(seconds=19)
    assert sale.status == "running"
    app.advance(seconds=2)

    assert sale.status == "completed"


def test_a_service_outlives_the_worker_and_remembers_what_it_did(town: Town) -> None:
    town.bank.answers_late(seconds=10, times=1)
    sale = town.app.start(SELL, ORDER)
    town.app.advance(seconds=5)

    town.app.kill_worker()
    town.app.advance(seconds=6)

    assert sale.status == "completed"
    assert town.bank.done == [Charge(500)]


def test_what_a_service_was_in_the_middle_of_comes_to_it_again(amends: NewSandbox) -> None:
    calls: list[int] = []

    async def think(command: Reserve) -> None:
        calls.append(command.pieces)
        await asyncio.sleep(20)

    shelf = fake(reserve, think)
    app = amends([TOGETHER], services=[shelf, fake(charge, Payment(1))])
    sale = app.start(TOGETHER, ORDER)
    app.advance(seconds=10)

    app.kill_worker()

    assert sale.outcome() == Completed(None)
    assert calls[0] == 2
    assert shelf.done == [Reserve(2)]


def test_a_fake_may_take_longer_than_the_saga_waits_and_is_undone(amends: NewSandbox) -> None:
    async def think(command: Reserve) -> None:
        await asyncio.sleep(3600)

    shelf = fake(reserve, think)
    app = amends([TOGETHER], services=[shelf, fake(charge, Payment(1))])

    outcome = app.run(TOGETHER, ORDER)

    assert isinstance(outcome, Compensated)
    assert "no reply came" in outcome.reason
    assert shelf.done == shelf.undone == [Reserve(2)]  # the undo waited for the action


def test_a_sandbox_may_be_left_in_the_middle_of_a_fake(caplog: pytest.LogCaptureFixture) -> None:
    async def think(command: Reserve) -> None:
        await asyncio.sleep(20)

    shelf = fake(reserve, think)
    with Sandbox([TOGETHER], services=[shelf, fake(charge, Payment(1))]) as app:
        app.start(TOGETHER, ORDER)
        app.kill_worker()

    assert shelf.done == []
    assert [record for record in caplog.records if "store is closed" in record.getMessage()] == []


def test_a_reading_command_is_done_as_often_as_it_is_asked(amends: NewSandbox) -> None:
    saga = Saga("read", ask_for_the_price, sleep(1), input=Order, output=ask_for_the_price)
    desk = fake(look, lambda command: command.cents * 2)
    desk.loses_replies(times=1)
    app = amends([saga], services=[desk])

    assert app.run(saga, ORDER) == Completed(1000)
    assert len(desk.done) == 2


def test_a_failed_test_shows_what_the_fakes_were_asked_in_the_history(town: Town) -> None:
    sale = town.app.start(SELL, ORDER)

    assert any("charge succeeded" in line for line in sale.history)
    assert repr(town.bank) == "fake(bank.charge): asked 1, done 1, undone 0"


# What cannot be right


def test_a_command_that_nobody_does_is_named_with_the_line_to_write(amends: NewSandbox) -> None:
    with pytest.raises(DefinitionError, match=r"sell.*asks bank for charge, and nobody does it.*fake\(charge, …\)"):
        amends([SELL], services=[fake(reserve), fake(ship, "x")])
    with pytest.raises(DefinitionError, match=r"nobody does it"):
        amends([SELL])


def test_two_who_do_the_same_are_refused(amends: NewSandbox) -> None:
    with pytest.raises(DefinitionError, match=r"stock\.reserve is done twice"):
        amends([TOGETHER], services=[fake(reserve), fake(reserve), fake(charge, Payment(1))])


def test_what_is_neither_a_fake_nor_a_participant_is_refused(amends: NewSandbox) -> None:
    something: Any = {reserve: None}
    with pytest.raises(DefinitionError, match=r"services=\[…\]: fakes and participants are expected"):
        amends([TOGETHER], services=something)


def test_a_fake_that_has_to_answer_and_cannot_is_refused() -> None:
    nothing: Any = charge
    with pytest.raises(DefinitionError, match=r"bank\.charge answers with a Payment; give it"):
        fake(nothing)
    wrong: Any = "reserve"
    with pytest.raises(DefinitionError, match="a command is expected"):
        fake(wrong)


def test_an_answer_of_another_class_is_refused_with_both(amends: NewSandbox) -> None:
    strange: Any = lambda command: 7  # noqa: E731
    app = amends([TOGETHER], services=[fake(reserve), fake(charge, strange)])

    outcome = app.run(TOGETHER, ORDER)

    assert isinstance(outcome, Compensated)
    assert "Payment" in outcome.reason


# Participants


@dataclass
class Till:
    cents: int = 0
    keys: list[str] = field(default_factory=list[str])


def participants() -> tuple[Participant, Participant]:
    """Those of production; nothing of their databases and resources is opened."""
    here, there = Participant(stock, database="postgresql://nowhere/stock"), Participant(bank)

    @here.handles(reserve)
    def take_from(command: Reserve, tx: sqlite3.Connection) -> None:
        tx.execute("UPDATE shelf SET pieces = pieces - ?", (command.pieces,))
        if tx.execute("SELECT pieces < 0 FROM shelf").fetchone()[0]:
            raise Reject("nothing is left")
        if command.pieces == 5:
            raise Park("five is not possible")

    @here.compensates(reserve)
    def put_back(command: Reserve, tx: sqlite3.Connection) -> None:
        tx.execute("UPDATE shelf SET pieces = pieces + ?", (command.pieces,))

    @there.handles(charge)
    async def pay_in(command: Charge, till: Resource[Till], ctx: Context) -> Payment:
        till.keys.append(ctx.key)
        till.cents += command.cents
        return Payment(command.cents)

    @there.compensates(charge)
    async def pay_out(command: Charge, payment: Payment, till: Resource[Till]) -> None:
        till.cents -= payment.number

    return here, there


def shelf_of(pieces: int) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE shelf (pieces INTEGER)")
    connection.execute("INSERT INTO shelf VALUES (?)", (pieces,))
    connection.commit()
    return connection


@pytest.mark.parametrize(("pieces", "left", "cents"), [(10, 8, 500), (1, 1, 0)])
def test_the_handlers_of_real_participants_are_called_each_in_its_transaction(
    pieces: int, left: int, cents: int, amends: NewSandbox
) -> None:
    here, there = participants()
    shelf, till = shelf_of(pieces), Till()
    app = amends([TOGETHER], resources=[till], services=[host(here, tx=shelf), there])

    app.run(TOGETHER, ORDER)

    assert shelf.execute("SELECT pieces FROM shelf").fetchone() == (left,)
    assert till.cents == cents
    assert not shelf.in_transaction
    shelf.close()


def test_a_handler_that_parks_left_nothing_and_is_asked_again_when_a_person_says_so(amends: NewSandbox) -> None:
    here, there = participants()
    shelf = shelf_of(9)
    app = amends([TOGETHER], resources=[Till()], services=[host(here, tx=shelf), there])

    outcome = app.run(TOGETHER, Order(5, 1))

    assert isinstance(outcome, Parked)
    assert shelf.execute("SELECT pieces FROM shelf").fetchone() == (9,)
    shelf.close()


def test_a_participant_that_needs_a_transaction_or_a_resource_says_so(amends: NewSandbox) -> None:
    here, there = participants()
    with pytest.raises(DefinitionError, match=r"take_from takes a sqlite3.Connection.*host\(…, tx=…\)"):
        amends([TOGETHER], resources=[Till()], services=[here, there])
    shelf = shelf_of(1)
    with pytest.raises(DefinitionError, match=r"pay_in, parameter till: no resource provides"):
        amends([TOGETHER], services=[host(here, tx=shelf), there])
    shelf.close()


def test_a_participant_without_a_handler_is_refused_as_when_it_is_entered(amends: NewSandbox) -> None:
    with pytest.raises(DefinitionError, match=r"the service stock lacks @app.handles for stock.reserve"):
        amends([TOGETHER], services=[Participant(stock), fake(charge, Payment(1))])
