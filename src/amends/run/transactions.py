"""Steps that take a transaction: effect, inbox row and result commit together.

The inbox row is read first, in the step's own transaction, and the barrier says what to do;
so an action runs once per round however often it is tried, and never after its compensation.
A crash between this commit and the journal's finds the stored result.

Guarantees: one transaction at a time; a busy or full database is waited for, and is never an
outcome; whatever a step raises rolls back all it did.
Must not: judge. `decide/barrier.py` does.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from amends import fault
from amends.decide import messages as m
from amends.decide.barrier import Entry, Kept, Ruling, Verdict, action_arrives, undo_arrives
from amends.decide.events import Phase
from amends.decide.messages import Message
from amends.decide.state import Action
from amends.define.bind import Kind
from amends.define.context import Context
from amends.define.values import describe
from amends.errors import StoreError, StoreUnavailable, ValueRefused
from amends.run.attempt import Attempt, Runner, contained, failure, inside, returned
from amends.store import effects
from amends.store.effects import InboxRow
from amends.store.sqlite_thread import ConnectionThread

BUSY_PAUSE_SECONDS = 0.05
CLOSE_SECONDS = 5.0  # how long a step that does not end when it is asked to may keep the worker


class Transactions:
    """The effects database of one worker."""

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

    async def run(self, runner: Runner, attempt: Attempt, ctx: Context) -> Message:
        """One attempt; how it ended, as a message for the core."""
        attempt.task = None  # a cancelled task would leave the transaction open
        it = _Try(runner, attempt, ctx)
        if not runner.has_around:
            return await self._until_told(it)
        try:
            await inside(runner, ctx, lambda: self._shown(it))
        except BaseException as error:  # noqa: BLE001  # what the function raised is an outcome
            if it.message is None:
                return failure(attempt, error, runner, resolved=True)
        return it.message or await self._until_told(it)

    async def _shown(self, it: _Try) -> Message:
        """The same, and what the function raised is raised, for what stands around it to see."""
        it.message = await self._until_told(it)
        if it.error is not None:
            raise it.error
        return it.message

    async def _until_told(self, it: _Try) -> Message:
        address, phase = it.attempt.address, it.attempt.phase
        async with self._one:
            while not it.attempt.cancelled:
                try:
                    return await self._try(it)
                except StoreUnavailable:
                    await asyncio.sleep(BUSY_PAUSE_SECONDS)
                except StoreError as error:
                    return m.Failure(address, phase, str(error), park=True)
        return m.Failure(address, phase, "its worker was stopped", resolved=True)

    async def _try(self, it: _Try) -> Message:
        it.error = None
        rows = await self._thread.run(lambda connection: effects.begin(connection, it.key))
        ruling = it.ruling(rows)
        if ruling.verdict is not Verdict.RUN:
            return await self._thread.run(lambda connection: self._settle(connection, it, rows, ruling))
        if it.call.is_async:
            return await self._call_async(it, rows)
        return await self._thread.run(lambda connection: self._call(connection, it, rows))

    def _settle(self, connection: sqlite3.Connection, it: _Try, rows: list[InboxRow], ruling: Ruling) -> Message:
        """The barrier has the answer: the function is not called."""
        if ruling.entry is not None:
            effects.keep(connection, it.key, _row(it.ctx.round, ruling.entry), self._now())
        effects.finish(connection)
        return it.answer(ruling.verdict, _entry(rows, it.ctx.round))

    def _call(self, connection: sqlite3.Connection, it: _Try, rows: list[InboxRow]) -> Message:
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

    async def _call_async(self, it: _Try, rows: list[InboxRow]) -> Message:
        """An async function, on the loop; it must not wait for anything long."""
        connection = self._connection
        if connection is None:
            raise StoreUnavailable(f"{self._path} is closed")
        given = it.given(connection, rows)
        if isinstance(given, m.Failure):
            await self._thread.run(effects.give_up)
            return given
        effects.lend(connection, it)
        task = asyncio.ensure_future(contained(it.call.fn(**given)))
        it.attempt.task = task
        it.attempt.start_clock()
        await asyncio.wait([task])
        it.attempt.stop_clock()
        it.attempt.task = None
        result, error = (None, asyncio.CancelledError()) if task.cancelled() else task.result()
        if error is not None:
            raised = error
            return await self._thread.run(lambda open_: self._raised(open_, it, raised))
        return await self._thread.run(lambda open_: self._returned(open_, it, rows, result))

    def _returned(self, connection: sqlite3.Connection, it: _Try, rows: list[InboxRow], result: Any) -> Message:
        effects.take_back(connection)
        round_, message = it.ctx.round, returned(it.attempt, result, resolved=True)
        if not isinstance(message, m.Done):
            effects.give_up(connection)
            return message
        if not effects.keep_step(connection):
            return self._torn(connection, it)
        if message.phase is Phase.ACTION:
            entry = Entry(Kept.SUCCEEDED, result=message.result)
        else:
            entry = (_entry(rows, round_) or Entry(Kept.SUCCEEDED))._replace(compensated=True)
        effects.keep(connection, it.key, _row(round_, entry), self._now())
        self._bury_lower_rounds(connection, it, rows)
        fault.point("tx.before")
        effects.finish(connection)
        fault.point("tx.after")
        return message

    def _raised(self, connection: sqlite3.Connection, it: _Try, error: BaseException) -> Message:
        effects.take_back(connection)
        it.error = error
        message = failure(it.attempt, error, it.runner, resolved=True)
        if not effects.undo_step(connection):
            return self._torn(connection, it) if not effects.rolls_back(error) else self._rolled_back(error, message)
        if isinstance(message, m.No) and it.attempt.phase is Phase.ACTION:
            entry = Entry(Kept.REJECTED, reason=message.reason)
            effects.keep(connection, it.key, _row(it.ctx.round, entry), self._now())
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

    def _torn(self, connection: sqlite3.Connection, it: _Try) -> Message:
        """The function has ended the transaction itself, so nobody knows what stayed of it."""
        effects.give_up(connection)
        why = "it ended its transaction itself: take the COMMIT, ROLLBACK or RELEASE out of the step"
        return m.Failure(it.attempt.address, it.attempt.phase, why, park=True)

    def _bury_lower_rounds(self, connection: sqlite3.Connection, it: _Try, rows: list[InboxRow]) -> None:
        known = {row[0] for row in rows}
        for lower in range(1, it.ctx.round):
            if lower not in known:
                effects.keep(connection, it.key, _row(lower, Entry(Kept.TOMBSTONE)), self._now())


class _Try:
    """What one attempt is about."""

    def __init__(self, runner: Runner, attempt: Attempt, ctx: Context) -> None:
        self.runner = runner
        self.attempt = attempt
        self.call = attempt.call
        self.ctx = ctx
        self.key = (ctx.namespace, ctx.internal_id, ctx.address)
        self.error: BaseException | None = None  # what the function raised
        self.message: Message | None = None

    def ruling(self, rows: list[InboxRow]) -> Ruling:
        """The barrier's word."""
        entry = _entry(rows, self.ctx.round)
        if self.attempt.phase is Phase.ACTION:
            others = {row[0]: _as_entry(row) for row in effects.others(rows, self.ctx.round)}
            return action_arrives(entry, others, self.ctx.round)
        return undo_arrives(entry, succeeded=self.attempt.live.action_status(self.attempt.address) is Action.SUCCEEDED)

    def answer(self, verdict: Verdict, entry: Entry | None) -> Message:
        """What the core is told where the function was not called."""
        address, phase = self.attempt.address, self.attempt.phase
        if verdict is Verdict.VOID:
            return m.Done(address, phase, void=True)
        if verdict is Verdict.REPLAY and entry is not None:
            if phase is Phase.UNDO:
                return m.Done(address, phase)
            if entry.action is Kept.REJECTED:
                return m.No(address, phase, entry.reason, sure=True)
            return m.Done(address, phase, entry.result or b"null")
        if verdict is Verdict.FENCED:
            return m.Failure(address, phase, "its compensation, or a later round, came first", final=True)
        word = (
            "the effect that is to be undone is not there" if verdict is Verdict.MISSING else "an earlier round stands"
        )
        return m.Failure(address, phase, word, park=True)

    def given(self, connection: sqlite3.Connection, rows: list[InboxRow]) -> dict[str, Any] | m.Failure:
        """What the function is called with: the transaction, and in a compensation the result
        as the inbox has it. A failure where a stored value cannot be read any more."""
        try:
            return self._given(connection, rows)
        except ValueRefused as error:
            return m.Failure(self.attempt.address, self.attempt.phase, describe(error), resolved=True, park=True)

    def _given(self, connection: sqlite3.Connection, rows: list[InboxRow]) -> dict[str, Any]:
        live = self.attempt.live
        given = live.arguments(self.attempt)
        entry = _entry(rows, self.ctx.round)
        for argument in self.call.arguments:
            if argument.kind is Kind.TX:
                given[argument.name] = connection
            elif argument.own and entry is not None and entry.result is not None:
                given[argument.name] = live.program.codec_at(self.ctx.address).decode(entry.result)
        return given


def _entry(rows: list[InboxRow], round_: int) -> Entry | None:
    return next((_as_entry(row) for row in rows if row[0] == round_), None)


def _as_entry(row: InboxRow) -> Entry:
    _, action, compensated, missing, result, reason = row
    return Entry(Kept(action), compensated, missing, result, reason)


def _row(round_: int, entry: Entry) -> InboxRow:
    return (round_, str(entry.action), entry.compensated, entry.missing, entry.result, entry.reason)
