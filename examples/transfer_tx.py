"""A transfer between two accounts, on the SQLite file that the sagas are in.

Each step takes the open transaction: its effect, the note that it was done and its result are
committed together, so no step needs a key of its own. The transfer itself is started inside
the program's own transaction, and exists if and only if that commits. Run it:
python examples/transfer_tx.py
"""

import asyncio
import sqlite3
from dataclasses import dataclass

from amends import Orchestrator, Reject, Saga, step

DATABASE = "bank.db"


@dataclass(frozen=True)
class Transfer:
    number: int
    source: str
    target: str
    cents: int


# The saga.


@step
def withdraw(transfer: Transfer, tx: sqlite3.Connection) -> None:
    took = "UPDATE account SET cents = cents - ? WHERE name = ? AND cents >= ?"
    if tx.execute(took, (transfer.cents, transfer.source, transfer.cents)).rowcount == 0:
        raise Reject(f"{transfer.source} has not that much")


@withdraw.compensation
def give_back(transfer: Transfer, tx: sqlite3.Connection) -> None:
    tx.execute("UPDATE account SET cents = cents + ? WHERE name = ?", (transfer.cents, transfer.source))


@step
def deposit(transfer: Transfer, tx: sqlite3.Connection) -> None:
    gave = "UPDATE account SET cents = cents + ? WHERE name = ?"
    if tx.execute(gave, (transfer.cents, transfer.target)).rowcount == 0:
        raise Reject(f"{transfer.target} has no account here")


@deposit.compensation
def take_back(transfer: Transfer, tx: sqlite3.Connection) -> None:
    tx.execute("UPDATE account SET cents = cents - ? WHERE name = ?", (transfer.cents, transfer.target))


transfer_money = Saga("transfer-money", withdraw, deposit, input=Transfer)

# Where it runs.

orchestrator = Orchestrator(f"sqlite:///{DATABASE}", sagas=[transfer_money])


def prepare(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS account (name TEXT PRIMARY KEY, cents INTEGER NOT NULL)")
    connection.execute("CREATE TABLE IF NOT EXISTS transfer (number INTEGER PRIMARY KEY, saga TEXT NOT NULL)")
    connection.execute("INSERT OR REPLACE INTO account VALUES ('ann', 10000), ('bob', 0)")
    connection.execute("COMMIT")


async def begin_transfer(connection: sqlite3.Connection, target: str, cents: int) -> str:
    """The program's own row and the saga, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    number = connection.execute("INSERT INTO transfer (saga) VALUES ('')").lastrowid or 0
    handle = await orchestrator.start(transfer_money, Transfer(number, "ann", target, cents), within=connection)
    connection.execute("UPDATE transfer SET saga = ? WHERE number = ?", (handle.saga_id, number))
    connection.execute("COMMIT")
    return handle.saga_id


async def main() -> None:
    connection = sqlite3.connect(DATABASE, isolation_level=None)
    connection.execute("BEGIN")
    prepare(connection)
    async with orchestrator:
        for target, cents in (("bob", 2_500), ("nobody", 2_500), ("bob", 99_999)):
            saga_id = await begin_transfer(connection, target, cents)
            outcome = await orchestrator.handle(transfer_money, saga_id).outcome()
            print(f"{cents / 100:.2f} from ann to {target}: {outcome}")
    print(dict(connection.execute("SELECT name, cents FROM account").fetchall()))
    connection.close()


if __name__ == "__main__":
    asyncio.run(main())
