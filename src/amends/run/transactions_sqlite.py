"""Transactional steps on a SQLite file.

Guarantees: one transaction at a time; a busy or full database is waited for, and is never an
outcome.
Must not: judge. `decide/barrier.py` does.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from amends import fault
from amends.decide import messages as m
from amends.decide.barrier import Ruling, Verdict
from amends.decide.messages import Message
from amends.errors import StoreError, StoreUnavailable
from amends.run.attempt import contained, settled
from amends.run.barrier import Try, entry_of, row_of
from amends.run.batch_postgres import Undone
from amends.run.batch_sqlite import Batch
from amends.run.transactions import Transactions
from amends.store import effects
from amends.store.effects_rows import InboxRow
from amends.store.sqlite_thread import ConnectionThread

_log = logging.getLogger("amends.transactions")
CLOSE_SECONDS = 5.0  # how long a step that does not end when it is asked to may keep the worker


class SqliteTransactions(Transactions):
    """The effects file of one worker."""

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self._path = path
        self._now = now
        self._thread = ConnectionThread(path)
        self._one = asyncio.Lock()
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Connect. Raises StoreError."""

        def connect() -> sqlite3.Connection:
            self._connection = effects.connect(self._path)
            return self._connection

        await self._thread.start(connect)

    async def close(self) -> None:
        """Let go. May be called twice."""
        await self._thread.stop(CLOSE_SECONDS)

    async def forget(self, namespace: str, sagas: Sequence[bytes], seconds: float) -> frozenset[bytes]:
        async with self._one:  # the connection is one step's at a time
            before = self._now() - seconds
            return await self._thread.run(lambda connection: effects.forget(connection, namespace, sagas, before))

    async def ask(self, name: str, *values: object) -> Sequence[Sequence[Any]]:
        async with self._one:
            return await self._thread.run(lambda connection: effects.ask(connection, name, values))

    async def batch(self, tries: Sequence[Try]) -> list[Message | None]:
        connection = self._connection
        if connection is None:
            return [None] * len(tries)
        async with self._one:
            try:
                return await Batch(self._thread, connection, self._now).run(tries)
            except (StoreError, Undone) as error:
                _log.info("%d commands are tried one by one: %s", len(tries), error)
                await self._thread.run(effects.give_up)
                return [None] * len(tries)

    @asynccontextmanager
    async def _turn(self, it: Try) -> AsyncIterator[None]:
        async with self._one:
            yield

    async def _try(self, it: Try) -> Message:
        it.error = None
        rows = await self._thread.run(lambda connection: _begin(connection, it))
        expired = it.expired(self._now())
        if expired is not None:
            await self._thread.run(effects.give_up)
            return expired
        ruling = it.ruling(rows)
        if ruling.verdict is not Verdict.RUN:
            return await self._thread.run(lambda connection: self._settle(connection, it, rows, ruling))
        if it.call.is_async:
            return await self._call_async(it, rows)
        return await self._thread.run(lambda connection: self._call(connection, it, rows))

    def _settle(self, connection: sqlite3.Connection, it: Try, rows: list[InboxRow], ruling: Ruling) -> Message:
        """The barrier has the answer: the function is not called."""
        if ruling.entry is not None:
            it.keep_in(connection, row_of(it.round, ruling.entry), self._now())
        effects.finish(connection)
        return it.answer(ruling.verdict, entry_of(rows, it.round))

    def _call(self, connection: sqlite3.Connection, it: Try, rows: list[InboxRow]) -> Message:
        """A sync function, in the connection's own thread."""
        given = it.given(connection, rows)
        if isinstance(given, m.Failure):
            effects.give_up(connection)
            return given
        effects.lend(connection, it)
        it.attempt.interrupt = connection.interrupt
        it.attempt.start_clock_from_thread()
        try:
            result = it.call.fn(**given)
        except BaseException as error:  # noqa: BLE001  # whatever a user's function raises is an outcome
            return self._raised(connection, it, error)
        finally:
            it.attempt.interrupt = None
            it.attempt.stop_clock_from_thread()
        return self._returned(connection, it, rows, result)

    async def _call_async(self, it: Try, rows: list[InboxRow]) -> Message:
        """An async function, on the loop; it must not wait for anything long."""
        connection = self._connection
        if connection is None:
            raise StoreUnavailable(f"{self._path} is closed")
        given = it.given(connection, rows)
        if isinstance(given, m.Failure):
            await self._thread.run(effects.give_up)
            return given
        effects.lend(connection, it)
        task = asyncio.ensure_future(contained(lambda: it.call.fn(**given)))
        it.attempt.task = task
        it.attempt.start_clock()
        await settled(task)
        it.attempt.stop_clock()
        it.attempt.task = None
        result, error = (None, asyncio.CancelledError()) if task.cancelled() else task.result()
        if error is not None:
            raised = error
            return await self._thread.run(lambda open_: self._raised(open_, it, raised))
        return await self._thread.run(lambda open_: self._returned(open_, it, rows, result))

    def _returned(self, connection: sqlite3.Connection, it: Try, rows: list[InboxRow], result: Any) -> Message:
        effects.take_back(connection)
        message = it.returned(result)
        if not isinstance(message, m.Done):
            effects.give_up(connection)
            return message
        if not effects.keep_step(connection):
            return self._ended_itself(connection, it)
        it.keep_done_in(connection, it.kept(message, rows), rows, self._now())
        fault.point("tx.before")
        effects.finish(connection)
        fault.point("tx.after")
        return message

    def _raised(self, connection: sqlite3.Connection, it: Try, error: BaseException) -> Message:
        effects.take_back(connection)
        it.error = error
        message = it.raised(error)
        refused = it.refused(message) if isinstance(message, m.No) else None
        if not effects.undo_step(connection):
            return (
                self._ended_itself(connection, it)
                if not effects.rolls_back(error)
                else self._rolled_back(error, message)
            )
        if refused is not None:
            it.keep_in(connection, refused, self._now())
            effects.finish(connection)
        else:
            effects.give_up(connection)
        return message

    def _rolled_back(self, error: BaseException, message: Message) -> Message:
        """The library has rolled back by itself: the function was interrupted, or the disk is
        full, which is waited for."""
        if effects.interrupted(error):
            return message
        raise StoreUnavailable(f"{self._path}: {error}")

    def _ended_itself(self, connection: sqlite3.Connection, it: Try) -> Message:
        effects.give_up(connection)
        return it.torn()


def _begin(connection: sqlite3.Connection, it: Try) -> list[InboxRow]:
    """Open the transaction, and read what the inbox says."""
    effects.begin(connection)
    rows = it.arrive_in(connection)
    effects.save(connection)
    return rows
