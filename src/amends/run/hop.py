"""One saga's stay at a service: what follows from what is done, decided and kept in the transaction of the doing.

Guarantees: the effect, the barrier's row, what was decided and what goes out commit together or not at all.
Must not: begin anything; `hops.py` does.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from amends.decide import messages as m
from amends.decide.barrier import Entry, Kept, Verdict, answer
from amends.decide.baton import (
    Answered,
    Saga,
    answer_message,
    baton_message,
    word_message,
)
from amends.decide.chain import Chain
from amends.decide.events import Phase
from amends.decide.messages import Message as Outcome
from amends.decide.wire import Command, Word
from amends.define.handlers import Handled, Handler
from amends.errors import AmendsError
from amends.run.inbox import BARRED, CommandTry
from amends.run.journey import At, Journey, Next
from amends.run.observing import trace_of
from amends.run.outbox_rows import EventRow, given_to, numbered, row_of_message
from amends.run.participant_work import Work
from amends.store import effects
from amends.store.effects_postgres import Opened
from amends.store.effects_rows import InboxRow


class Stale(AmendsError):
    """More is known of this hop already: nothing of this stays."""


class Hop:
    """One saga's stay at a service. at: the half of a step that it came for. base: how many rows its history had when
    it came, or was last written here. journey: the saga as it came, and after what has just happened."""

    def __init__(self, work: Work, came: Journey, at: At, base: int) -> None:
        self._work = work
        self._service = work.handlers.service.name
        self._came = came
        self._at = at
        self._base = base
        self.journey: Journey = came
        self.in_transaction = False  # whether what follows is written with what was done
        self.next: Next | None = None  # once something has happened
        self.too_large: str = ""  # why it could not be carried, had that happened
        self.told: list[EventRow] = []

    def happens(self, outcome: Outcome) -> None:
        """Decide what follows; said again where its transaction came to nothing. Attempts that fail and fail end before
        nobody could be told of them."""
        now = time.time()
        self.journey = self._came.copy()
        self.journey.tell(outcome, now)
        if isinstance(outcome, m.Failure) and (why := self.journey.too_large(ahead=outcome.phase is Phase.ACTION)):
            self.journey = self._came.copy()
            self.journey.tell(outcome._replace(reason=why, park=True), now)
        self.settle(now)

    def settle(self, now: float) -> None:
        """What follows from how the saga stands. One that has become too large to be carried is for a person."""
        self.next = self.journey.next(self._service, now, self._at)
        baton = self.next.baton
        self.too_large = self.journey.too_large(ahead=baton is not None and baton.phase is Phase.ACTION)
        if baton is not None and self.too_large:
            failure = m.Failure(baton.step, baton.phase, self.too_large, resolved=True, park=True)
            self.journey.tell(failure, now)
            self.next = self.journey.next(self._service, now, self._at)
        self.told = rows_of(self._work, self.journey, self.next)

    @property
    def written(self) -> tuple[str, str]:
        """What the database is to have of it, and what goes out with that."""
        assert self.next is not None  # noqa: S101  # only what has happened is written
        row = hop_row(self._service, self._at, self.journey, self.next)
        return msgspec.json.encode({**row, "base": self._base}).decode(), given_to(self.told, self._service)

    def sent(self, rows: Sequence[Sequence[Any]]) -> None:
        """It is written, and so is what goes out. Raises Stale where it is not."""
        if not rows:
            raise Stale(f"the saga {self.journey.saga.key} went on from {self._at[0]} meanwhile")
        self.told = numbered(self.told, rows, time.time())


class HopTry(CommandTry):
    """A command of a choreographed saga: what follows from it is decided and kept in the handler's own transaction."""

    def __init__(self, work: Work, handled: Handled, handler: Handler, command: Command, hop: Hop) -> None:
        super().__init__(work, handled, handler, command)
        self.chain: Chain | None = Chain(command.key, hops=hop.journey.state.hops)
        self._hop = hop

    def returned(self, result: Any) -> Outcome:
        """The handler has returned. What could not be carried on is taken back, for a person: the saga may still go
        back then, and its home be told."""
        message = super().returned(result)
        if isinstance(message, m.Done):
            self._hop.happens(message)
            if self._hop.too_large and message.phase is Phase.ACTION:
                why, self._hop.next = self._hop.too_large, None
                return m.Failure(message.address, message.phase, why, resolved=True, park=True)
        return message

    def refused(self, message: m.No) -> InboxRow | None:
        """The row of a rejection, which is sure: the barrier vouches for every attempt before."""
        row = super().refused(message)
        if row is not None:
            self._hop.happens(message._replace(sure=True))
        return row

    # On PostgreSQL

    async def keep(self, tx: Opened, row: InboxRow) -> None:
        """Say what became of it, and what follows."""
        await super().keep(tx, row)
        if self._hop.next is not None:
            await self.keep_more(tx)

    async def keep_done(self, tx: Opened, row: InboxRow) -> None:
        """The same."""
        await super().keep_done(tx, row)
        await self.keep_more(tx)

    async def keep_more(self, tx: Opened) -> None:
        """What follows. Raises Stale."""
        self._hop.sent(await tx.fetch("hop_keep", *self._hop.written))

    # On SQLite

    def keep_in(self, connection: sqlite3.Connection, row: InboxRow, now: float) -> None:
        """The same."""
        super().keep_in(connection, row, now)
        if self._hop.next is not None:
            self._write(connection)

    def keep_done_in(self, connection: sqlite3.Connection, row: InboxRow, rows: list[InboxRow], now: float) -> None:
        """The same."""
        super().keep_done_in(connection, row, rows, now)
        self._write(connection)

    def _write(self, connection: sqlite3.Connection) -> None:
        try:
            self._hop.sent(effects.fetch(connection, "hop_keep", self._hop.written))
        except Stale:
            effects.give_up(connection)
            raise


def rows_of(work: Work, journey: Journey, following: Next) -> list[EventRow]:
    """What goes out, as rows of the outbox."""
    now = time.time()
    rows: list[EventRow] = []
    if following.baton is not None:
        baton = following.baton._replace(trace=trace_of(work, journey, following))
        message = baton_message(baton, work.new_id(), work.source)
        rows.append(row_of_message(message, following.to))
    if following.told is not None:
        message = word_message(following.told, work.new_id(), work.source, now)
        rows.append(row_of_message(message, journey.saga.home))
    for mail, word, detail in journey.replies:
        answered = Answered(journey.saga, mail, word.value, detail, work.handlers.service.name, journey.length)
        message = answer_message(answered, work.new_id(), work.source, now)
        rows.append(row_of_message(message, journey.saga.home))
    return rows


def hop_row(service: str, at: At, journey: Journey, following: Next) -> dict[str, object]:
    """What the database is to have of a hop."""
    stand = "passed" if following.baton is not None else "waiting"
    if following.told is not None:
        stand = following.told.stand.value
    answers = [{"id": mail, "word": word.value, "detail": detail} for mail, word, detail in journey.replies]
    return {
        **place_of(journey.saga, at, service),
        "stand": stand,
        "due": following.wake,
        "marks": ",".join(journey.marks),
        "length": journey.length,
        "history": journey.history.decode(),
        **({"answers": answers} if answers else {}),
    }


def place_of(saga: Saga, at: At, service: str) -> dict[str, object]:
    """Which hop a row is of."""
    return {
        "saga": saga.id.hex(),
        "address": at[0],
        "phase": at[1].value,
        "round": at[2],
        "service": service,
        "key": saga.key,
        "plan": saga.plan,
        "fingerprint": saga.fingerprint,
        "home": saga.home,
    }


def barred(it: CommandTry, command: Command) -> Outcome:
    """What the core is told where the handler was not called."""
    entry: Entry | None = it.stored
    address, phase = command.step, command.phase
    if it.verdict is Verdict.REPLAY and entry is not None:  # the hop was forgotten, and the effect was not
        if phase is Phase.UNDO:
            return m.Done(address, phase)
        if entry.action is Kept.REJECTED:
            return m.No(address, phase, entry.reason, sure=True)
        return m.Done(address, phase, entry.result or b"null")
    assert it.verdict is not None  # noqa: S101  # the handler was not called
    word = answer(it.verdict, entry)
    if word is Word.VOID:
        return m.Done(address, phase, void=True)
    return m.Barred(address, phase, word, BARRED.get(it.verdict, ""))
