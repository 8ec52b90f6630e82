"""Several actions in one transaction on PostgreSQL, each behind a savepoint of its own.

Only what is new goes this way: the first round of a step of which nothing is known. Whatever goes wrong with the
transaction itself (a deadlock, a serialization failure, a lost connection, a COMMIT without an answer) undoes
all of it, and each is tried by itself, where the barrier finds what did stay.

Guarantees: the row of each is made before it is called, and says what became of it when all is committed.
Must not: tell anybody anything before the commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from amends import fault
from amends.decide import messages as m
from amends.decide.messages import Message
from amends.define.policy import Park, Reject, RetryAfter
from amends.run.attempt import Ended
from amends.run.barrier import Try
from amends.store import effects_postgres as effects
from amends.store.effects_errors import CANCELLED, EndedItself, no_savepoint, passes, state
from amends.store.effects_postgres import CHECK, RELEASE, SAVEPOINT, UNDO, Limits, Opened
from amends.store.effects_rows import InboxRow, Key

Called = Callable[[Try, Opened, dict[str, Any]], Awaitable[Ended]]


class Undone(Exception):
    """The transaction came to nothing."""


class _Batch:
    """What has become of a batch so far. settled: what ends the savepoint of the one before."""

    def __init__(self, tx: Opened, called: Called) -> None:
        self.tx = tx
        self.called = called
        self.kept: list[tuple[Key, InboxRow]] = []
        self.cleared: list[Key] = []
        self.settled: tuple[str, ...] = ()

    async def one(self, it: Try) -> Message:
        """Call a function behind its savepoint. Raises EndedItself and Undone, and what a library raises."""
        await self.settle(SAVEPOINT)
        given = it.given(self.tx.given, [])
        if isinstance(given, m.Failure):
            return self.undo(it, given)
        result, error = await self.called(it, self.tx, given)
        if error is None:
            message = it.returned(result)
            if not isinstance(message, m.Done):
                return self.undo(it, message)
            self.settled = (RELEASE,)  # what is deferred is checked at the end: what is once immediate stays so
            self.kept.append((it.key, it.kept(message, [])))
            return message
        if it.attempt.cancelled and state(error) == CANCELLED:
            error = asyncio.CancelledError()  # the timeout has stopped its statement
        it.error = error
        meant = isinstance(error, (Reject, Park, RetryAfter, asyncio.CancelledError))
        if self.tx.lost or (not meant and passes(error, lost=False)):
            raise Undone(str(error)) from error
        message = it.raised(error)
        refused = it.refused(message) if isinstance(message, m.No) else None
        if refused is None:
            return self.undo(it, message)
        self.settled = (*UNDO, RELEASE)
        self.kept.append((it.key, refused))
        return message

    def undo(self, it: Try, message: Message) -> Message:
        """Nothing stays of it."""
        self.settled = (*UNDO, RELEASE)
        self.cleared.append(it.key)
        return message

    async def settle(self, *more: str) -> None:
        """End the savepoint of the one before, and go on. Raises EndedItself."""
        texts, self.settled = (*self.settled, *more), ()
        if not texts:
            return
        try:
            await self.tx.execute(*texts)
        except Exception as error:
            if no_savepoint(error):
                raise EndedItself from error
            raise

    async def commit(self, own: str) -> None:
        """Say what became of all, and commit. own: the number of the transaction that has made their rows. Raises
        EndedItself."""
        last = self.settled
        if last == (RELEASE,):  # it may go with the COMMIT; what is taken back is so before anything is said of it
            self.settled = ()
        else:
            last = ()
            await self.settle()
        await effects.keep_first(self.tx, self.kept, own)
        await effects.clear_first(self.tx, self.cleared)
        fault.point("tx.before")
        try:
            await self.tx.commit(*last, CHECK)
        except Exception as error:
            if no_savepoint(error):
                raise EndedItself from error
            raise
        fault.point("tx.after")


async def batch(tx: Opened, tries: Sequence[Try], called: Called, grace_seconds: float) -> list[Message | None]:
    """The messages of these, None for one that is not new. Raises EndedItself and Undone, and what a library raises."""
    first = tries[0]
    limits = Limits(first.lock_seconds, first.attempt.timeout + grace_seconds)
    made = await effects.make_first(tx, [it.key for it in tries], limits)
    told: list[Message | None] = [it.expired(made.now) for it in tries]
    made_here = _Batch(tx, called)
    for place, it in enumerate(tries):
        if place in made.new and told[place] is None:
            told[place] = await made_here.one(it)
        elif place in made.new or place in made.also:
            made_here.cleared.append(it.key)
    await made_here.commit(made.own)
    return told
