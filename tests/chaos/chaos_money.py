"""Money that goes from one account to another in the sagas' own database, by steps that take its transaction.

What it is: the saga `transfer`, on a file and on a server. Its effects have no keys and no ledger: only the
transaction, which holds the inbox row too, keeps them from happening twice.
Must not: be imported before the environment says where the sagas are.
"""

from __future__ import annotations

import os
import random
import sqlite3
from dataclasses import dataclass
from typing import Any

import asyncpg
import psycopg

from amends import Reject, Retry, Saga, step

ON_SERVER = os.environ.get("CHAOS_DATABASE", "").startswith("postgresql:")
ACCOUNTS = ("ann", "bob", "cem", "dia")
OPENING_CENTS = 10_000
LONG = Retry(attempts=30, first_delay=0.05, cap=0.5)


@dataclass(frozen=True)
class Transfer:
    """From whom, to whom, how much."""

    source: str
    target: str
    cents: int


@step(timeout=2.0)
def withdraw(transfer: Transfer, tx: sqlite3.Connection) -> None:
    took = "UPDATE account SET cents = cents - ? WHERE name = ? AND cents >= ?"
    if tx.execute(took, (transfer.cents, transfer.source, transfer.cents)).rowcount == 0:
        raise Reject(f"{transfer.source} has not that much")


@withdraw.compensation
def give_back(transfer: Transfer, tx: sqlite3.Connection) -> None:
    tx.execute("UPDATE account SET cents = cents + ? WHERE name = ?", (transfer.cents, transfer.source))


@step(timeout=2.0)
async def deposit(transfer: Transfer, tx: sqlite3.Connection) -> None:
    gave = "UPDATE account SET cents = cents + ? WHERE name = ?"
    if tx.execute(gave, (transfer.cents, transfer.target)).rowcount == 0:
        raise Reject(f"{transfer.target} has no account here")
    if random.random() < 0.1:
        raise ConnectionError("after the effect, which is rolled back")


@deposit.compensation
async def take_from(transfer: Transfer, tx: sqlite3.Connection) -> None:
    tx.execute("UPDATE account SET cents = cents - ? WHERE name = ?", (transfer.cents, transfer.target))


@step(name="withdraw", timeout=2.0)
async def withdraw_there(transfer: Transfer, tx: asyncpg.Connection) -> None:
    took = "UPDATE account SET cents = cents - $1 WHERE name = $2 AND cents >= $1"
    if await tx.execute(took, transfer.cents, transfer.source) == "UPDATE 0":
        raise Reject(f"{transfer.source} has not that much")


@withdraw_there.compensation(retry=LONG, timeout=2.0)
async def give_back_there(transfer: Transfer, tx: asyncpg.Connection) -> None:
    await tx.execute("UPDATE account SET cents = cents + $1 WHERE name = $2", transfer.cents, transfer.source)


@step(name="deposit", timeout=2.0)
def deposit_there(transfer: Transfer, tx: psycopg.Connection) -> None:
    """In a thread, through another library."""
    gave = "UPDATE account SET cents = cents + %s WHERE name = %s"
    if tx.execute(gave, (transfer.cents, transfer.target)).rowcount == 0:
        raise Reject(f"{transfer.target} has no account here")
    if random.random() < 0.1:
        raise ConnectionError("after the effect, which is rolled back")


@deposit_there.compensation(retry=LONG, timeout=2.0)
def take_from_there(transfer: Transfer, tx: psycopg.Connection) -> None:
    tx.execute("UPDATE account SET cents = cents - %s WHERE name = %s", (transfer.cents, transfer.target))


transfer_money: Saga[Transfer, Any] = (
    Saga("transfer", withdraw_there, deposit_there, input=Transfer)
    if ON_SERVER
    else Saga("transfer", withdraw, deposit, input=Transfer)
)
