"""Steps' transactions through psycopg 3, synchronous and asynchronous.

A connection is used by many steps, one after the other, and each gets an object of its own for it: one
that a step has left behind, in a thread or a task, can do nothing any more.

Guarantees: psycopg itself refuses commit() and rollback() while the step runs; the session's settings
and locks end with the step.
Must not: close a pool of the user's.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from threading import Thread
from typing import Any, Never

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from amends.errors import AmendsError
from amends.store.effects_postgres import SQL, Row
from amends.store.effects_sql import named
from amends.store.postgres_place import CONNECT_SECONDS, Place
from amends.store.postgres_socket import LIBPQ

CANCEL_SECONDS = 5.0
OPEN = (TransactionStatus.INTRANS, TransactionStatus.INERROR)
RESET = "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL"
STATEMENTS = {name: named(text, "%({})s") for name, text in SQL.items()}
OVER = (
    "the transaction of a step was used after the step had ended: wait, in it, for every thread and task that uses it"
)
CLOSING = "a step's connection is closed by amends; take the close() out"
_log = logging.getLogger("amends.effects")


class StepConnection(psycopg.Connection[Any]):
    """What a step gets."""

    over = False
    _pool = None  # that it is not closed, but used again, is meant

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        """As ever, while the step runs."""
        if self.over:
            raise AmendsError(OVER)
        return super().wait(gen, *args, **options)

    def close(self) -> None:
        """Refused."""
        raise AmendsError(CLOSING)


class AsyncStepConnection(psycopg.AsyncConnection[Any]):
    """The same, asynchronous."""

    over = False
    _pool = None

    async def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        """As ever, while the step runs."""
        if self.over:
            raise AmendsError(OVER)
        return await super().wait(gen, *args, **options)

    async def close(self) -> Never:
        """Refused."""
        raise AmendsError(CLOSING)


class PsycopgLender:
    """A pool of psycopg's (`psycopg_pool`), or connections of our own to a place."""

    awaited = False

    def __init__(self, source: Any) -> None:
        self._place = source if isinstance(source, Place) else None
        self._pool: Any = None if self._place is not None else source
        self._idle: list[Any] = []  # connections in libpq's sense, without anybody's object
        self._open = False

    async def open(self) -> None:
        self._open = True
        if self._pool is not None and self._pool.closed:
            self._pool.open()

    async def close(self) -> None:
        self._open = False
        while self._idle:
            self._idle.pop().finish()

    async def once(self, name: str, *values: object) -> Sequence[Row] | None:
        return None

    async def lend(self) -> Transaction:
        if self._pool is not None:
            return Transaction(self, self._pool.getconn(CONNECT_SECONDS))
        while (raw := self._taken()) is not None:
            if raw.status == psycopg.pq.ConnStatus.OK:
                return Transaction(self, _fresh(StepConnection(raw)))
        options = _options(self._place)
        connection: Any = StepConnection.connect(**options)
        return Transaction(self, connection)

    def _taken(self) -> Any:
        """One that nobody uses, if there is one: steps in other threads look at the same moment."""
        with suppress(IndexError):
            return self._idle.pop()
        return None

    def take(self, connection: Any, *, sound: bool) -> None:
        """A connection comes back."""
        if self._pool is not None:
            if not sound:
                connection.close()
            self._pool.putconn(connection)
            return
        if sound and not (self._place and self._place.pooled):
            connection.execute(RESET)
        connection.over = True
        if sound and self._open:
            self._idle.append(connection.pgconn)
        else:
            connection.pgconn.finish()


class Transaction:
    """A transaction on a connection."""

    def __init__(self, lender: PsycopgLender, connection: Any) -> None:
        self._lender = lender
        self.given: Any = connection
        self._block: Any = psycopg.Transaction(connection)
        self._interrupted = False

    @property
    def lost(self) -> bool:
        return bool(self.given.closed)

    async def begin(self) -> None:
        self._block.__enter__()

    async def fetch(self, name: str, *values: object) -> Sequence[Row]:
        with self.given.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(STATEMENTS[name], _numbered(values))
            return cursor.fetchall() if cursor.description else []

    async def execute(self, *texts: str) -> None:
        with self.given.cursor() as cursor:
            cursor.execute("; ".join(texts))

    async def flush(self) -> None:
        """There is nothing that is not written."""

    async def commit(self, *texts: str) -> None:
        if texts:
            await self.execute(*texts)
        self._block.__exit__(None, None, None)
        _see_committed(self._block)

    @property
    def open(self) -> bool:
        return self.given.pgconn.transaction_status in OPEN

    async def rollback(self) -> None:
        self._block.__exit__(psycopg.Rollback, psycopg.Rollback(), None)

    async def give_back(self, *, sound: bool) -> None:
        calm = sound and not self._interrupted and self.given.pgconn.transaction_status == TransactionStatus.IDLE
        self._lender.take(self.given, sound=calm)

    def interrupt(self) -> None:
        self._interrupted = True  # a request to cancel that comes late must not meet the next step
        Thread(target=_cancel, args=(self.given,), name="amends-cancel", daemon=True).start()


class AsyncPsycopgLender:
    """The same, asynchronous."""

    awaited = True

    def __init__(self, source: Any) -> None:
        self._place = source if isinstance(source, Place) else None
        self._pool: Any = None if self._place is not None else source
        self._idle: list[Any] = []
        self._open = False

    async def open(self) -> None:
        self._open = True
        if self._pool is not None and self._pool.closed:
            await self._pool.open()

    async def close(self) -> None:
        self._open = False
        while self._idle:
            self._idle.pop().finish()

    async def once(self, name: str, *values: object) -> Sequence[Row] | None:
        return None

    async def lend(self) -> AsyncTransaction:
        if self._pool is not None:
            return AsyncTransaction(self, await self._pool.getconn(CONNECT_SECONDS))
        while self._idle:
            raw = self._idle.pop()
            if raw.status == psycopg.pq.ConnStatus.OK:
                return AsyncTransaction(self, await _fresh_async(AsyncStepConnection(raw)))
        options = _options(self._place)
        connection: Any = await AsyncStepConnection.connect(**options)
        return AsyncTransaction(self, connection)

    async def take(self, connection: Any, *, sound: bool) -> None:
        """A connection comes back."""
        if self._pool is not None:
            if not sound:
                await connection.close()
            await self._pool.putconn(connection)
            return
        if sound and not (self._place and self._place.pooled):
            await connection.execute(RESET)
        connection.over = True
        if sound and self._open and not connection.lock.locked():
            self._idle.append(connection.pgconn)
        else:
            connection.pgconn.finish()


class AsyncTransaction:
    """The same, asynchronous."""

    def __init__(self, lender: AsyncPsycopgLender, connection: Any) -> None:
        self._lender = lender
        self.given: Any = connection
        self._block: Any = psycopg.AsyncTransaction(connection)

    @property
    def lost(self) -> bool:
        return bool(self.given.closed)

    async def begin(self) -> None:
        await self._block.__aenter__()

    async def fetch(self, name: str, *values: object) -> Sequence[Row]:
        async with self.given.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(STATEMENTS[name], _numbered(values))
            rows: Sequence[Row] = await cursor.fetchall() if cursor.description else []
            return rows

    async def execute(self, *texts: str) -> None:
        async with self.given.cursor() as cursor:
            await cursor.execute("; ".join(texts))

    async def flush(self) -> None:
        """There is nothing that is not written."""

    async def commit(self, *texts: str) -> None:
        if texts:
            await self.execute(*texts)
        await self._block.__aexit__(None, None, None)
        _see_committed(self._block)

    @property
    def open(self) -> bool:
        return self.given.pgconn.transaction_status in OPEN

    async def rollback(self) -> None:
        await self._block.__aexit__(psycopg.Rollback, psycopg.Rollback(), None)

    async def give_back(self, *, sound: bool) -> None:
        calm = sound and self.given.pgconn.transaction_status == TransactionStatus.IDLE
        await self._lender.take(self.given, sound=calm)

    def interrupt(self) -> None:
        """A cancelled task cancels its statement by itself."""


def _see_committed(block: Any) -> None:
    """On a connection that is closed, psycopg ends a transaction without a word."""
    if block.status is not block.Status.COMMITTED:
        raise psycopg.OperationalError("the connection is closed")


def _options(place: Place | None) -> dict[str, Any]:
    dsn = "" if place is None else place.dsn
    name = {} if place is None or place.pooled else {"application_name": "amends steps"}
    # Prepared statements would belong to the object, which changes, and stay in the session.
    return {
        **LIBPQ,
        "conninfo": dsn,
        "autocommit": True,
        "prepare_threshold": None,
        "connect_timeout": round(CONNECT_SECONDS),
        **name,
    }


def _fresh(connection: StepConnection) -> StepConnection:
    connection.autocommit = True
    connection.prepare_threshold = None
    return connection


async def _fresh_async(connection: AsyncStepConnection) -> AsyncStepConnection:
    await connection.set_autocommit(True)
    connection.prepare_threshold = None
    return connection


def _numbered(values: Sequence[object]) -> dict[str, object] | None:
    return {f"p{number}": value for number, value in enumerate(values, 1)} or None


def _cancel(connection: Any) -> None:
    try:
        connection.cancel_safe(timeout=CANCEL_SECONDS)
    except Exception as error:  # noqa: BLE001  # nobody waits for it; the step's grace goes on
        _log.warning("the statement of a step could not be cancelled: %s", error)
