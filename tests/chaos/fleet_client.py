"""One client process of the chaos on PostgreSQL.

What it is: `python fleet_client.py NAME SEED`. It does what the clients of one file do, starts sagas in transactions
of its own through several drivers, and starts the same ids as all other clients, at the same time.
Guarantees and must not: those of `chaos_client.py`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psycopg
from chaos_client import Client, Doings
from chaos_shop import DATABASE, Order, buy, decide, orchestrator

from amends.errors import IdConflict, StoreUnavailable

SAME_SECONDS = 0.7  # as long all clients start the same id
OWN_TROUBLE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, psycopg.Error)


class FleetClient(Client):
    """What one process does until it is told to stop."""

    def doings(self) -> Doings:
        """What it does, and how often."""
        return (*super().doings(), (self._same_id_at_once, 4), (self._rival_for_an_id, 2))

    async def _same_id_at_once(self) -> None:
        """Several processes, and this one twice, start the very same saga."""
        slot = int(time.time() / SAME_SECONDS)
        saga_id, order = f"both-{slot}", Order(1 + slot % 4999, ("good", "flaky", "declined")[slot % 3], "charge")
        self.note("asked", saga_id, saga=buy.name)
        await asyncio.gather(*(orchestrator.start(buy, order, id=saga_id) for _ in range(2)))
        self.note("started", saga_id, saga=buy.name, cents=order.cents)
        self.mine.append((buy, saga_id, order))

    async def _rival_for_an_id(self) -> None:
        """Several processes want the same id for different orders: one of them has it."""
        saga_id, order = f"rival-{int(time.time() / SAME_SECONDS)}", Order(self.dice.randrange(1, 5000))
        self.note("asked", saga_id, saga=decide.name)
        try:
            await orchestrator.start(decide, order, id=saga_id)
        except IdConflict:
            self.note("refused", saga_id)
            return
        self.note("started", saga_id, saga=decide.name, cents=order.cents)
        self.mine.append((decide, saga_id, order))

    async def _start_within(self) -> None:
        """The program's own row and the saga, in one transaction, which may end in every way."""
        saga, saga_id, value = self._new()
        end = self.dice.choice(("commit", "commit", "commit", "rollback", "die", "hold"))
        try:
            async with self._transaction(end) as connection:
                await orchestrator.start(saga, value, id=saga_id, within=connection)
                if end == "hold":
                    await asyncio.sleep(self.dice.random() * 1.5)
                elif end == "die" and self.dice.random() < 0.2:
                    os.kill(os.getpid(), signal.SIGKILL)
                await _write_row(connection, saga_id)
        except OWN_TROUBLE as error:  # the line, the server: whether it was committed, its row will tell
            self.note("told", kind=type(error).__name__, text=str(error)[:200])
            return
        if end == "rollback":
            self.note("rolled-back", saga_id)
        else:
            self.note("started", saga_id, saga=saga.name)
            self.mine.append((saga, saga_id, value))

    @asynccontextmanager
    async def _transaction(self, end: str) -> AsyncIterator[Any]:
        url = _plain(DATABASE)
        if self.dice.random() < 0.5:
            connection = await asyncpg.connect(url, timeout=5, statement_cache_size=0)
            try:
                transaction = connection.transaction()
                await transaction.start()
                yield connection
                await (transaction.rollback() if end == "rollback" else transaction.commit())
            finally:
                connection.terminate()
        else:
            other = await psycopg.AsyncConnection.connect(url, connect_timeout=5, prepare_threshold=None)
            try:
                yield other
                await (other.rollback() if end == "rollback" else other.commit())
            finally:
                await other.close()


async def _write_row(connection: Any, saga_id: str) -> None:
    if isinstance(connection, psycopg.AsyncConnection):
        await connection.execute("INSERT INTO chaos_order VALUES (%s)", (saga_id,))
    else:
        await connection.execute("INSERT INTO chaos_order VALUES ($1)", saga_id)


def _plain(url: str) -> str:
    """Without the options that only amends knows."""
    return urlunsplit(urlsplit(url)._replace(query=""))


async def main() -> None:
    """Work; where the database is away when it comes, it goes, and is started again."""
    client = FleetClient(sys.argv[1], int(sys.argv[2]))
    try:
        await client.work()
    except StoreUnavailable as error:
        client.note("told", kind=type(error).__name__, text=str(error)[:200])
        await asyncio.sleep(0.3)


if __name__ == "__main__":
    asyncio.run(main())
