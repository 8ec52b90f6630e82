"""Steps that take a transaction: effect, inbox row and result commit together.

The inbox row is read first, in the step's own transaction, and the barrier says what to do;
so an action runs once per round however often it is tried, and never after its compensation.
A crash between this commit and the journal's finds the stored result.

Guarantees: a database that is away is waited for, and is never an outcome; whatever a step raises
rolls back all it did.
Must not: judge, `decide/barrier.py` does; nor know a database.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from amends.decide import messages as m
from amends.decide.barrier import Entry, Kept, Ruling, Verdict, action_arrives, undo_arrives
from amends.decide.events import Phase
from amends.decide.messages import Message
from amends.decide.state import Action
from amends.define.context import Context
from amends.errors import StoreError, StoreUnavailable, ValueRefused
from amends.run.attempt import Attempt, Runner, failure, inside
from amends.run.barrier import Try, as_entry, entry_of, opened, row_of, sealed
from amends.run.sealing import Seal
from amends.store.effects_rows import InboxRow

INBOX_SECONDS = 7 * 24 * 3600.0  # no row of the inbox goes earlier
ATTEMPT_SECONDS_MAX = INBOX_SECONDS / 2  # no attempt acts later: what would tell it that it is too late may be gone
PAUSE_SECONDS = 0.05
WARN_TRIES = 20
GROWTH_TRIES = 50  # the pause grows no longer: a power without end is more than a float holds
_log = logging.getLogger("amends.transactions")


class Transactions(ABC):
    """The effects database of one worker."""

    pause_seconds_max: float = PAUSE_SECONDS

    @abstractmethod
    async def open(self) -> None:
        """Connect. Raises StoreError."""

    @abstractmethod
    async def close(self) -> None:
        """Let go. May be called twice."""

    @abstractmethod
    async def forget(self, namespace: str, sagas: Sequence[bytes], seconds: float) -> frozenset[bytes]:
        """Forget what the inbox has of sagas that have ended, of each all or nothing. Gives those of which it has
        something that is younger than `seconds`, by its own clock: they are kept. Raises StoreError."""

    @abstractmethod
    async def batch(self, tries: Sequence[Try]) -> list[Message | None]:
        """Several actions of the same function in one transaction, each behind a savepoint; what became of each, None
        for those that are to be tried by themselves: all of them, where the transaction came to nothing."""

    @abstractmethod
    async def ask(self, name: str, *values: object) -> Sequence[Sequence[Any]]:
        """A statement of the services' own, in a transaction of its own; gives its rows. Raises StoreError."""

    @abstractmethod
    def _turn(self, it: Try) -> AbstractAsyncContextManager[None]:
        """Entered around all tries of one attempt."""

    @abstractmethod
    async def _try(self, it: Try) -> Message:
        """One transaction. Raises StoreUnavailable where it is to be tried again, StoreError where that
        does not help."""

    async def run(self, runner: Runner, attempt: Attempt, ctx: Context) -> Message:
        """One attempt; how it ended, as a message for the core."""
        attempt.task = None  # a cancelled task would leave the transaction open
        it = StepTry(runner, attempt, ctx)
        return await surrounded(it, lambda: self._until_told(it))

    async def once(self, it: Try) -> Message:
        """One transaction, in its turn. Raises StoreUnavailable where it is to be tried again, StoreError where
        that does not help."""
        async with self._turn(it):
            return await self._try(it)

    async def _until_told(self, it: StepTry) -> Message:
        async with self._turn(it):
            while not it.attempt.cancelled:
                try:
                    return await self._try(it)
                except StoreUnavailable as error:
                    it.away(error)
                    await asyncio.sleep(min(PAUSE_SECONDS * 1.5 ** min(it.tries, GROWTH_TRIES), self.pause_seconds_max))
                except StoreError as error:
                    return m.Failure(it.attempt.address, it.attempt.phase, str(error), park=True)
        return it.given_up()


async def surrounded(it: Try, until_told: Callable[[], Awaitable[Message]]) -> Message:
    """What becomes of it, inside what the user put around it, which sees what the function raised."""
    if not it.runner.has_around:
        return await until_told()

    own: list[Exception] = []  # of the flow, and none of the function's

    async def shown() -> Message:
        try:
            it.message = await until_told()
        except Exception as error:
            own.append(error)
            raise
        if it.error is not None:
            raise it.error
        return it.message

    try:
        await inside(it.runner, it.attempt, shown)
    except BaseException as error:
        if it.message is None:
            if own:
                raise own[0] from None
            if isinstance(error, asyncio.CancelledError) and not it.attempt.cancelled:
                raise  # whoever awaits this was cancelled
            return failure(it.attempt, error, it.runner, resolved=True)
    return it.message or await until_told()


class StepTry(Try):
    """What one attempt of a step is about."""

    def __init__(self, runner: Runner, attempt: Attempt, ctx: Context) -> None:
        super().__init__(runner, attempt, (ctx.namespace, ctx.internal_id, ctx.address), ctx.round)
        self._live = attempt.live
        self._began = attempt.began
        self._ctx = ctx
        seals = attempt.live.shell.seals
        self._seal: Seal | None = None if seals is None else seals.inbox(ctx.namespace, ctx.internal_id)

    def away(self, error: StoreUnavailable) -> None:
        """It is to be tried again; now and then somebody is told why it takes so long."""
        super().away(error)
        if self.tries % WARN_TRIES == 0:
            saga = self._ctx.saga_id
            _log.warning("%s of saga %s waits for the database of its effects: %s", self._ctx.address, saga, error)

    def given_up(self) -> Message:
        """What the core is told where the attempt is not to be tried again."""
        why = "its worker was stopped" if self.attempt.stopping else f"it took longer than {self.attempt.timeout:g} s"
        return m.Failure(self.attempt.address, self.attempt.phase, why, resolved=not self.doubt)

    def expired(self, now: float) -> Message | None:
        """What the core is told of an attempt that was begun too long ago to act, by the clock of its database: its
        process was frozen, or the database away. Its saga may have ended, and been forgotten, meanwhile."""
        age = now - self._began
        if age < ATTEMPT_SECONDS_MAX:
            return None
        why = f"it was begun {age / 3600:.0f} h ago, which is too long for a step with a transaction"
        address, phase = self.attempt.address, self.attempt.phase
        return m.Failure(address, phase, why, resolved=not self.doubt, share=self.runner.share())

    def kept(self, message: m.Done, rows: list[InboxRow]) -> InboxRow:
        """The row that says that the function has done it."""
        if message.phase is Phase.ACTION:
            entry = sealed(Entry(Kept.SUCCEEDED, result=message.result), self._seal, self.attempt.address)
            return row_of(self.round, entry)
        entry = entry_of(rows, self.round) or Entry(Kept.SUCCEEDED)
        return row_of(self.round, entry._replace(compensated=True))

    def ruling(self, rows: list[InboxRow]) -> Ruling:
        """The barrier's word."""
        entry = entry_of(rows, self.round)
        if self.attempt.phase is Phase.ACTION:
            others = {row.round: as_entry(row) for row in rows if row.round != self.round}
            return action_arrives(entry, others, self.round)
        return undo_arrives(entry, succeeded=self._live.known(self.attempt.address).action.status is Action.SUCCEEDED)

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
            try:
                return m.Done(address, phase, opened(entry, self._seal, address).result or b"null")
            except StoreError as error:
                return m.Failure(address, phase, f"it is done, and what it gave is not known: {error}", park=True)
        if verdict is Verdict.FENCED:
            return m.Failure(address, phase, "its compensation, or a later round, came first", final=True)
        word = (
            "the effect that is to be undone is not there" if verdict is Verdict.MISSING else "an earlier round stands"
        )
        return m.Failure(address, phase, word, park=True)

    def values(self, rows: list[InboxRow]) -> dict[str, Any]:
        """What the function is called with; in a compensation the result is the inbox's."""
        given = self.attempt.arguments()
        entry = entry_of(rows, self.round)
        if entry is not None:
            try:
                entry = opened(entry, self._seal, self.attempt.address)
            except StoreError as error:
                raise ValueRefused(str(error)) from None
        for argument in self.call.arguments:
            if argument.own and entry is not None and entry.result is not None:
                given[argument.name] = self._live.program.codec_at(self.attempt.address).decode(entry.result)
        return given
