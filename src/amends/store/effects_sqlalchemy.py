"""Steps' transactions through SQLAlchemy: connections and sessions, synchronous and asynchronous.

A session joins the step's transaction behind a savepoint of its own, so its commit() and rollback()
end that savepoint and nothing else; what it has not flushed is flushed when the step returns.

Guarantees: connection and session are closed with the step, whoever still holds them; no connection of an engine of our
own outlives its lender and its step.
Must not: dispose of an engine of the user's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Thread
from typing import Any, NamedTuple

import sqlalchemy
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.util import greenlet_spawn

from amends.errors import DefinitionError
from amends.store.effects_over import already_over, connection_of
from amends.store.effects_postgres import SQL, Row
from amends.store.effects_sql import named
from amends.store.postgres_place import Place
from amends.store.postgres_socket import LIBPQ, watch

STATEMENTS = {name: sqlalchemy.text(named(text, ":{}")) for name, text in SQL.items()}
JOIN = "create_savepoint"
_log = logging.getLogger("amends.effects")


class Given(NamedTuple):
    """An engine, and what makes sessions. own: it is ours to dispose of."""

    engine: Any
    sessions: Callable[..., Any]
    own: bool


def given(source: Any, size: int, *, awaited: bool) -> Given:
    """The engine of an engine, a sessionmaker or a place. Raises DefinitionError."""
    plain: Callable[..., Any] = AsyncSession if awaited else Session
    if isinstance(source, Place):
        return Given(_engine(source, size, awaited=awaited), plain, own=True)
    engine, sessions = source, plain
    if hasattr(source, "kw"):  # a sessionmaker
        engine, sessions = source.kw.get("bind"), source
    if isinstance(engine, AsyncEngine) is not awaited or not hasattr(engine, "dialect"):
        raise DefinitionError(f"effects={source!r:.80} is not bound to one {'async ' if awaited else ''}engine")
    if engine.dialect.name != "postgresql":
        raise DefinitionError(
            f"effects=…: an engine for PostgreSQL is expected, not for {engine.dialect.name}; on SQLite a step takes a "
            "sqlite3.Connection"
        )
    return Given(engine, sessions, own=False)


def _engine(place: Place, size: int, *, awaited: bool) -> Any:
    """An engine on a place, through the drivers that amends itself knows."""
    if place.pooled:
        raise DefinitionError(
            "through a transaction pooler, give effects= an engine of your own: its driver must be told not to prepare "
            "statements"
        )
    pool: dict[str, Any] = {"pool_size": size, "max_overflow": 0}
    if awaited:
        import asyncpg

        options: dict[str, Any] = {**place.options(name="amends steps", settings={}), "command_timeout": None}

        async def creator() -> Any:
            connection = await asyncpg.connect(**options)
            await watch(connection)
            return connection

        return create_async_engine("postgresql+asyncpg://", async_creator=creator, **pool)
    import psycopg

    def connect() -> Any:
        return psycopg.connect(place.dsn, application_name="amends steps", **LIBPQ)

    return sqlalchemy.create_engine("postgresql+psycopg://", creator=connect, **pool)


class _Lender:
    """An engine, whose connections, or sessions on them, are lent."""

    def __init__(self, given: Given, *, session: bool) -> None:
        self._given = given
        self._sessions = given.sessions if session else None
        self._pool = given.engine.pool  # an engine that is disposed of has another
        self._closed = False

    async def open(self) -> None:
        """An engine connects when it is used."""

    async def close(self) -> None:
        """A step may still hold a connection: it is closed when that comes back."""
        if self._given.own:
            self._closed = True
            await self._dispose()

    async def came_back(self) -> None:
        """A connection is in the pool again, where nobody takes it any more if this is closed."""
        if self._closed:
            await self._dispose()

    async def _dispose(self) -> None:
        self._pool.dispose()


class _Transaction:
    """A transaction on a connection, which may be lent as a session."""

    def __init__(self, connection: Any, sessions: Callable[..., Any] | None, lender: _Lender) -> None:
        self._connection = connection
        self._sessions = sessions
        self._lender = lender
        self._session: Any = None
        self.given: Any = connection

    @property
    def lost(self) -> bool:
        return bool(self._connection.closed or self._connection.invalidated)

    @property
    def open(self) -> bool:
        transaction = self._connection.get_transaction()
        return transaction is not None and bool(transaction.is_active)

    def _join(self) -> None:
        """Begun: from here on a session takes part in it, if one is to be lent."""
        if self._sessions is not None:
            self.given = self._session = self._sessions(bind=self._connection, binds={}, join_transaction_mode=JOIN)


class SqlalchemyLender(_Lender):
    """Of a synchronous engine."""

    awaited = False

    async def once(self, name: str, *values: object) -> Sequence[Row] | None:
        return None

    async def lend(self) -> Transaction:
        return Transaction(self._given.engine.connect(), self._sessions, self)


class Transaction(_Transaction):
    """On a synchronous connection."""

    _raw: Any = None
    _interrupted = False

    async def begin(self) -> None:
        self._connection.begin()
        self._raw = self._connection.connection.driver_connection
        self._join()

    async def fetch(self, name: str, *values: object) -> Sequence[Row]:
        result = self._connection.execute(STATEMENTS[name], _numbered(values))
        return result.fetchall() if result.returns_rows else []

    async def execute(self, *texts: str) -> None:
        for text in texts:
            self._connection.exec_driver_sql(text)

    async def flush(self) -> None:
        if self._session is not None:
            self._session.flush()

    async def commit(self, *texts: str) -> None:
        await self.execute(*texts)
        self._connection.get_transaction().commit()

    async def rollback(self) -> None:
        self._connection.get_transaction().rollback()

    async def give_back(self, *, sound: bool) -> None:
        if not sound or self._interrupted:
            self._connection.invalidate()
        if self._session is not None:
            with suppress(SQLAlchemyError):
                self._session.close()
        self._connection.close()
        await self._lender.came_back()

    def interrupt(self) -> None:
        self._interrupted = True  # a request to cancel that comes late must not meet the next step
        if hasattr(self._raw, "cancel"):
            Thread(target=_cancel, args=(self._raw,), name="amends-cancel", daemon=True).start()


class AsyncSqlalchemyLender(_Lender):
    """The same, asynchronous."""

    awaited = True

    async def _dispose(self) -> None:
        await greenlet_spawn(self._pool.dispose)

    async def once(self, name: str, *values: object) -> Sequence[Row] | None:
        return None

    async def lend(self) -> AsyncTransaction:
        connection = await self._given.engine.connect()
        while _is_closed((await connection.get_raw_connection()).driver_connection):
            # The other end is gone, and probably for the whole pool: SQLAlchemy does not hear of it from asyncpg.
            await connection.invalidate()
            await connection.close()
            connection = await self._given.engine.connect()
        return AsyncTransaction(connection, self._sessions, self)


class AsyncTransaction(_Transaction):
    """The same, asynchronous. Where asyncpg is below, our own statements go to it directly: SQLAlchemy's way there is
    longer than the statement. Its transaction begins with the first statement that goes through it, or when its adapter
    is asked."""

    _below: Any = None
    _adapter: Any = None
    _begun: bool = False

    @property
    def lost(self) -> bool:
        return super().lost or (self._below is not None and bool(self._below.is_closed()))

    @property
    def open(self) -> bool:
        if self._below is None:
            return super().open
        return not self._below.is_closed() and bool(self._below.is_in_transaction())

    async def begin(self) -> None:
        await self._connection.begin()
        raw = await self._connection.get_raw_connection()
        below = raw.driver_connection
        if type(below).__module__.partition(".")[0] == "asyncpg":
            self._below, self._adapter = below, raw.dbapi_connection
            if hasattr(self._adapter, "_start_transaction"):
                await self._adapter._start_transaction()
                self._begun = True
        self._join()

    async def fetch(self, name: str, *values: object) -> Sequence[Row]:
        if self._below is not None and self._begun:
            rows: Sequence[Row] = await self._below.fetch(SQL[name], *values)
            return rows
        result = await self._connection.execute(STATEMENTS[name], _numbered(values))
        self._begun = True
        return result.fetchall() if result.returns_rows else []

    async def execute(self, *texts: str) -> None:
        if self._below is not None and self._begun:
            await self._below.execute("; ".join(texts))
            return
        for text in texts:
            await self._connection.exec_driver_sql(text)
        self._begun = True

    async def flush(self) -> None:
        if self._session is not None:
            await self._session.flush()

    async def commit(self, *texts: str) -> None:
        inner = getattr(self._adapter, "_transaction", None)
        if self._below is None or connection_of(inner) is not self._below:
            if texts:
                await self.execute(*texts)
            await self._connection.get_transaction().commit()
            return
        await self._below.execute("; ".join((*texts, "COMMIT")))
        with already_over(inner):
            await self._connection.get_transaction().commit()

    async def rollback(self) -> None:
        await self._connection.get_transaction().rollback()

    async def give_back(self, *, sound: bool) -> None:
        if not sound:
            await self._connection.invalidate()
        if self._session is not None:
            with suppress(SQLAlchemyError):
                await self._session.close()
        await self._connection.close()
        await self._lender.came_back()

    def interrupt(self) -> None:
        """A cancelled task cancels its statement by itself."""


def _is_closed(below: Any) -> bool:
    closed = getattr(below, "is_closed", None)
    return bool(closed()) if callable(closed) else bool(getattr(below, "closed", False))


def _numbered(values: Sequence[object]) -> dict[str, object]:
    return {f"p{number}": value for number, value in enumerate(values, 1)}


def _cancel(raw: Any) -> None:
    try:
        raw.cancel()
    except Exception as error:  # noqa: BLE001  # nobody waits for it; the step's grace goes on
        _log.warning("the statement of a step could not be cancelled: %s", error)
