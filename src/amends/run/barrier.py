"""One passage of the barrier: what a transaction's flow asks of whoever it runs for.

A flow (`transactions_postgres.py`, `transactions_sqlite.py`) opens the transaction, has the inbox row made or
locked and read, and asks here what follows; a step of an orchestrator and a command in a service answer alike.

Guarantees: the flow never has to know whose transaction it is.
Must not: judge, `decide/barrier.py` does; nor open anything.
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from typing import Any

from amends.decide import messages as m
from amends.decide.barrier import Entry, Kept, Ruling, Verdict
from amends.decide.chain import Chain
from amends.decide.events import Phase
from amends.decide.messages import Message
from amends.define.bind import Call, Kind
from amends.define.values import describe
from amends.errors import StoreUnavailable, ValueRefused
from amends.run.attempt import Runner, failure, returned
from amends.run.chaining import handles
from amends.run.sealing import Seal, opened_payload
from amends.run.tried import Tried
from amends.run.unsaid import unsaid
from amends.store import effects, effects_postgres
from amends.store.effects_postgres import Found, Limits, Opened
from amends.store.effects_rows import InboxRow, Key

ENDED_ITSELF = "it ended its transaction itself: take the COMMIT, ROLLBACK or RELEASE out of the function"


class Try(ABC):
    """A step's attempt, a command or an event, and what has become of it so far.

    kind: of the transaction. hops: a plain function that sees no transaction is called in a thread, and its
    transaction is an asynchronous one. lock_seconds: how long a transaction of it waits for a row that somebody
    else has.
    """

    def __init__(self, runner: Runner, attempt: Tried, key: Key, round_: int) -> None:
        self.runner = runner
        self.attempt = attempt
        self.call: Call = attempt.call
        self.kind: str = self.call.transaction or ""
        self.hops: bool = False
        self.key = key
        self.round = round_
        self.lock_seconds: float = attempt.timeout
        self.error: BaseException | None = None  # what the function raised
        self.message: Message | None = None
        self.tries: int = 0  # that came to nothing
        self.passing: int = 0  # times that the function lost its transaction
        self.chain: Chain | None = None  # that what the function tells stands in
        self.sound: bool = False  # whether the connection may be used again
        self.doubt: bool = False  # whether a COMMIT has gone out and nobody knows what became of it

    # What the flow asks, in this order

    @abstractmethod
    def expired(self, now: float) -> Message | None:
        """What to say where it is too late to act, by the clock of the database."""

    @abstractmethod
    def ruling(self, rows: list[InboxRow]) -> Ruling:
        """The barrier's word."""

    @abstractmethod
    def answer(self, verdict: Verdict, entry: Entry | None) -> Message:
        """What to say where the function was not called. entry: as it was read."""

    def given(self, transaction: object, rows: list[InboxRow]) -> dict[str, Any] | m.Failure:
        """What the function is called with. A failure where a stored value cannot be read any more."""
        handles(self.chain)
        try:
            values = self.values(rows)
        except ValueRefused as error:
            why = unsaid(describe(error), self.attempt.secrets())
            return m.Failure(self.attempt.address, self.attempt.phase, why, resolved=True, park=True)
        for argument in self.call.arguments:
            if argument.kind is Kind.TX:
                values[argument.name] = transaction
        return values

    @abstractmethod
    def values(self, rows: list[InboxRow]) -> dict[str, Any]:
        """The same but for the transaction. Raises ValueRefused."""

    def returned(self, result: Any) -> Message:
        """The function has returned. What it did is taken back where this is no `Done`."""
        return returned(self.attempt, result, resolved=True)

    def raised(self, error: BaseException) -> Message:
        """The function has raised; what it did is taken back."""
        return failure(self.attempt, error, self.runner, resolved=True)

    @abstractmethod
    def kept(self, message: m.Done, rows: list[InboxRow]) -> InboxRow:
        """The row that says that the function has done it."""

    def refused(self, message: m.No) -> InboxRow | None:
        """The row that says that it will not; None where that is not kept."""
        if self.attempt.phase is not Phase.ACTION:
            return None
        return row_of(self.round, Entry(Kept.REJECTED, reason=message.reason))

    def torn(self) -> Message:
        """The function has ended the transaction itself, so nobody knows what stayed of it."""
        return m.Failure(self.attempt.address, self.attempt.phase, ENDED_ITSELF, park=True)

    def away(self, error: StoreUnavailable) -> None:
        """It is to be tried again."""
        self.tries += 1

    # How its rows are read and written, on PostgreSQL

    async def enter(self, tx: Opened, limits: Limits) -> tuple[float, Found]:
        """Bound the transaction, and arrive. Gives the server's time, and what was found."""
        if self.round == 1 and self.attempt.phase is Phase.ACTION and self.key[1]:  # an event is of no saga
            return await effects_postgres.arrive_first(tx, self.key, limits)
        return await effects_postgres.limit(tx, limits), await self.arrive(tx)

    async def arrive(self, tx: Opened) -> Found:
        """Make or lock what says that it was here, and read it."""
        first = 1 if self.attempt.phase is Phase.ACTION else self.round
        return await effects_postgres.arrive(tx, self.key, first, self.round)

    async def keep(self, tx: Opened, row: InboxRow) -> None:
        """Say what became of it."""
        await effects_postgres.keep(tx, self.key, row)

    async def keep_done(self, tx: Opened, row: InboxRow) -> None:
        """The same, of a function that has done it; what it caused is written too."""
        await effects_postgres.keep(tx, self.key, row)
        if self.attempt.phase is Phase.ACTION:
            await effects_postgres.bury(tx, self.key, self.round)

    async def keep_more(self, tx: Opened) -> None:
        """What it caused, of a function that has done what nobody had asked for before."""
        return  # a step and a command cause nothing more

    async def clear(self, tx: Opened) -> None:
        """Forget what a function left that ended its transaction itself."""
        await effects_postgres.clear(tx, self.key)

    # And on SQLite, in the connection's thread

    def arrive_in(self, connection: sqlite3.Connection) -> list[InboxRow]:
        """Read what says that it was here."""
        return effects.rounds(connection, self.key)

    def keep_in(self, connection: sqlite3.Connection, row: InboxRow, now: float) -> None:
        """Say what became of it."""
        effects.keep(connection, self.key, row, now)

    def keep_done_in(self, connection: sqlite3.Connection, row: InboxRow, rows: list[InboxRow], now: float) -> None:
        """The same, of a function that has done it; what it caused is written too."""
        effects.keep(connection, self.key, row, now)
        if self.attempt.phase is Phase.ACTION:
            known = {row[0] for row in rows}
            for lower in range(1, self.round):
                if lower not in known:
                    effects.keep(connection, self.key, row_of(lower, Entry(Kept.TOMBSTONE)), now)


def sealed(entry: Entry, seal: Seal | None, step: str) -> Entry:
    """An entry as the inbox keeps it."""
    if seal is None:
        return entry
    return entry._replace(
        result=None if entry.result is None else seal.sealed(entry.result, f"result {step}"),
        command=None if entry.command is None else seal.sealed(entry.command, f"command {step}"),
    )


def opened(entry: Entry, seal: Seal | None, step: str) -> Entry:
    """An entry as it was made. Raises KeyMissing and StoreDamaged."""
    return entry._replace(
        result=None if entry.result is None else opened_payload(entry.result, seal, f"result {step}"),
        command=None if entry.command is None else opened_payload(entry.command, seal, f"command {step}"),
    )


def entry_of(rows: list[InboxRow], round_: int) -> Entry | None:
    """What the inbox says of a round, if it says anything."""
    return next((as_entry(row) for row in rows if row[0] == round_), None)


def as_entry(row: InboxRow) -> Entry:
    """What a row says."""
    return Entry(Kept(row.action), row.compensated, row.missing, row.result, row.reason, row.command)


def row_of(round_: int, entry: Entry) -> InboxRow:
    """What the inbox is to say of a round."""
    return InboxRow(
        round_, str(entry.action), entry.compensated, entry.missing, entry.result, entry.reason, entry.command
    )
