"""`within=` a connection or a session of SQLAlchemy, sync or async, whatever driver is below.

SQLAlchemy begins a transaction with the first use of a connection, so using it here may be that.
Statements go through SQLAlchemy: it alone knows when its drivers begin.

Guarantees: a session's pending objects are neither flushed nor touched.
Must not: import SQLAlchemy.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Literal
from weakref import WeakKeyDictionary

from amends.errors import NotEnlisted
from amends.store.given import PARAMETER, Given, GivenAsync, Row, Tell, loaded, refuse_autocommit

_WAY = 'take isolation_level="AUTOCOMMIT" away from it'
_told: WeakKeyDictionary[object, dict[Tell, None]] = WeakKeyDictionary()  # who hears of the next commit


def given(within: object) -> Given | GivenAsync | None:
    """A connection or session of SQLAlchemy, or a registry of sessions; None for anything else."""
    if isinstance(within, loaded("sqlalchemy.orm", "scoped_session")):
        within = within()  # type: ignore[operator]  # a scoped session is called for its session
    if isinstance(within, loaded("sqlalchemy.ext.asyncio", "async_scoped_session")):
        within = within()  # type: ignore[operator]  # likewise
    if isinstance(within, loaded("sqlalchemy.orm", "Session")):
        return Sqlalchemy(None, within)
    if isinstance(within, loaded("sqlalchemy.engine", "Connection")):
        return Sqlalchemy(within, None)
    if isinstance(within, loaded("sqlalchemy.ext.asyncio", "AsyncSession")):
        return SqlalchemyAsync(None, within)
    if isinstance(within, loaded("sqlalchemy.ext.asyncio", "AsyncConnection")):
        return SqlalchemyAsync(within, None)
    return None


class _Either:
    """A connection, or a session and, once it is ready, its connection."""

    dialect: str = ""

    def __init__(self, connection: Any, session: Any) -> None:
        self._connection: Any = connection
        self._session: Any = session


class Sqlalchemy(_Either):
    """Of a synchronous engine."""

    awaited: Literal[False] = False

    @property
    def raw(self) -> Any:
        return self._connection.connection.driver_connection

    def ready(self) -> None:
        if self._connection is None:
            try:
                self._connection = self._session.connection()
            except sys.modules["sqlalchemy"].exc.InvalidRequestError as error:
                raise _refuse_session(error) from error
        self.dialect: str = str(self._connection.dialect.name)
        _refuse_autocommit(self._connection)

    def fetch(self, statement: str, value: str | None) -> Sequence[Row]:
        rows: Sequence[Row] = self._connection.execute(*_text(statement, value)).fetchall()
        return rows

    def after_commit(self, tell: Tell) -> bool:
        _listen(self._connection, self._session, tell)
        return True


class SqlalchemyAsync(_Either):
    """The same, asynchronous."""

    awaited: Literal[True] = True

    @property
    def raw(self) -> Any:
        return self._connection.sync_connection.connection.driver_connection

    async def ready(self) -> None:
        if self._connection is None:
            try:
                self._connection = await self._session.connection()
            except sys.modules["sqlalchemy"].exc.InvalidRequestError as error:
                raise _refuse_session(error) from error
        if self._connection.sync_connection is None:
            raise NotEnlisted("within=: the SQLAlchemy connection is not open: use `async with engine.begin():`")
        self.dialect: str = str(self._connection.dialect.name)
        _refuse_autocommit(self._connection.sync_connection)

    async def fetch(self, statement: str, value: str | None) -> Sequence[Row]:
        rows: Sequence[Row] = (await self._connection.execute(*_text(statement, value))).fetchall()
        return rows

    def after_commit(self, tell: Tell) -> bool:
        session = None if self._session is None else self._session.sync_session
        _listen(self._connection.sync_connection, session, tell)
        return True


def _text(statement: str, value: str | None) -> tuple[Any, dict[str, str]]:
    """A statement for whatever driver is below."""
    text = sys.modules["sqlalchemy"].text(statement.replace(PARAMETER, ":given"))
    return text, {} if value is None else {"given": value}


def _refuse_autocommit(connection: Any) -> None:
    if getattr(connection.connection.dbapi_connection, "autocommit", False) is True:
        raise refuse_autocommit("SQLAlchemy connection", _WAY)


def _refuse_session(error: Exception) -> NotEnlisted:
    return NotEnlisted(f"within=: SQLAlchemy gives no connection for this session: {error}")


def _listen(connection: Any, session: Any, tell: Tell) -> None:
    """Have somebody hear of the next commit. One listener an object, however often it is used. A
    connection's comes just before its commit."""
    target, name = (connection, "commit") if session is None else (session, "after_commit")
    if target not in _told:
        waiting = _told[target] = {}

        def committed(_: object) -> None:
            while waiting:
                waiting.popitem()[0]()

        sys.modules["sqlalchemy"].event.listen(target, name, committed)
    _told[target][tell] = None
