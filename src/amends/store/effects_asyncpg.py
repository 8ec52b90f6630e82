"""Steps' transactions through asyncpg.

Guarantees: what the pool lends is a cover of the connection, and is taken away when the step is over;
the user may nest `tx.transaction()`.
Must not: close a pool of the user's.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import asyncpg

from amends.store.effects_over import already_over, connection_of
from amends.store.effects_postgres import SQL, Row
from amends.store.postgres_place import CONNECT_SECONDS, Place
from amends.store.postgres_socket import watch

CLOSE_SECONDS = 5.0


class AsyncpgLender:
    """A pool of asyncpg: the user's, or one of our own on a place."""

    awaited = True

    def __init__(self, source: asyncpg.Pool[Any] | Place, size: int) -> None:
        self._place = source if isinstance(source, Place) else None
        self._pool: Any = None if isinstance(source, Place) else source
        self._size = size
        self._clean: WeakSet[Any] = WeakSet()  # connections whose session was reset with their COMMIT, or not changed

    async def open(self) -> None:
        if self._place is not None and self._pool is None:
            options = self._place.options(name="amends steps", settings={})
            del options["command_timeout"]  # a step's own timeout is what bounds its statements
            self._pool = asyncpg.create_pool(**options, min_size=0, max_size=self._size, init=watch, reset=self._reset)
        await self._pool  # a user's own need not be open yet either

    async def close(self) -> None:
        pool, self._pool = self._pool, self._pool if self._place is None else None
        if pool is not None and self._place is not None:
            pool.terminate()  # whatever still runs on it has been waited for long enough

    async def lend(self) -> Transaction:
        if self._place is None:
            return Transaction(self._pool, await self._pool.acquire(timeout=CONNECT_SECONDS), None)
        connection = await self._pool.acquire()  # it has room for all who may ask, and its own limit for connecting
        return Transaction(self._pool, connection, self._clean)

    async def once(self, name: str, *values: object) -> Sequence[Row] | None:
        if self._place is None:
            return None  # whoever uses a pool of the user's may have begun anything in its sessions
        connection = await self._pool.acquire()
        sound = False
        try:
            rows: Sequence[Row] = await connection.fetch(SQL[name], *values)
            below = connection_of(connection.transaction())
            if below is not None:
                self._clean.add(below)
            sound = True
        finally:
            if not sound:  # it may hang for hours, where its other end is gone
                with suppress(asyncpg.InterfaceError):  # the pool has taken it away, because it was lost
                    connection.terminate()
            await self._pool.release(connection)
        return rows

    async def _reset(self, connection: Any) -> None:
        """Nothing of a step stays in its session; the way of a COMMIT has been used for that, if there was one, and a
        statement of our own leaves nothing."""
        if connection in self._clean:
            self._clean.discard(connection)
        else:
            await connection.execute(connection.get_reset_query())


class Transaction:
    """A transaction on a connection of the pool."""

    def __init__(self, pool: Any, connection: Any, clean: WeakSet[Any] | None) -> None:
        self._pool = pool
        self._clean = clean
        self.given: Any = connection
        self._top: Any = connection.transaction()

    @property
    def lost(self) -> bool:
        try:
            return bool(self.given.is_closed())
        except asyncpg.InterfaceError:  # the pool has taken it away, because it was lost
            return True

    async def begin(self) -> None:
        await self._top.start()

    async def fetch(self, name: str, *values: object) -> Sequence[Row]:
        rows: Sequence[Row] = await self.given.fetch(SQL[name], *values)
        return rows

    async def execute(self, *texts: str) -> None:
        if texts:
            await self.given.execute("; ".join(texts))

    async def flush(self) -> None:
        """There is nothing that is not written."""

    async def commit(self, *texts: str) -> None:
        below = connection_of(self._top)
        if below is None:
            await self.execute(*texts)
            await self._top.commit()
            return
        reset = () if self._clean is None else (below.get_reset_query(),)
        await self.execute(*texts, "COMMIT", *reset)
        with already_over(self._top):
            await self._top.commit()
        if self._clean is not None:
            self._clean.add(below)

    @property
    def open(self) -> bool:
        try:
            return bool(self.given.is_in_transaction())
        except asyncpg.InterfaceError:  # likewise
            return False

    async def rollback(self) -> None:
        await self._top.rollback()

    async def give_back(self, *, sound: bool) -> None:
        if not sound:
            with suppress(asyncpg.InterfaceError):  # likewise
                self.given.terminate()
        await self._pool.release(self.given)

    def interrupt(self) -> None:
        """A cancelled task cancels its statement by itself."""
