"""One SQLite file: its place, its journal, its schema.

SQLite 3.7.0 to 3.51.2 can corrupt a WAL file when one connection commits while another
checkpoints (sqlite.org/wal.html, "the WAL-reset bug"). A library with the defect works with a
rollback journal here, which it does not concern; a fixed one with WAL. The decision and its
measurements are in docs/internals/decisions/0001.

Guarantees: what this opens is a database of amends, at a schema this code may use, in a mode
in which an acknowledged commit is on disk.
Must not: wait for another worker, or change the mode of a file that a worker uses.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from amends.errors import SchemaMismatch, StoreUnavailable
from amends.store.sql import migrations, refuse_newer, split, statements
from amends.store.sqlite_errors import translate
from amends.store.sqlite_lock import WorkerLock
from amends.store.sqlite_turn import StoreConnection

BUSY_SECONDS = 5.0
GLANCE_MILLISECONDS = 2  # of the library's own waiting; `sqlite_transaction.py` does the rest
JOURNAL_BYTES_KEPT = 64 * 1024 * 1024
SQL = statements("sqlite")
MIGRATIONS = migrations("sqlite")
CODE_VERSION = MIGRATIONS[-1][0]
OLDEST_LIBRARY = (3, 31, 0)


def library_is_fixed(version: tuple[int, int, int] | None = None) -> bool:
    """Whether a SQLite library is free of the WAL-reset defect; 3.50.7 and 3.44.6 carry the fix too."""
    version = sqlite3.sqlite_version_info if version is None else version
    major_minor, patch = version[:2], version[2]
    return version >= (3, 51, 3) or (major_minor == (3, 50) and patch >= 7) or (major_minor == (3, 44) and patch >= 6)


def connect(path: Path, lock: WorkerLock, *, work: bool) -> sqlite3.Connection:
    """Open the file and bring it to this code's schema.

    Raises StoreUnavailable, StoreDamaged, SchemaMismatch.
    """
    if sqlite3.sqlite_version_info < OLDEST_LIBRARY:
        raise StoreUnavailable(f"SQLite {sqlite3.sqlite_version} is too old; 3.31 or later is needed")
    check_place(path)
    try:
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, factory=StoreConnection
        )
        try:
            with connection.turn_on(path):
                be_durable(connection)
                _set_mode(connection, path, lock, work=work)
                migrate(connection, path)
            connection.wal = journal_mode(connection) == "wal"
            connection.execute(f"PRAGMA busy_timeout = {GLANCE_MILLISECONDS}")
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise translate(error, path) from error
    return connection


def check_place(path: Path) -> None:
    """See that a database can be at a path. Raises StoreUnavailable that says why not."""
    if not path.parent.is_dir():
        raise StoreUnavailable(f"{path}: there is no directory {path.parent}; create it, or name another place")
    if path.is_dir():
        raise StoreUnavailable(f"{path} is a directory; name a file in it")
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise StoreUnavailable(f"{path} cannot be written by this user; change its permissions, or name another file")
    if not os.access(path.parent, os.W_OK):
        raise StoreUnavailable(f"{path.parent} cannot be written by this user, and SQLite keeps its journal there")


def be_durable(connection: sqlite3.Connection) -> None:
    """A commit returns when it is on the disk; on macOS that takes a word more."""
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute("PRAGMA checkpoint_fullfsync = ON")
    connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES_KEPT}")


def _set_mode(connection: sqlite3.Connection, path: Path, lock: WorkerLock, *, work: bool) -> None:
    """WAL on a fixed library, a rollback journal on one with the defect. A worker decides for
    the file; a client takes what it finds."""
    found = journal_mode(connection)
    if library_is_fixed():
        if work and found != "wal":
            connection.execute("PRAGMA journal_mode = WAL")
        return
    if found == "wal" and not work and lock.held_by_somebody():
        raise StoreUnavailable(
            f"{path} is in WAL mode and a worker uses it, but this process has SQLite {sqlite3.sqlite_version}, whose "
            "WAL can corrupt files (fixed in 3.51.3). Run this process with the Python that runs the worker"
        )
    leave_wal(connection)


def leave_wal(connection: sqlite3.Connection) -> None:
    """Use a rollback journal that is kept, not made anew for every transaction."""
    try:
        mode = connection.execute("PRAGMA journal_mode = PERSIST").fetchone()[0]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        mode = "wal"
    if mode == "wal":
        path = connection.execute("PRAGMA database_list").fetchone()[2]
        raise StoreUnavailable(
            f"{path} is in WAL mode and in use, so it cannot be changed, and SQLite {sqlite3.sqlite_version} can "
            "corrupt WAL files (fixed in 3.51.3). Close what uses it, and take `PRAGMA journal_mode = WAL` out of your "
            "code"
        )


def journal_mode(connection: sqlite3.Connection) -> str:
    """The mode in which the connection finds the file."""
    return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Apply what is missing in one transaction under the file's write lock.

    Raises SchemaMismatch where a newer amends has closed the file to this code.
    """
    version, floor = schema_of(connection)
    if version < CODE_VERSION:
        connection.execute("BEGIN IMMEDIATE")
        try:
            version, floor = schema_of(connection)  # another process may have been first
            for number, script in MIGRATIONS:
                if number > version:
                    for statement in split(script):
                        connection.execute(statement)
            version, floor = schema_of(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    refuse_newer(path, "schema", version, floor, CODE_VERSION)


def schema_at(path: Path) -> tuple[int, int]:
    """The schema of a file, read without changing it; 0 and 0 where there is no file.

    Raises StoreUnavailable, StoreDamaged, SchemaMismatch.
    """
    if not path.exists():
        return 0, 0
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            return schema_of(connection)
    except sqlite3.Error as error:
        raise translate(error, path) from error


def schema_of(connection: sqlite3.Connection) -> tuple[int, int]:
    """The schema's version and floor; 0 and 0 where amends has no tables yet: in an empty file,
    or in one with tables of the user's own. Raises SchemaMismatch where some are missing."""
    found = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'amends!_%' ESCAPE '!'"
    )
    names = {row[0] for row in found}
    row = connection.execute(SQL["schema"]).fetchone() if "amends_schema" in names else None
    if row is not None:
        return int(row[0]), int(row[1])
    if names & {"amends_journal", "amends_saga", "amends_schema"}:
        raise SchemaMismatch("the database has tables of amends but no schema row; restore it from a backup")
    return 0, 0
