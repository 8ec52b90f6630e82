"""Several actions in one transaction on a SQLite file, each behind a savepoint: one sync of the disk for all.

Guarantees: as `batch_postgres.py` has them.
Must not: tell anybody anything before the commit.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from amends import fault
from amends.decide import messages as m
from amends.decide.barrier import Verdict
from amends.decide.messages import Message
from amends.run.attempt import Ended, contained, settled
from amends.run.barrier import Try, entry_of, row_of
from amends.run.batch_postgres import Undone
from amends.run.chaining import handles
from amends.store import effects
from amends.store.effects_rows import InboxRow
from amends.store.sqlite_thread import ConnectionThread


class Batch:
    """One transaction on the connection of a thread."""

    def __init__(self, thread: ConnectionThread, connection: sqlite3.Connection, now: Callable[[], float]) -> None:
        self._thread = thread
        self._connection = connection
        self._now = now

    async def run(self, tries: Sequence[Try]) -> list[Message | None]:
        """The messages of these. Raises StoreError and Undone."""
        await self._thread.run(effects.begin)
        told: list[Message | None] = []
        for it in tries:
            told.append(await self._one(it))
        fault.point("tx.before")
        await self._thread.run(effects.finish)
        fault.point("tx.after")
        return told

    async def _one(self, it: Try) -> Message:
        expired = it.expired(self._now())
        if expired is not None:
            return expired
        found = await self._thread.run(lambda connection: self._arrive(connection, it))
        if isinstance(found, list):
            given = it.given(self._connection, found)
            if isinstance(given, m.Failure):
                return await self._thread.run(lambda connection: self._undo(connection, it, given))
            result, error = await self._called(it, given)
            return await self._thread.run(lambda connection: self._settle(connection, it, found, result, error))
        return found

    def _arrive(self, connection: sqlite3.Connection, it: Try) -> list[InboxRow] | Message:
        """The rows, where the function is to be called, behind its savepoint; else the answer."""
        rows = it.arrive_in(connection)
        ruling = it.ruling(rows)
        if ruling.verdict is Verdict.RUN:
            effects.save(connection)
            return rows
        if ruling.entry is not None:
            it.keep_in(connection, row_of(it.round, ruling.entry), self._now())
        return it.answer(ruling.verdict, entry_of(rows, it.round))

    async def _called(self, it: Try, given: dict[str, Any]) -> Ended:
        """The function: on the loop, or in the connection's own thread."""
        attempt = it.attempt
        if not it.call.is_async:
            return await self._thread.run(lambda connection: _in_thread(connection, it, given))
        effects.lend(self._connection, it)
        task = asyncio.ensure_future(contained(lambda: it.call.fn(**given)))
        attempt.task = task
        attempt.start_clock()
        await settled(task)
        attempt.stop_clock()
        attempt.task = None
        return (None, asyncio.CancelledError()) if task.cancelled() else task.result()

    def _settle(
        self, connection: sqlite3.Connection, it: Try, rows: list[InboxRow], result: Any, error: BaseException | None
    ) -> Message:
        effects.take_back(connection)
        if error is None:
            message = it.returned(result)
            if not isinstance(message, m.Done):
                return self._undo(connection, it, message)
            if not effects.keep_step(connection):
                raise Undone("a function has ended its transaction itself")
            it.keep_done_in(connection, it.kept(message, rows), rows, self._now())
            return message
        if effects.rolls_back(error):
            raise Undone(str(error)) from error
        it.error = error
        message = it.raised(error)
        refused = it.refused(message) if isinstance(message, m.No) else None
        self._undo(connection, it, message)
        if refused is not None:
            it.keep_in(connection, refused, self._now())
        return message

    def _undo(self, connection: sqlite3.Connection, it: Try, message: Message) -> Message:
        """Nothing stays of it."""
        effects.take_back(connection)
        if not effects.undo_step(connection):
            raise Undone("a function has ended its transaction itself")
        effects.keep_step(connection)
        return message


def _in_thread(connection: sqlite3.Connection, it: Try, given: dict[str, Any]) -> Ended:
    handles(it.chain)  # this thread has a context of its own
    effects.lend(connection, it)
    it.attempt.interrupt = connection.interrupt
    it.attempt.start_clock_from_thread()
    try:
        return it.call.fn(**given), None
    except BaseException as error:  # noqa: BLE001  # whatever a user's function raises is an outcome
        return None, error
    finally:
        it.attempt.interrupt = None
        it.attempt.stop_clock_from_thread()
