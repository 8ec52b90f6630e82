"""The database of transactional steps' effects: one connection, one transaction at a time.

Guarantees: what a step did, its inbox row and its result become durable together or not at all;
what a step left running in a thread or a task cannot write once the step is over.
Must not: know what the rows mean; `decide/barrier.py` does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from contextvars import ContextVar
from pathlib import Path
from threading import RLock, get_ident
from typing import Any, Never

from amends.errors import AmendsError
from amends.store.effects_rows import InboxRow, Key, row_from, text_of
from amends.store.sql import migrations, refuse_newer, split, statements
from amends.store.sqlite_errors import translate
from amends.store.sqlite_file import BUSY_SECONDS, be_durable, check_place
from amends.store.sqlite_transaction import commit, in_turn
from amends.store.sqlite_turn import StoreConnection

SQL = statements("sqlite_effects")
MIGRATIONS = migrations("sqlite_effects")
Row = tuple[Any, ...]
CODE_VERSION = MIGRATIONS[-1][0]
_READS = frozenset(name for name, statement in SQL.items() if statement.startswith("SELECT"))
# sqlite.org/lang_transaction.html, "Response To Errors Within A Transaction"
_ROLL_BACK = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_INTERRUPT,
}
_mine: ContextVar[object] = ContextVar(
    "amends_step", default=None
)  # whose step this is; tasks and to_thread inherit it


class StepConnection(StoreConnection):
    """The connection that a step is given. The transaction on it is the saga's to end."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._home = get_ident()
        self._gate = RLock()
        self._step: object = None  # who has it; nobody: what runs is ours

    def lend(self, step: object) -> None:
        """From here on it is a step's: of this context, and of what inherits it."""
        self._step = step
        _mine.set(step)

    def take_back(self) -> None:
        """The step is over. A statement that something of it is in the middle of comes to its end first."""
        with self._gate:
            self._step = None

    @contextmanager
    def used(self) -> Iterator[None]:
        """Around a statement. Raises AmendsError where the transaction that is open is another's."""
        with self._gate:
            if get_ident() != self._home if self._step is None else _mine.get() is not self._step:
                raise AmendsError(
                    "the transaction of a step was used after the step had ended, or in a thread that knows nothing of "
                    "the step: wait for all that uses it, and use asyncio.to_thread"
                )
            yield

    def cursor(self, factory: Any = None) -> Any:
        """A cursor that asks, before each statement, whose the transaction is."""
        return super().cursor(StepCursor if factory is None else factory)

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """As ever, while the step runs."""
        cursor: sqlite3.Cursor = self.cursor()
        return cursor.execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        """As ever, while the step runs."""
        cursor: sqlite3.Cursor = self.cursor()
        return cursor.executemany(sql, parameters)

    def commit(self) -> Never:
        """Refused."""
        raise AmendsError("a step's transaction is committed with its result by amends; take the commit() out")

    def rollback(self) -> Never:
        """Refused."""
        raise AmendsError("a step's transaction is rolled back by raising; take the rollback() out")

    def executescript(self, sql_script: str, /) -> Never:
        """Refused: it would commit first."""
        raise AmendsError("executescript() commits; use execute() in a step's transaction")

    def __exit__(self, *_: object) -> Any:
        """`with tx:` ends nothing."""
        return False


class StepCursor(sqlite3.Cursor):
    """A cursor of a `StepConnection`."""

    def execute(self, sql: str, parameters: Any = (), /) -> StepCursor:
        """As ever, while the step runs."""
        with self.connection.used():  # type: ignore[attr-defined]  # it is a StepConnection
            super().execute(sql, parameters)
        return self

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> StepCursor:
        """As ever, while the step runs."""
        with self.connection.used():  # type: ignore[attr-defined]  # it is a StepConnection
            super().executemany(sql, parameters)
        return self

    def executescript(self, sql_script: str, /) -> Never:
        """Refused: it would commit first."""
        raise AmendsError("executescript() commits; use execute() in a step's transaction")


def connect(path: Path) -> StepConnection:
    """Open the database and see that it has the inbox. Raises StoreError."""
    check_place(path)
    try:
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, factory=StepConnection
        )
        try:
            if path.with_name(path.name + "-worker").exists():
                connection.turn_on(path)  # the sagas are in this file too, and the committer is busy
            be_durable(connection)
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode = PERSIST")  # this connection's own; cheaper than DELETE
            connection.create_function("amends_bytes", 1, bytes.fromhex, deterministic=True)
            _migrate(connection, path)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise translate(error, path) from error
    return connection


def has_inbox(path: Path) -> bool:
    """Whether a file has the inbox; it is not changed. Raises StoreError."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'amends_inbox'").fetchone() is not None
    except sqlite3.Error as error:
        raise translate(error, path) from error


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the inbox to this code's schema, without a lock where it is there. Raises SchemaMismatch."""
    version, floor = _schema(connection)
    refuse_newer(path, "inbox schema", version, floor, CODE_VERSION)
    if version >= CODE_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    version, _ = _schema(connection)
    for number, script in MIGRATIONS:
        if number > version:
            for statement in split(script):
                connection.execute(statement)
    connection.execute("COMMIT")


def _schema(connection: sqlite3.Connection) -> tuple[int, int]:
    """The version of the inbox's schema and its floor; 0 where there is none. The first had no row to say so."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE name IN ('amends_inbox', 'amends_inbox_version')")
    there = {str(row[0]) for row in rows}
    if "amends_inbox_version" not in there:
        return len(there), 0
    version, floor = connection.execute(SQL["version"]).fetchone()
    return int(version), int(floor)


def begin(connection: sqlite3.Connection) -> None:
    """Open a transaction that writes."""
    take_back(connection)
    in_turn(connection, "BEGIN IMMEDIATE")


def rounds(connection: sqlite3.Connection, key: Key) -> list[InboxRow]:
    """What the inbox says of a step, all rounds."""
    return [row_from(row) for row in connection.execute(SQL["rounds"], key)]


def save(connection: sqlite3.Connection) -> None:
    """What is done from here on can be taken back by itself."""
    connection.execute("SAVEPOINT step")


def lend(connection: sqlite3.Connection, step: object) -> None:
    """Let a step use the connection, from the context that this is called in."""
    if isinstance(connection, StepConnection):
        connection.lend(step)


def take_back(connection: sqlite3.Connection) -> None:
    """The step is over; called in the connection's own thread."""
    if isinstance(connection, StepConnection):
        connection.take_back()


def keep_step(connection: sqlite3.Connection) -> bool:
    """Make what the step did part of the transaction; False if it has ended that itself."""
    return _on_savepoint(connection, "RELEASE step")


def undo_step(connection: sqlite3.Connection) -> bool:
    """Take back what the step did, and keep the transaction; False as above."""
    return _on_savepoint(connection, "ROLLBACK TO step")


def interrupted(error: BaseException) -> bool:
    """Whether a statement was stopped from outside."""
    return _code(error) == sqlite3.SQLITE_INTERRUPT


def rolls_back(error: BaseException) -> bool:
    """Whether SQLite may have rolled back the whole transaction with this error."""
    return _code(error) in _ROLL_BACK


def _code(error: BaseException) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF if isinstance(error, sqlite3.Error) else 0


def _on_savepoint(connection: sqlite3.Connection, statement: str) -> bool:
    try:
        connection.execute(statement)
    except sqlite3.OperationalError as error:
        if _code(error) != sqlite3.SQLITE_ERROR:
            raise
        return False  # there is no such savepoint
    return True


def keep(connection: sqlite3.Connection, key: Key, row: InboxRow, at: float) -> None:
    """Write an inbox row."""
    round_, action, compensated, missing, result, reason, command = row
    values = (round_, action, int(compensated), int(missing), text_of(result), reason, text_of(command), at)
    connection.execute(SQL["keep"], (*key, *values))


def forget(connection: sqlite3.Connection, namespace: str, sagas: Sequence[bytes], before: float) -> frozenset[bytes]:
    """Forget the rows of sagas, of each all or nothing; gives those that have one from after an instant."""
    found = [saga for saga in sagas if connection.execute(SQL["newest"], (namespace, saga)).fetchone()[0] is not None]
    if not found:
        return frozenset()
    in_turn(connection, "BEGIN IMMEDIATE")
    try:
        newest = {saga: connection.execute(SQL["newest"], (namespace, saga)).fetchone()[0] for saga in found}
        kept = frozenset(saga for saga, at in newest.items() if at is not None and at >= before)
        connection.executemany(SQL["forget"], [(namespace, saga) for saga in found if saga not in kept])
        commit(connection)
    except BaseException:
        give_up(connection)
        raise
    return kept


def ask(connection: sqlite3.Connection, name: str, values: Sequence[object]) -> list[Row]:
    """A statement of the services' own, in a transaction of its own; gives its rows. One that only reads keeps nobody
    from writing."""
    take_back(connection)
    try:
        if name in _READS:
            connection.execute("BEGIN")
            in_turn(connection, SQL["version"])  # it waits while a commit shuts readers out
        else:
            in_turn(connection, "BEGIN IMMEDIATE")
        rows = fetch(connection, name, values)
        commit(connection)
    except BaseException:
        give_up(connection)
        raise
    return rows


def fetch(connection: sqlite3.Connection, name: str, values: Sequence[object]) -> list[Row]:
    """The same in the transaction that is open. A clean-up gives how much it looked at, and how many rows are gone."""
    if name == "clean_inbox":
        return [_clean_inbox(connection, values)]
    if name == "hop_keep":
        return _keep_hop(connection, *values)
    if name == "settle":
        return [row for one in ("settle_queued", name) for row in connection.execute(SQL[one], tuple(values))]
    if name == "mark_answered":
        connection.execute(SQL["home_reopen"], tuple(values))
    cursor = connection.execute(SQL[name], tuple(values))
    if name == "clean_homes":
        connection.execute(SQL["clean_home_marks"])
    if name.startswith("clean_"):
        return [(cursor.rowcount, cursor.rowcount)]
    return cursor.fetchall()


def _keep_hop(connection: sqlite3.Connection, hop: object, messages: object) -> list[Row]:
    kept: list[Row] = connection.execute(SQL["hop_keep"], (hop,)).fetchall()
    if not kept:
        return []
    connection.execute(SQL["hop_answered"], (hop,))
    return [*connection.execute(SQL["publish"], (messages,)), *kept]


def _clean_inbox(connection: sqlite3.Connection, values: Sequence[object]) -> Row:
    due = connection.execute(SQL["due_inbox"], tuple(values)).fetchall()
    gone = 0
    for namespace, saga, young in due:
        if young:
            connection.execute(SQL["put_off_inbox"], (namespace, saga))
        else:
            gone += connection.execute(SQL["forget"], (namespace, saga)).rowcount
            connection.execute(SQL["clean_ended"], (namespace, saga))
            connection.execute(SQL["clean_hops"], (saga.hex(), namespace))
            connection.execute(SQL["clean_marks"], (saga.hex(),))
    return len(due), gone


def finish(connection: sqlite3.Connection) -> None:
    """Make all of it durable."""
    connection.row_factory = None
    commit(connection)


def give_up(connection: sqlite3.Connection) -> None:
    """Leave nothing of it."""
    connection.row_factory = None
    if connection.in_transaction:
        connection.execute("ROLLBACK")
