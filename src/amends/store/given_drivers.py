"""`within=` a connection of a PostgreSQL driver: asyncpg, psycopg (sync and async), psycopg2.

Guarantees: what the user has set for rows (row factories, cursor classes) is neither used nor
changed.
Must not: import a driver.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from amends.errors import NotEnlisted
from amends.store.given import Given, GivenAsync, Row, Tell, loaded, refuse_autocommit, refuse_failed, with_percent

LOOKS_SECONDS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064)  # between two looks at whether it is over

# libpq's PQTRANS_…, as psycopg and psycopg2 give them
IDLE, ACTIVE, INTRANS, INERROR, UNKNOWN = range(5)


def given(within: object) -> Given | GivenAsync | None:
    """A driver's connection; None for anything else."""
    if isinstance(within, loaded("asyncpg.connection", "Connection") + loaded("asyncpg.pool", "PoolConnectionProxy")):
        return Asyncpg(within)
    if isinstance(within, loaded("psycopg", "Connection")):
        return Psycopg(within)
    if isinstance(within, loaded("psycopg", "AsyncConnection")):
        return PsycopgAsync(within)
    if isinstance(within, loaded("psycopg2.extensions", "connection")):
        return Psycopg2(within)
    return None


class Asyncpg:
    """A connection of asyncpg, from a pool or not."""

    awaited: Literal[True] = True
    dialect = "postgresql"

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def raw(self) -> Any:
        return getattr(self._connection, "_con", self._connection)  # what a pool lends is a cover

    async def ready(self) -> None:
        if not self._connection.is_in_transaction():
            raise refuse_autocommit("asyncpg connection", "begin one with `async with connection.transaction():`")

    async def fetch(self, statement: str, value: str | None) -> Sequence[Row]:
        rows: Sequence[Row] = await self._connection.fetch(statement, *([] if value is None else [value]))
        return rows

    def after_commit(self, tell: Tell) -> bool:
        _once_over(self.raw, tell, iter(LOOKS_SECONDS))
        return True


class Psycopg:
    """A connection of psycopg 3. Unless it is in autocommit mode, its next statement begins a
    transaction if none is open."""

    awaited: Literal[False] = False
    dialect = "postgresql"

    def __init__(self, connection: Any) -> None:
        self.raw = connection

    def ready(self) -> None:
        _check("psycopg connection", self.raw.info.transaction_status, autocommit=self.raw.autocommit)

    def fetch(self, statement: str, value: str | None) -> Sequence[Row]:
        with self.raw.cursor(row_factory=_tuples()) as cursor:
            cursor.execute(with_percent(statement), None if value is None else [value])
            rows: Sequence[Row] = cursor.fetchall()
        return rows

    def after_commit(self, tell: Tell) -> bool:
        return False


class PsycopgAsync:
    """The same, asynchronous."""

    awaited: Literal[True] = True
    dialect = "postgresql"

    def __init__(self, connection: Any) -> None:
        self.raw = connection

    async def ready(self) -> None:
        _check("psycopg connection", self.raw.info.transaction_status, autocommit=self.raw.autocommit)

    async def fetch(self, statement: str, value: str | None) -> Sequence[Row]:
        async with self.raw.cursor(row_factory=_tuples()) as cursor:
            await cursor.execute(with_percent(statement), None if value is None else [value])
            rows: Sequence[Row] = await cursor.fetchall()
        return rows

    def after_commit(self, tell: Tell) -> bool:
        return False


class Psycopg2:
    """A connection of psycopg2."""

    awaited: Literal[False] = False
    dialect = "postgresql"

    def __init__(self, connection: Any) -> None:
        self.raw = connection

    def ready(self) -> None:
        _check("psycopg2 connection", self.raw.get_transaction_status(), autocommit=self.raw.autocommit)

    def fetch(self, statement: str, value: str | None) -> Sequence[Row]:
        with self.raw.cursor(cursor_factory=sys.modules["psycopg2.extensions"].cursor) as cursor:
            cursor.execute(with_percent(statement), None if value is None else [value])
            rows: Sequence[Row] = cursor.fetchall()
        return rows

    def after_commit(self, tell: Tell) -> bool:
        return False


def _once_over(connection: Any, tell: Tell, pauses: Iterator[float]) -> None:
    """asyncpg says nothing when a transaction ends; its connection knows, and is asked now and then."""
    pause = next(pauses, None)
    if pause is None or connection.is_closed() or not connection.is_in_transaction():
        tell()
    else:
        asyncio.get_running_loop().call_later(pause, _once_over, connection, tell, pauses)


def _tuples() -> Any:
    return sys.modules["psycopg.rows"].tuple_row


def _check(kind: str, status: int, *, autocommit: bool) -> None:
    """Raises NotEnlisted for what is no open transaction, and becomes none with the next statement."""
    if status == INERROR:
        raise refuse_failed(kind)
    if status == UNKNOWN:
        raise NotEnlisted(f"within=: the {kind} is closed")
    if status == IDLE and autocommit:
        raise refuse_autocommit(kind, _WAYS[kind])


_WAYS = {
    "psycopg connection": "begin one with `with connection.transaction():`",
    "psycopg2 connection": "set `connection.autocommit = False`",
}
