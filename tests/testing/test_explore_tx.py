"""Explore with steps that take a transaction: effect and note are one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from amends import Completed, Context, Reject, Saga, step
from amends.errors import DefinitionError
from amends.testing import Counterexample, explore


@dataclass(frozen=True)
class Transfer:
    cents: int


@step
def withdraw(transfer: Transfer, tx: sqlite3.Connection) -> None:
    took = "UPDATE account SET cents = cents - ? WHERE name = 'ann' AND cents >= ?"
    if tx.execute(took, (transfer.cents, transfer.cents)).rowcount == 0:
        raise Reject("ann has not that much")


@withdraw.compensation
def give_back(transfer: Transfer, tx: sqlite3.Connection) -> None:
    tx.execute("UPDATE account SET cents = cents + ? WHERE name = 'ann'", (transfer.cents,))


@step
def deposit(transfer: Transfer, tx: sqlite3.Connection) -> None:
    tx.execute("UPDATE account SET cents = cents + ? WHERE name = 'bob'", (transfer.cents,))


@deposit.compensation
def take_back(transfer: Transfer, tx: sqlite3.Connection) -> None:
    tx.execute("UPDATE account SET cents = cents - ? WHERE name = 'bob'", (transfer.cents,))


transfer = Saga("transfer", withdraw, deposit, input=Transfer)


def bank() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE account (name TEXT PRIMARY KEY, cents INTEGER NOT NULL)")
    connection.execute("INSERT INTO account VALUES ('ann', 100), ('bob', 0)")
    return connection


def moved(connection: sqlite3.Connection, outcome: object) -> None:
    wanted = (40, 60) if isinstance(outcome, Completed) else (100, 0)
    assert tuple(cents for (cents,) in connection.execute("SELECT cents FROM account ORDER BY name")) == wanted


def test_effects_need_no_key_where_their_note_is_in_the_same_transaction() -> None:
    report = explore(transfer, Transfer(60), world=bank, invariant=moved, runs=400)

    assert report.compensations == {"withdraw", "deposit"}
    assert {"rejects", "fails", "down", "crash-before-effect", "crash-after-effect", "cancel"} <= set(report.kinds)
    assert "times-out" not in report.kinds


def test_what_was_done_and_not_heard_of_is_not_done_again() -> None:
    report = explore(transfer, Transfer(60), world=bank, invariant=moved, only="withdraw:crash-after-effect")

    assert report.outcomes == {"completed": 1}


def test_a_fault_that_such_a_step_cannot_meet_is_refused() -> None:
    with pytest.raises(DefinitionError, match="withdraw:times-out: what takes a transaction is rolled back then"):
        explore(transfer, Transfer(60), world=bank, only="withdraw:times-out")


def test_a_step_of_its_own_that_is_not_in_the_transaction_is_found() -> None:
    told: list[str] = []

    def world() -> dict[type, Any]:
        told.clear()
        return {sqlite3.Connection: bank(), list: told}

    @step
    def tell(transfer: Transfer, tx: sqlite3.Connection, ctx: Context) -> None:
        told.append("a letter")  # beside the transaction
        if ctx.attempt == 1:
            raise ConnectionError

    @tell.compensation
    def untell(transfer: Transfer, tx: sqlite3.Connection) -> None: ...

    saga = Saga("beside", withdraw, tell, input=Transfer)

    def one_letter(world: dict[type, Any], outcome: object) -> bool:
        return len(told) <= 1

    with pytest.raises(Counterexample, match="one_letter says False"):
        explore(saga, Transfer(60), world=world, invariant=one_letter)


@pytest.mark.parametrize("world", [None, dict])
def test_a_world_without_a_connection_is_refused(world: Callable[[], object] | None) -> None:
    with pytest.raises(DefinitionError, match="Connection"):
        explore(transfer, Transfer(60), world=world)
