"""Writing into a user's own sqlite3 transaction on the same file.

Guarantees: what is written exists if and only if the user's transaction commits; nothing is
committed or rolled back here.
Must not: be used with a connection of another file, or outside a transaction.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from amends.errors import NotEnlisted
from amends.store.base import NewMail, SagaRow, Write
from amends.store.sqlite_commit import add_new
from amends.store.sqlite_file import SQL


class SqliteTransaction:
    """An open transaction of the user's."""

    def __init__(self, within: object, path: Path, namespace: int, now: float) -> None:
        if not isinstance(within, sqlite3.Connection):
            kind = f"{type(within).__module__}.{type(within).__name__}"
            raise NotEnlisted(f"within={kind}: with a SQLite database a sqlite3.Connection is expected")
        if not within.in_transaction:
            raise NotEnlisted(
                "within=: the connection is in no transaction, so the saga would not depend on anything; "
                "begin one (`BEGIN IMMEDIATE`, or a first write) before, or leave within= out"
            )
        own = within.execute("PRAGMA database_list").fetchone()[2]
        if not own or not os.path.exists(own) or not os.path.samefile(own, path):
            raise NotEnlisted(f"within=: the connection is on {own or 'a database in memory'}, the sagas are in {path}")
        self._connection = within
        self._namespace = namespace
        self._now = now

    def add(self, write: Write) -> SagaRow | None:
        """Add a saga; the one that is there where its key is taken."""
        key = "" if write.new is None else write.new.key
        found = self._connection.execute(SQL["head"], (self._namespace, key)).fetchone()
        if found is not None:
            return SagaRow(*found)
        add_new(self._connection, self._namespace, write, self._now)
        return None

    def send(self, mail: NewMail) -> bool:
        """Add a mail; False where there is no such saga."""
        values = (self._namespace, mail.key, mail.message, mail.kind, mail.body.decode(), self._now)
        if self._connection.execute(SQL["mail_add"], values).rowcount > 0:
            return True
        found = self._connection.execute(SQL["head"], (self._namespace, mail.key)).fetchone()
        return found is not None
