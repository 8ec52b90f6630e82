"""The engine without threads: under a virtual clock everything happens on the caller's thread.

Guarantees: a sync function, and a job of a database connection, is done when its call returns.
Must not: be used where anything else needs the loop meanwhile.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from amends.errors import StoreUnavailable
from amends.run.session import Session
from amends.run.transactions import Transactions
from amends.run.transactions_sqlite import SqliteTransactions
from amends.store.clock import Clock
from amends.store.memory import MemoryStore
from amends.store.sqlite import SqliteStore
from amends.store.sqlite_thread import ConnectionThread
from amends.store.sqlite_turn import StoreConnection
from amends.testing.virtual import Inline, VirtualLoop

T = TypeVar("T")
TURNS_AT_ONCE_MAX = 10_000
SPIN_SECONDS = 0.01


class SandboxLoop(VirtualLoop):
    """A virtual loop that can be run until nothing more happens without time passing."""

    def __init__(self, begin: float = 0.0, shuffle: Random | None = None) -> None:
        super().__init__(shuffle)
        self._virtual = begin
        self._waiting_for_quiet: list[asyncio.Future[None]] = []
        self._turns_at_once = 0

    async def quiet(self) -> None:
        """Let happen whatever can happen at this instant."""
        future: asyncio.Future[None] = self.create_future()
        self._waiting_for_quiet.append(future)
        await future

    def idle(self, timeout: float | None) -> None:
        self._turns_at_once = self._turns_at_once + 1 if timeout == 0 else 0
        if self._turns_at_once > TURNS_AT_ONCE_MAX:
            self._virtual += SPIN_SECONDS  # somebody spins; time passes for him too
        if timeout != 0 and self._waiting_for_quiet:
            waiting, self._waiting_for_quiet = self._waiting_for_quiet, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)
            return
        super().idle(timeout)

    def run_in_executor(  # type: ignore[override]  # the same, less precisely
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> Any:
        """At once, on this thread: `asyncio.to_thread` works, and takes no time."""
        return asyncio.wrap_future(Inline().submit(lambda: func(*args)), loop=self)

    async def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Refused, with the words that help."""
        raise ConnectionError("there is no network under the virtual clock; give the step a fake of what it calls")

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        """Refused, with the words that help."""
        return await self.create_connection()


class InlineConnection(ConnectionThread):
    """A connection whose jobs run where they are asked for. It never waits for a lock: whoever
    holds one cannot let go of it before this returns."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._inline: sqlite3.Connection | None = None

    async def start(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._inline = connect()
        self._inline.execute("PRAGMA busy_timeout = 0")
        if isinstance(self._inline, StoreConnection):
            self._inline.patience_seconds = 0.0
        self._connection = self._inline

    async def stop(self, patience_seconds: float | None = None) -> None:
        self.kill()

    def kill(self) -> None:
        """Close, whatever is in the middle; an open transaction is rolled back."""
        connection, self._connection, self._inline = self._inline, None, None
        if connection is not None:
            connection.set_authorizer(None)
            sqlite3.Connection.rollback(connection)  # at once, whoever still holds a cursor
            connection.close()

    def run(self, job: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        connection = self._inline
        if connection is None:
            raise StoreUnavailable(f"{self._path} is closed")
        future = self._submit(lambda _: job(connection))
        work = self._jobs.get_nowait()
        if work is not None:
            work()
        return future


class InlineSession(Session):
    """A session whose transactional steps run inline too."""

    _effects: InlineConnection | None = None

    async def open(self, *, work: bool) -> None:
        """Open, and leave the rarer duties out: in a year there would be a million of them."""
        await super().open(work=work)
        if self.worker is not None:
            self.worker.ownership._slow_at = float("inf")

    def kill(self) -> None:
        """The process is gone: its attempts are heard of no more, and an open transaction of a
        step is rolled back."""
        for live in () if self.worker is None else self.worker.lives.values():
            live.dropped = True
        if self._effects is not None:
            self._effects.kill()

    def _transactions(self) -> Transactions | None:
        made = super()._transactions()
        if isinstance(made, SqliteTransactions):
            self._effects = made._thread = InlineConnection(made._path)
        return made


class SoleMemoryStore(MemoryStore):
    """Memory with one worker at a time, as a SQLite file has: whoever opens it takes over."""

    leases = False

    async def retire_expired(self, worker: int) -> list[int]:
        db = self._db
        for row in list(db.workers.values()):
            if row.id != worker and row.retired_at is None:
                db.workers[row.id] = row._replace(retired_at=db.clock())
        return await super().retire_expired(worker)

    def kill(self) -> None:
        """The process is gone: nothing more comes through this store."""
        self._open = False
        if self._listener is not None and self._listener in self._db.listeners:
            self._db.listeners.remove(self._listener)


class InlineSqliteStore(SqliteStore):
    """A file, without its writer thread."""

    def __init__(self, path: Path, namespace: str, clock: Clock) -> None:
        super().__init__(path, namespace, clock)
        self._thread: InlineConnection = InlineConnection(self.path)

    def kill(self) -> None:
        """The process is gone: its connection, lock and socket with it."""
        if self._hints is not None:
            self._hints.close()
        self._thread.kill()
        self._lock.release()
