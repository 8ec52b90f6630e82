"""The transfer with transactions, as its user would test it: on a file of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from transfer_tx import Transfer, give_back, prepare, transfer_money, withdraw

from amends import Compensated, Completed, Reject
from amends.testing import NewSandbox


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "bank.db", isolation_level=None)) as connection:
        connection.execute("BEGIN")
        prepare(connection)
        yield connection


def balances(bank: sqlite3.Connection) -> dict[str, int]:
    return dict(bank.execute("SELECT name, cents FROM account").fetchall())


def test_a_transfer_moves_the_money(amends: NewSandbox, bank: sqlite3.Connection, tmp_path: Path) -> None:
    app = amends([transfer_money], database=tmp_path / "bank.db")

    outcome = app.run(transfer_money, Transfer(1, "ann", "bob", 2_500))

    assert isinstance(outcome, Completed)
    assert balances(bank) == {"ann": 7_500, "bob": 2_500}


def test_a_transfer_to_nobody_gives_the_money_back(
    amends: NewSandbox, bank: sqlite3.Connection, tmp_path: Path
) -> None:
    app = amends([transfer_money], database=tmp_path / "bank.db")

    outcome = app.run(transfer_money, Transfer(1, "ann", "nobody", 2_500))

    assert isinstance(outcome, Compensated)
    assert balances(bank) == {"ann": 10_000, "bob": 0}


def test_a_transfer_exists_if_and_only_if_the_transaction_that_starts_it_commits(
    amends: NewSandbox, bank: sqlite3.Connection, tmp_path: Path
) -> None:
    app = amends([transfer_money], database=tmp_path / "bank.db")

    bank.execute("BEGIN IMMEDIATE")
    app.start(transfer_money, Transfer(1, "ann", "bob", 1_000), id="no", within=bank)
    bank.execute("ROLLBACK")
    bank.execute("BEGIN IMMEDIATE")
    yes = app.start(transfer_money, Transfer(2, "ann", "bob", 10), id="yes", within=bank)
    bank.execute("COMMIT")

    assert isinstance(yes.outcome(), Completed)
    assert balances(bank) == {"ann": 9_990, "bob": 10}


def test_a_transfer_happens_once_though_its_worker_dies_at_every_step(
    amends: NewSandbox, bank: sqlite3.Connection, tmp_path: Path
) -> None:
    app = amends([transfer_money], database=tmp_path / "bank.db")
    bank.execute("BEGIN IMMEDIATE")
    transfer = app.start(transfer_money, Transfer(1, "ann", "bob", 500), within=bank)
    bank.execute("COMMIT")

    while transfer.status == "running":
        app.kill_worker()
        app.advance(seconds=0.001)

    assert isinstance(transfer.outcome(), Completed)
    assert balances(bank) == {"ann": 9_500, "bob": 500}


def test_a_step_is_a_plain_function_of_the_transaction(bank: sqlite3.Connection) -> None:
    transfer = Transfer(1, "ann", "bob", 2_500)

    withdraw(transfer, bank)
    give_back(transfer, bank)

    assert balances(bank) == {"ann": 10_000, "bob": 0}
    with pytest.raises(Reject):
        withdraw(Transfer(2, "bob", "ann", 1), bank)
