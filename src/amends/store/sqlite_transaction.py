"""Transactions on one SQLite file: their beginning, their end, and who comes first.

With a rollback journal a commit shuts out readers for the length of its fsyncs, nearly all of a
busy worker's time; and SQLite's own waiting is a sleep of up to a tenth of a second between two
looks. Beside a worker that commits without a pause, a reader was seen to look for 5 s in vain.
So everybody of ours takes turns (`sqlite_turn.py`) and looks again every millisecond.

Guarantees: a transaction that writes is IMMEDIATE, and never in the WAL of a library with the
defect; one that reads sees one state. Busy means wait, `patience_seconds` long.
Must not: be used for a user's own connection.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from amends.store import sqlite_file
from amends.store.sqlite_file import SQL, journal_mode, leave_wal
from amends.store.sqlite_turn import StoreConnection

T = TypeVar("T")
Row = tuple[Any, ...]


def begin(connection: sqlite3.Connection) -> None:
    """Begin a transaction that writes. A library with the WAL defect writes into no WAL file, also
    where somebody has made it one since it was opened (web frameworks like to)."""
    in_turn(connection, "BEGIN IMMEDIATE")
    if not sqlite_file.library_is_fixed() and journal_mode(connection) == "wal":
        connection.execute("ROLLBACK")
        leave_wal(connection)
        in_turn(connection, "BEGIN IMMEDIATE")


def commit(connection: sqlite3.Connection) -> None:
    """End a transaction that wrote; what it wrote is on disk."""
    _patiently(connection, "COMMIT")


def writing(connection: sqlite3.Connection, job: Callable[[sqlite3.Connection], T]) -> T:
    """Do something that writes, in one transaction; whoever runs jobs rolls back what raises."""
    begin(connection)
    result = job(connection)
    commit(connection)
    return result


def reading(connection: sqlite3.Connection, job: Callable[[sqlite3.Connection], T]) -> T:
    """Do something that only reads, in one state of the file; whoever runs jobs rolls back what raises."""
    connection.execute("BEGIN")
    if not (isinstance(connection, StoreConnection) and connection.wal):  # in WAL mode nobody shuts it out
        in_turn(connection, SQL["schema"])
    result = job(connection)
    connection.execute("COMMIT")
    return result


def in_turn(connection: sqlite3.Connection, statement: str, values: Sequence[object] = ()) -> Row | None:
    """Run what takes a lock of the file, when it is this connection's turn; gives the first row. A
    single short statement that reads needs no more: it sees one state by itself."""
    turn = connection.turn if isinstance(connection, StoreConnection) else None
    if turn is None:
        return _patiently(connection, statement, values)
    with turn:
        return _patiently(connection, statement, values)


def _patiently(connection: sqlite3.Connection, statement: str, values: Sequence[object] = ()) -> Row | None:
    """Run a statement again while the file is locked; the library itself waits a moment each time."""
    patience = connection.patience_seconds if isinstance(connection, StoreConnection) else 0.0
    until = time.monotonic() + patience if patience else 0.0
    while True:
        try:
            row: Row | None = connection.execute(statement, values).fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
        else:
            return row
