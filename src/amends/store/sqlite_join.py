"""Writing into a user's own transaction on the same SQLite file: sqlite3's, SQLAlchemy's, Django's.

Guarantees: what is written exists if and only if the user's transaction commits; nothing is
committed or rolled back here.
Must not: be used with a connection of another file, or outside a transaction.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from amends.errors import NotEnlisted, StoreUnavailable
from amends.store.base import NewMail, SagaRow, Write
from amends.store.clock import Clock
from amends.store.given import Given
from amends.store.sqlite_commit import add_new, due_for_all
from amends.store.sqlite_errors import translate
from amends.store.sqlite_file import SQL
from amends.store.within import kind_of, recognised, refuse

DRIVERS = "with a SQLite database a sqlite3.Connection"


class SqliteTransaction:
    """An open transaction of the user's."""

    awaited: Literal[False] = False

    def __init__(self, within: object, path: Path, namespace: int, clock: Clock) -> None:
        self._path = path
        self._given: Given | None = None
        if isinstance(within, sqlite3.Connection):
            self._connection: sqlite3.Connection = within
        else:
            self._given = _given(within)
            self._connection = self._given.raw
        with self._told_apart():
            begun = self._connection.in_transaction or _begun(self._given, self._connection)
        if not begun:
            raise NotEnlisted(
                "within=: the connection is in no transaction, so the saga would not depend on anything; "
                "begin one (`BEGIN IMMEDIATE`, or a first write) before, or leave within= out"
            )
        own = self._rows("PRAGMA database_list", ())[0][2]
        if not own or not os.path.exists(own) or not os.path.samefile(own, path):
            raise NotEnlisted(f"within=: the connection is on {own or 'a database in memory'}, the sagas are in {path}")
        self._namespace = namespace
        self._now = clock.now()
        self._lead = clock.lead()

    def add(self, write: Write) -> SagaRow | None:
        """Add a saga; the one that is there where its key is taken. Raises StoreUnavailable."""
        key = "" if write.new is None else write.new.key
        found = self._rows(SQL["head"], (self._namespace, key))
        if found:
            return SagaRow(*found[0])
        with self._told_apart(), self._whole():
            add_new(self._connection, self._namespace, due_for_all([write], self._lead)[0], self._now)
        return None

    def send(self, mail: NewMail) -> bool:
        """Add a mail; False where there is no such saga. Raises StoreUnavailable."""
        values = (self._namespace, mail.key, mail.message, mail.kind, mail.body.decode(), self._now)
        with self._told_apart():
            if self._connection.execute(SQL["mail_add"], values).rowcount > 0:
                return True
        return bool(self._rows(SQL["head"], (self._namespace, mail.key)))

    def after_commit(self, tell: Callable[[], object]) -> bool:
        """Have `tell` called about when the transaction commits; False where nobody can."""
        return self._given is not None and self._given.after_commit(tell)

    def _rows(self, statement: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        """Rows as amends knows them, whatever the user makes of rows and texts."""
        text, self._connection.text_factory = self._connection.text_factory, str
        try:
            cursor = sqlite3.Cursor(self._connection)
            cursor.row_factory = None
            with self._told_apart():
                return cursor.execute(statement, values).fetchall()
        finally:
            self._connection.text_factory = text

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """All or nothing, also where the user's program goes on after an error and commits."""
        self._connection.execute("SAVEPOINT amends_start")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:  # a full disk may have rolled back all of it
                self._connection.execute("ROLLBACK TO amends_start")
                self._connection.execute("RELEASE amends_start")
            raise
        self._connection.execute("RELEASE amends_start")

    @contextmanager
    def _told_apart(self) -> Iterator[None]:
        """An error of the database, not of the user's program, as what it is."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise StoreUnavailable(
                    f"{self._path} is locked by another transaction: roll this one back, and begin it with BEGIN "
                    "IMMEDIATE, which waits for its turn; one that began by reading cannot wait"
                ) from error
            raise translate(error, self._path) from error


def _given(within: object) -> Given:
    """A connection of a library that uses sqlite3 below. Raises NotEnlisted for any other."""
    given = recognised(within, DRIVERS)
    if given.awaited is True:
        raise refuse(f"{kind_of(within)}, which is asynchronous", DRIVERS)
    given.ready()
    if given.dialect != "sqlite" or not isinstance(given.raw, sqlite3.Connection):
        raise refuse(f"{kind_of(within)}, which is on {given.dialect}", DRIVERS)
    return given


def _begun(given: Given | None, connection: sqlite3.Connection) -> bool:
    """Begin the transaction that a library has open in its own books, and sqlite3 has not: by default it
    begins with the first write. False where each statement commits by itself."""
    if given is None:
        return False
    given.fetch("SELECT 1", None)
    if not connection.in_transaction and connection.isolation_level is not None:
        connection.execute("BEGIN IMMEDIATE")
    return connection.in_transaction
