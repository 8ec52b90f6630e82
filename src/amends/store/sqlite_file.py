"""One SQLite file: its lock, its library, its journal, its schema.

A worker holds an OS lock on a file beside the database for its life, so a second one is
refused at once and a killed one leaves nothing to wait for.

SQLite 3.7.0 to 3.51.2 can corrupt a WAL file when one connection commits while another
checkpoints (sqlite.org/wal.html, "the WAL-reset bug"). A library with the defect works with a
rollback journal here, which it does not concern; a fixed one with WAL. The decision and its
measurements are in docs/internals/decisions/0001.

Guarantees: what this opens is a database of amends, at a schema this code may use, in a mode
in which an acknowledged commit is on disk.
Must not: wait for another worker, or change the mode of a file that a worker uses.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from amends.errors import SchemaMismatch, StoreDamaged, StoreError, StoreUnavailable, WorkerRunning
from amends.store.sql import migrations, split, statements

BUSY_SECONDS = 5.0
JOURNAL_BYTES_KEPT = 64 * 1024 * 1024
SQL = statements("sqlite")
MIGRATIONS = migrations("sqlite")
CODE_VERSION = MIGRATIONS[-1][0]
OLDEST_LIBRARY = (3, 31, 0)

_FULL = {sqlite3.SQLITE_FULL}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def library_is_fixed(version: tuple[int, int, int] = sqlite3.sqlite_version_info) -> bool:
    """Whether a SQLite library is free of the WAL-reset defect; 3.50.7 and 3.44.6 carry the fix too."""
    major_minor, patch = version[:2], version[2]
    return version >= (3, 51, 3) or (major_minor == (3, 50) and patch >= 7) or (major_minor == (3, 44) and patch >= 6)


class WorkerLock:
    """The right to be the worker of one file: an OS lock, gone with the process that holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + "-worker")
        self._descriptor: int | None = None
        os.register_at_fork(after_in_child=self._forget)

    def take(self) -> None:
        """Take the lock. Raises WorkerRunning where another process holds it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise StoreUnavailable(f"{self._path} cannot be locked: {error.strerror}") from None
            raise WorkerRunning(
                f"another worker (process {holder}) works on {self._path.name.removesuffix('-worker')}; one SQLite "
                "file has one worker and any number of clients. Use `async with orchestrator.client()` or "
                "`client_lifespan` in this process, or a PostgreSQL database for several workers"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._descriptor = descriptor

    def held_by_somebody(self) -> bool:
        """Whether any process, this one included, holds the lock."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def release(self) -> None:
        """Let the lock go. May be called twice."""
        self._forget()

    def _forget(self) -> None:
        """Close the descriptor: in a forked child that leaves the parent's lock alone."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def connect(path: Path, lock: WorkerLock, *, work: bool) -> sqlite3.Connection:
    """Open the file and bring it to this code's schema.

    Raises StoreUnavailable, StoreDamaged, SchemaMismatch.
    """
    if sqlite3.sqlite_version_info < OLDEST_LIBRARY:
        raise StoreUnavailable(f"SQLite {sqlite3.sqlite_version} is too old; 3.31 or later is needed")
    _check_place(path)
    try:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            _set_mode(connection, path, lock, work=work)
            migrate(connection, path)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise translate(error, path) from error
    return connection


def _check_place(path: Path) -> None:
    if not path.parent.is_dir():
        raise StoreUnavailable(f"{path}: there is no directory {path.parent}; create it, or name another place")
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise StoreUnavailable(f"{path} cannot be written by this user; change its permissions, or name another file")
    if not os.access(path.parent, os.W_OK):
        raise StoreUnavailable(f"{path.parent} cannot be written by this user, and SQLite keeps its journal there")


def _set_mode(connection: sqlite3.Connection, path: Path, lock: WorkerLock, *, work: bool) -> None:
    """WAL on a fixed library, a rollback journal on one with the defect. A worker decides for
    the file; a client takes what it finds."""
    found = connection.execute("PRAGMA journal_mode").fetchone()[0]
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES_KEPT}")
    if library_is_fixed():
        if work and found != "wal":
            connection.execute("PRAGMA journal_mode = WAL")
        return
    if found == "wal" and not work and lock.held_by_somebody():
        raise StoreUnavailable(
            f"{path} is in WAL mode and a worker uses it, but this process has SQLite {sqlite3.sqlite_version}, whose "
            "WAL can corrupt files (fixed in 3.51.3). Run this process with the Python that runs the worker"
        )
    mode = connection.execute("PRAGMA journal_mode = PERSIST").fetchone()[0]
    if mode != "persist":
        raise StoreUnavailable(f"{path} is in WAL mode and in use, so it cannot be changed: close what uses it")


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Apply what is missing, each migration in one transaction under the file's write lock.

    Raises SchemaMismatch where a newer amends has closed the file to this code.
    """
    version, floor = schema_of(connection)
    while version < CODE_VERSION:
        connection.execute("BEGIN IMMEDIATE")
        try:
            version, floor = schema_of(connection)
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
    if floor > CODE_VERSION:
        raise SchemaMismatch(
            f"{path} has schema {version}, and needs an amends that knows schema {floor} at least; this one knows "
            f"{CODE_VERSION}. Upgrade this process: pip install --upgrade amends"
        )


def schema_of(connection: sqlite3.Connection) -> tuple[int, int]:
    """The schema's version and floor; 0 and 0 for an empty file. Raises SchemaMismatch for a
    database that is somebody else's."""
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "schema" not in names:
        if "journal" in names and "saga" in names:
            raise SchemaMismatch("the database has tables of amends but no schema row; restore it from a backup")
        return 0, 0
    row = connection.execute(SQL["schema"]).fetchone()
    return (0, 0) if row is None else (int(row[0]), int(row[1]))


def translate(error: sqlite3.Error, path: Path | str) -> StoreError:
    """An error of the library in words that say what to do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _DAMAGED:
        return StoreDamaged(
            f"{path} is damaged or is no database ({error}). Stop everything that uses it, keep a copy, and restore a "
            f"backup, or try `sqlite3 {path} .recover`"
        )
    if code in _FULL:
        return StoreUnavailable(f"the disk of {path} is full; nothing is lost, and work goes on when there is space")
    if code in _BUSY:
        return StoreUnavailable(f"{path} is locked by a transaction of another process or connection; still waiting")
    if code == sqlite3.SQLITE_READONLY:
        return StoreUnavailable(f"{path} is read-only: change its permissions or its mount")
    if code == sqlite3.SQLITE_CANTOPEN:
        return StoreUnavailable(f"{path} cannot be opened: check that it is a file and its directory exists")
    return StoreUnavailable(f"{path}: {error}")


Work = Callable[[sqlite3.Connection], object]
