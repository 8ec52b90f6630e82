"""Lines to a PostgreSQL server: one connection each, for one statement at a time.

A line connects when it is first used, and again after it was lost. A statement that was on its way
then may have been applied or not: whoever sent it finds out by what it wrote.

Guarantees: errors are amends' own (`postgres_errors.py`). Behind a transaction pooler a statement
and its settings stand in one transaction.
Must not: repeat anything by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg

from amends import fault
from amends.errors import StoreUnavailable
from amends.store.postgres_errors import ELSEWHERE, FAILED, LOST, translate
from amends.store.postgres_place import Place
from amends.store.sql import statements

SQL = statements("postgres") | statements("postgres_bulk") | statements("postgres_finding")
IDLE = "idle_in_transaction_session_timeout"
IDLE_SECONDS_MIN = 0.5  # below it a busy machine alone would look like a frozen client
Record: TypeAlias = "asyncpg.Record"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Line:
    """One connection to a place, with its settings."""

    def __init__(self, place: Place, name: str, settings: Mapping[str, str]) -> None:
        self._place = place
        self._name = name
        self._settings = dict(settings)
        self._begin = self._beginning()
        self._connection: Connection | None = None
        self._closed = False
        self.alone: asyncio.Lock = asyncio.Lock()

    def idle_at_most(self, seconds: float) -> None:
        """How long a transaction may stay open while its client says nothing: a frozen one is rolled back."""
        self._settings[IDLE] = f"{round(max(seconds, IDLE_SECONDS_MIN) * 1000)}ms"
        self._begin = self._beginning()

    async def fetch(self, name: str, *values: object) -> list[Record]:
        """The rows of a named statement. Raises StoreError."""
        async with self.alone:
            return await self.fetch_held(name, *values)

    async def fetch_held(self, name: str, *values: object) -> list[Record]:
        """The same, for whoever holds `alone`."""
        try:
            connection = await self._connected()
            if self._place.pooled:
                return await self._in_transaction(connection, SQL[name], values)
            return await connection.fetch(SQL[name], *values)
        except FAILED as error:
            if isinstance(error, LOST) or getattr(error, "sqlstate", None) in ELSEWHERE:
                self.drop()  # connected anew, perhaps to the server that the name leads to by then
            raise translate(error, str(self._place)) from error
        except asyncio.CancelledError:
            self.drop()  # what it would have answered must not meet the next statement
            raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A transaction of several statements. Raises StoreError."""
        async with self.alone:
            try:
                connection = await self._connected()
                await connection.execute(self._begin)
                try:
                    yield connection
                    await connection.execute("COMMIT")
                except BaseException:
                    self.drop()  # the server rolls back
                    raise
            except FAILED as error:
                self.drop()
                raise translate(error, str(self._place)) from error

    async def close(self) -> None:
        """Say good-bye, if there is anybody. Who waits for a turn gets none. May be called twice."""
        self._closed = True
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            try:
                await connection.close(timeout=1.0)
            except (*FAILED, asyncio.CancelledError):
                connection.terminate()

    def drop(self) -> None:
        """Give the connection up, at once."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    def _beginning(self) -> str:
        settings = "; ".join(f"SET LOCAL {setting} = '{value}'" for setting, value in self._settings.items())
        return f"BEGIN ISOLATION LEVEL READ COMMITTED; {settings}"

    async def _in_transaction(self, connection: Connection, statement: str, values: tuple[object, ...]) -> list[Record]:
        await connection.execute(self._begin)
        try:
            rows = await connection.fetch(statement, *values)
            fault.point("commit.inside")
            await connection.execute("COMMIT")
        except asyncpg.PostgresError:
            await connection.execute("ROLLBACK")
            raise
        return rows

    async def _connected(self) -> Connection:
        if not self._closed and (self._connection is None or self._connection.is_closed()):
            options = self._place.options(name=self._name, settings=self._settings)
            self._connection = await connect(options, pooled=self._place.pooled)
        if self._closed or self._connection is None:
            self.drop()
            raise StoreUnavailable("the store is closed")
        return self._connection


class Lines:
    """A few lines for whoever comes; those who come later wait for their turn."""

    def __init__(self, place: Place, name: str, settings: Mapping[str, str], size: int) -> None:
        self._all = [Line(place, name, settings) for _ in range(size)]
        self._free: asyncio.LifoQueue[Line] = asyncio.LifoQueue()  # the one used last: others need not connect
        for line in reversed(self._all):
            self._free.put_nowait(line)
        self._open = True

    def idle_at_most(self, seconds: float) -> None:
        """As of one line."""
        for line in self._all:
            line.idle_at_most(seconds)

    async def fetch(self, name: str, *values: object) -> list[Record]:
        """The rows of a named statement. Raises StoreError."""
        line = await self._free.get()
        try:
            if not self._open:
                raise StoreUnavailable("the store is closed")
            return await line.fetch(name, *values)
        finally:
            self._free.put_nowait(line)

    async def close(self) -> None:
        """Close all. May be called twice."""
        self._open = False
        await asyncio.gather(*(line.close() for line in self._all))


async def connect(options: Mapping[str, Any], *, pooled: bool) -> Connection:
    """A connection on which a uuid is its 16 bytes. Raises what asyncpg raises."""
    connection: Connection = await asyncpg.connect(**options)
    try:
        if pooled:  # the look at the type must not be split over two servers
            await connection.execute("BEGIN")
        await connection.set_type_codec("uuid", schema="pg_catalog", encoder=_same, decoder=bytes, format="binary")
        if pooled:
            await connection.execute("COMMIT")
    except BaseException:
        connection.terminate()
        raise
    return connection


def _same(value: bytes) -> bytes:
    if len(value) != 16:
        raise ValueError(f"{value!r} is no internal id: 16 bytes are expected")
    return value
