"""Explore with commands: services behind the barrier, messages that are lost, doubled and late, in both styles."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Any

import pytest

from amends import Completed, Context, Participant, Reject, Resource, Saga, Service, parallel, pivot
from amends.decide.barrier import Ruling, Verdict
from amends.errors import DefinitionError
from amends.testing import Counterexample, explore


@dataclass(frozen=True)
class Order:
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


@dataclass
class Town:
    """No fake here knows a key: the barrier sees to that."""

    shelf: int = 10
    till: int = 0
    payments: list[int] = field(default_factory=list[int])


stock, bank = Service("stock"), Service("bank")
reserve = stock.command("reserve", Reserve)
charge = bank.command("charge", Charge, reply=Payment)
thank = bank.command("thank", Charge, compensation=False)


@reserve.request(name="reserve")
def ask_for_stock(order: Order) -> Reserve:
    return Reserve(1)


@charge.request(name="charge")
def ask_for_money(order: Order) -> Charge:
    return Charge(order.cents)


@thank.request(name="thank")
def ask_for_thanks(payment: Payment) -> Charge:
    return Charge(payment.number)


def take(command: Reserve, town: Town) -> None:
    town.shelf -= command.pieces


def put_back(command: Reserve, reply: None, town: Town) -> None:
    town.shelf += command.pieces


def pay(command: Charge, town: Town) -> Payment:
    town.till += command.cents
    return Payment(command.cents)


def pay_back(command: Charge, payment: Payment, town: Town) -> None:
    town.till -= payment.number


def nothing(command: Charge, town: Town) -> None:
    pass


FAKES: dict[Any, Any] = {reserve: (take, put_back), charge: (pay, pay_back), thank: nothing}
SELL = Saga("sell", ask_for_stock, ask_for_money, pivot, ask_for_thanks, input=Order)
TOGETHER = Saga("together", parallel(ask_for_stock, ask_for_money), input=Order)


def fair(town: Town, outcome: object) -> None:
    sold = 1 if isinstance(outcome, Completed) else 0
    assert (town.shelf, town.till) == (10 - sold, 5 * sold)


@pytest.mark.parametrize("saga", [SELL, TOGETHER], ids=lambda saga: saga.name)
def test_whatever_happens_to_messages_an_effect_happens_once(saga: Saga[Order, None]) -> None:
    report = explore(saga, Order(5), world=Town, invariant=fair, services=FAKES, runs=1_200)

    assert report.compensations == {"reserve", "charge"}
    kinds = {
        "command-lost",
        "command-twice",
        "command-late",
        "command-last",
        "reply-lost",
        "reply-twice",
        "lost",
        "down",
    }
    assert kinds | {"rejects", "fails", "crash-before-effect", "cancel"} <= set(report.kinds)
    assert set(report.outcomes) == {"completed", "compensated"}


def test_the_same_saga_without_an_orchestrator() -> None:
    report = explore(SELL, Order(5), world=Town, invariant=fair, services=FAKES, style="choreographed", runs=600)

    assert report.compensations == {"reserve", "charge"}
    assert {"command-lost", "command-twice", "command-last", "rejects", "fails", "down", "cancel"} <= set(report.kinds)
    assert "reply-lost" not in report.kinds
    assert set(report.outcomes) == {"completed", "compensated"}


@pytest.mark.parametrize(
    ("style", "faults"),
    [("orchestrated", {"reserve:command-twice", "reserve:command-late"}), ("choreographed", {"reserve:command-twice"})],
)
def test_without_the_barrier_it_would_happen_twice(
    style: Any, faults: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def always(*_: object) -> Ruling:
        return Ruling(Verdict.RUN)

    monkeypatch.setattr("amends.testing.explore_barrier.arrives", always)

    for fault in faults:
        with pytest.raises(Counterexample, match="the invariant does not hold"):
            explore(SELL, Order(5), world=Town, invariant=fair, services=FAKES, style=style, only=fault)


@pytest.mark.parametrize("style", ["orchestrated", "choreographed"])
def test_an_undo_that_is_wrong_is_found(style: Any) -> None:
    def keep_a_fee(command: Charge, payment: Payment, town: Town) -> None:
        town.till -= payment.number - 1

    fakes = {**FAKES, charge: (pay, keep_a_fee)}

    with pytest.raises(Counterexample) as caught:
        explore(SELL, Order(5), world=Town, invariant=fair, services=fakes, style=style)

    found = caught.value.report.counterexample
    assert found is not None
    assert len(found.faults) == 1


def test_a_command_that_comes_behind_its_undo_has_no_effect() -> None:
    report = explore(SELL, Order(5), world=Town, invariant=fair, services=FAKES, only="reserve:command-last")

    assert report.outcomes == {"compensated": 1}
    assert "the undo of reserve finds nothing to undo" in str(report)
    assert "is kept from it by the barrier: fenced" in str(report)


def test_a_handler_that_fails_leaves_the_world_as_it_was() -> None:
    def pay_and_fail(command: Charge, town: Town) -> Payment:
        town.till += command.cents
        if len(town.payments) == 0:
            town.payments.append(1)
            raise Reject("no")
        return Payment(command.cents)

    fakes = {**FAKES, charge: (pay_and_fail, pay_back)}

    report = explore(SELL, Order(5), world=Town, invariant=fair, services=fakes, only="reserve:fails")

    assert report.outcomes == {"compensated": 1}


def participants() -> tuple[Participant, Participant]:
    here, there = Participant(stock, database="sqlite:///x.db"), Participant(bank)

    @here.handles(reserve)
    def take_from(command: Reserve, tx: sqlite3.Connection) -> None:
        tx.execute("UPDATE shelf SET pieces = pieces - ?", (command.pieces,))

    @here.compensates(reserve)
    def put_onto(command: Reserve, tx: sqlite3.Connection) -> None:
        tx.execute("UPDATE shelf SET pieces = pieces + ?", (command.pieces,))

    @there.handles(charge)
    async def pay_in(command: Charge, town: Resource[Town], ctx: Context) -> Payment:
        assert ctx.step == "charge"
        return pay(command, town)

    @there.compensates(charge)
    async def pay_out(command: Charge, payment: Payment, town: Resource[Town]) -> None:
        pay_back(command, payment, town)

    return here, there


def test_the_handlers_of_participants_are_called_as_they_are() -> None:
    def world() -> dict[Any, Any]:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.execute("CREATE TABLE shelf (pieces INTEGER)")
        connection.execute("INSERT INTO shelf VALUES (10)")
        return {Town: Town(), sqlite3.Connection: connection}

    def conserved(world: dict[Any, Any], outcome: object) -> None:
        sold = 1 if isinstance(outcome, Completed) else 0
        with world[sqlite3.Connection] as connection:
            (pieces,) = connection.execute("SELECT pieces FROM shelf").fetchone()
        connection.close()
        assert (pieces, world[Town].till) == (10 - sold, 5 * sold)

    report = explore(TOGETHER, Order(5), world=world, invariant=conserved, services=participants(), runs=300)

    assert report.compensations == {"reserve", "charge"}


def test_who_is_missing_is_named() -> None:
    with pytest.raises(DefinitionError, match="say who does them, with services="):
        explore(SELL, Order(5), world=Town)
    with pytest.raises(DefinitionError, match=r"reserve: nobody undoes stock.reserve"):
        explore(SELL, Order(5), world=Town, services={**FAKES, reserve: take})


def test_a_saga_that_cannot_be_choreographed_is_refused_with_what_is_in_the_way() -> None:
    with pytest.raises(DefinitionError, match="cannot be choreographed: parallel"):
        explore(TOGETHER, Order(5), world=Town, services=FAKES, style="choreographed")
