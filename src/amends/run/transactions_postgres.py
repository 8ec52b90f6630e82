"""Transactional steps on PostgreSQL: many at once, each on a connection of its own.

There is one flow for all libraries. For an asynchronous one it runs on the loop; for a synchronous
one it runs from end to end in a thread, where nothing of it waits for the loop.

Guarantees: at most `size` transactions at once. Connection loss, serialization failures, deadlocks and
lock waits are tried again with a new transaction; a COMMIT whose answer was lost is settled by what the
inbox says. A process that is frozen inside a step loses its transaction a second after the timeout.
Must not: judge. `decide/barrier.py` does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from amends import fault
from amends.decide import messages as m
from amends.decide.barrier import Entry, Verdict
from amends.decide.messages import Message
from amends.define.policy import Park, Reject, RetryAfter
from amends.errors import AmendsError, StoreError, StoreUnavailable
from amends.run.aside import Aside
from amends.run.attempt import Ended, contained, settled
from amends.run.barrier import Try, entry_of, row_of
from amends.run.batch_postgres import Undone, batch
from amends.run.transactions import Transactions
from amends.store import effects_postgres as effects
from amends.store.effects_errors import (
    CANCELLED,
    FAILED_BEFORE,
    LOCK_NOT_HAD,
    EndedItself,
    definite,
    no_savepoint,
    passes,
    state,
    translate,
)
from amends.store.effects_postgres import Found, Lender, Limits, Opened, complete

T = TypeVar("T")
_log = logging.getLogger("amends.transactions")
ASIDE = 2  # questions at once, beside the handlers' transactions: a connection each
ASK_SECONDS = 30.0  # for an answer outside of steps: a connection may hang for hours where its other end is gone
GRACE_SECONDS = 1.0  # beyond its timeout, after which the server ends the session of a step that is silent
PASSING_MAX = 100  # how often in a row a step may lose its transaction before that counts as a failed attempt


class PostgresTransactions(Transactions):
    """The effects database of one worker. lenders: by the kind of transaction that steps ask for."""

    pause_seconds_max: float = 1.0

    def __init__(self, lenders: Mapping[str, Lender], place: str, size: int, *, migrate: bool) -> None:
        self._lenders = lenders
        self._place = place
        self._migrate = migrate
        self._room = asyncio.Semaphore(size)
        self._aside = Aside(ASIDE)

    async def open(self) -> None:
        try:
            for lender in self._lenders.values():
                await lender.open()
            if self._migrate:
                await self._with_one(effects.upgrade)
            version, floor = await self._with_one(effects.look)
            effects.check(version, floor, self._place)
        except BaseException:
            await self.close()
            raise

    async def upgrade(self) -> list[int]:
        """Bring the inbox to this code's schema, without opening. Raises StoreError."""
        try:
            for lender in self._lenders.values():
                await lender.open()
            return await self._with_one(effects.upgrade)
        finally:
            await self.close()

    async def close(self) -> None:
        for lender in self._lenders.values():
            await lender.close()

    async def forget(self, namespace: str, sagas: Sequence[bytes], seconds: float) -> frozenset[bytes]:
        return await self._with_one(lambda lender: effects.clear_up(lender, namespace, sagas, seconds))

    async def ask(self, name: str, *values: object) -> Sequence[Sequence[Any]]:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return await self._with_one(lambda lender: effects.ask(lender, name, values))
        except TimeoutError:
            raise StoreUnavailable(f"{self._place}: no answer came within {ASK_SECONDS:g} s") from None

    async def batch(self, tries: Sequence[Try]) -> list[Message | None]:
        lender, first = self._lenders[tries[0].kind], tries[0]

        async def run() -> list[Message | None]:
            return await self._within(first, lender, lambda it, tx: batch(tx, tries, self._called, GRACE_SECONDS))

        async with self._room:
            try:
                if lender.awaited:
                    return await run()
                done: list[Message | None] = await first.runner.in_thread(lambda: complete(run()))
            except (StoreError, EndedItself, Undone) as error:
                _log.info("%d commands are tried one by one: %s", len(tries), error)
                return [None] * len(tries)
            return done

    async def _with_one(self, job: Callable[[Lender], Coroutine[Any, Any, T]]) -> T:
        """Do something with whichever library there is. Raises StoreError."""
        lender = next(iter(self._lenders.values()))
        try:
            if lender.awaited:
                return await self._aside.awaited(lambda: job(lender))
            return await self._aside.in_thread(lambda: job(lender))
        except AmendsError:
            raise
        except Exception as error:
            raise translate(error, self._place) from error

    @asynccontextmanager
    async def _turn(self, it: Try) -> AsyncIterator[None]:
        async with self._room:
            yield

    async def _try(self, it: Try) -> Message:
        lender = self._lenders[it.kind]
        if lender.awaited:
            return await self._once(it, lender)
        return await it.runner.in_thread(lambda: complete(self._once(it, lender)))  # type: ignore[no-any-return]  # a message

    async def _once(self, it: Try, lender: Lender) -> Message:
        """One transaction, on whatever thread or loop it runs."""
        it.error = None
        try:
            return await self._within(it, lender, self._inside)
        except StoreUnavailable as error:
            if state(error) == LOCK_NOT_HAD:  # whoever has it may be frozen
                with suppress(Exception):  # it is tried again anyhow
                    await effects.free(lender)
            raise
        except EndedItself:  # what it has committed must not say so again to whoever tries at a person's word
            with suppress(StoreError):
                await self._within(it, lender, self._clear)
            return it.torn()

    async def _within(self, it: Try, lender: Lender, job: Callable[[Try, Opened], Coroutine[Any, Any, T]]) -> T:
        """Do something in a transaction that it ends. Raises StoreError and EndedItself."""
        tx: Opened | None = None
        it.sound = False
        try:
            tx = await lender.lend()
            await tx.begin()
            it.sound = True
            result = await job(it, tx)
        except BaseException as error:
            it.sound = False
            if isinstance(error, AmendsError) or not isinstance(error, Exception):
                raise
            raise translate(error, self._place) from error
        finally:
            if tx is not None:
                with suppress(Exception):  # what goes wrong now concerns a connection, and no step
                    await tx.give_back(sound=it.sound and not tx.lost)
        return result

    async def _clear(self, it: Try, tx: Opened) -> None:
        await effects.limit(tx, _limits(it))
        await it.clear(tx)
        await tx.commit()

    async def _inside(self, it: Try, tx: Opened) -> Message:
        now, found = await it.enter(tx, _limits(it))
        expired = it.expired(now)
        if expired is not None:
            await tx.rollback()
            return expired
        it.doubt = False
        if found.torn:
            await it.clear(tx)
            await tx.commit()
            return it.torn()
        ruling = it.ruling(found.rows)
        if ruling.verdict is not Verdict.RUN:
            return await self._settle(it, tx, found, ruling.verdict, ruling.entry)
        await tx.execute(effects.SAVEPOINT)
        given = it.given(tx.given, found.rows)
        if isinstance(given, m.Failure):
            await tx.rollback()
            return given
        began = time.monotonic()
        result, error = await self._called(it, tx, given)
        if error is None:
            return await self._returned(it, tx, found, result, began)
        return await self._raised(it, tx, found, error, began)

    async def _settle(self, it: Try, tx: Opened, found: Found, verdict: Verdict, entry: Entry | None) -> Message:
        """The barrier has the answer: the function is not called."""
        if entry is None:
            await tx.rollback()
        else:
            await it.keep(tx, row_of(it.round, entry))
            await self._commit(it, tx)
        return it.answer(verdict, entry_of(found.rows, it.round))

    async def _called(self, it: Try, tx: Opened, given: dict[str, Any]) -> Ended:
        """The function, and what its library has not written yet."""
        attempt = it.attempt
        if it.hops:
            return await self._hopped(it, given)
        if not it.call.is_async:
            attempt.interrupt = tx.interrupt
            attempt.start_clock_from_thread()
            try:
                result = it.call.fn(**given)
                await tx.flush()
            except BaseException as error:  # noqa: BLE001  # whatever a user's function raises is an outcome
                return None, error
            finally:
                attempt.interrupt = None
                attempt.stop_clock_from_thread()
            return result, None

        async def call() -> Any:
            result = await it.call.fn(**given)
            await tx.flush()
            return result

        attempt.task = task = asyncio.ensure_future(contained(call))
        attempt.start_clock()
        await settled(task)
        attempt.stop_clock()
        attempt.task = None
        return (None, asyncio.CancelledError()) if task.cancelled() else task.result()

    async def _hopped(self, it: Try, given: dict[str, Any]) -> Ended:
        """A plain function that does not see the transaction, in a thread of its own."""

        def call() -> Ended:
            it.attempt.start_clock_from_thread()
            try:
                return it.call.fn(**given), None
            except BaseException as error:  # noqa: BLE001  # whatever a user's function raises is an outcome
                return None, error
            finally:
                it.attempt.stop_clock_from_thread()

        ended: Ended = await it.runner.in_thread(call)
        return ended

    async def _returned(self, it: Try, tx: Opened, found: Found, result: Any, began: float) -> Message:
        message = it.returned(result)
        if not isinstance(message, m.Done):
            await tx.rollback()
            return message
        row = it.kept(message, found.rows)
        try:
            if found.own:  # the number of its transaction tells whether the function has ended it
                await effects.keep_new(tx, it.key, row, found.own)
                await it.keep_more(tx)
            else:
                await effects.keep_step(tx)
        except EndedItself:
            raise
        except Exception as error:
            theirs = (FAILED_BEFORE, CANCELLED)  # what failed and was not told, and a request to stop that came late
            if found.own and state(error) not in theirs and not passes(error, lost=tx.lost):
                raise  # it is the row, and nothing of the function's
            return await self._raised(it, tx, found, error, began)
        if not found.own:
            await it.keep_done(tx, row)
        fault.point("tx.before")
        try:
            await self._commit(it, tx, *(effects.KEEP if found.own else ()))
        except EndedItself:
            raise
        except Exception as error:
            if found.own and tx.open and not (it.doubt or tx.lost):  # what is deferred failed, and no COMMIT was tried
                return await self._raised(it, tx, found, error, began)
            if it.doubt or passes(error, lost=tx.lost) or state(error) == CANCELLED:
                raise
            return self._refused(it, error)
        fault.point("tx.after")
        return message

    def _refused(self, it: Try, error: Exception) -> Message:
        """The server does not commit what the step did, and would not the next time. That is a failure and
        never a rejection, which could not be stored."""
        it.error, it.sound = error, False
        message = it.raised(error)
        if isinstance(message, m.No):
            return m.Failure(message.address, message.phase, message.reason, resolved=True, share=it.runner.share())
        return message

    async def _commit(self, it: Try, tx: Opened, *before: str) -> None:
        it.doubt = True
        try:
            await tx.commit(*before)
        except Exception as error:
            it.doubt = not definite(error)
            if before and no_savepoint(error):
                raise EndedItself from error
            raise
        it.doubt = False

    async def _raised(self, it: Try, tx: Opened, found: Found, error: BaseException, began: float) -> Message:
        if it.attempt.cancelled and state(error) == CANCELLED:
            error = asyncio.CancelledError()  # the timeout has stopped its statement
        it.error = error
        message = it.raised(error)
        meant = isinstance(error, (Reject, Park, RetryAfter, asyncio.CancelledError))
        if not meant and passes(error, lost=tx.lost):
            return self._passing(it, error, message, time.monotonic() - began if tx.lost else 0.0)
        refused = it.refused(message) if isinstance(message, m.No) else None
        try:
            await effects.undo_step(tx)
            if refused is None:
                await tx.rollback()
                return message
        except EndedItself:
            raise
        except Exception:
            if refused is not None:
                raise  # it must be stored: again
            it.sound = False  # the server rolls back
            return message
        if found.own:
            await effects.keep_new(tx, it.key, refused, found.own)
            await it.keep_more(tx)
        else:
            await it.keep(tx, refused)
        await self._commit(it, tx)
        return message

    def _passing(self, it: Try, error: BaseException, message: Message, seconds: float) -> Message:
        """The transaction was lost: that is no outcome, unless it was the step's silence that lost it, or
        it is lost every time. Raises StoreUnavailable."""
        it.passing += 1
        if seconds > it.attempt.timeout + GRACE_SECONDS:
            why = f"its transaction was silent for {seconds:.0f} s, and the server has ended it"
            return m.Failure(it.attempt.address, it.attempt.phase, why, resolved=True, share=it.runner.share())
        if it.passing >= PASSING_MAX:
            return message
        raise translate(error, self._place) from error


def _limits(it: Try) -> Limits:
    return Limits(it.lock_seconds, it.attempt.timeout + GRACE_SECONDS)
