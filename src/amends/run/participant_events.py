"""Events that a service hears of: each handled once, and what it tells in turn goes out with the commit.

Guarantees: the handler's effect, the mark that the event was handled and the events it returned commit together.
One that fails is tried again in place, and in the end kept aside with the reason; those of the same key wait for it.
Must not: publish before the commit.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sqlite3
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from amends.decide import messages as m
from amends.decide.barrier import Entry, Kept, Ruling, Verdict
from amends.decide.chain import Chain, chain_of
from amends.decide.events import Phase
from amends.decide.messages import Message as Outcome
from amends.define.contract import Event
from amends.define.handlers import Handler
from amends.define.values import describe
from amends.errors import LimitExceeded, MessageRefused, ValueRefused
from amends.message import Message
from amends.run.barrier import Try, row_of
from amends.run.chaining import too_many
from amends.run.inbox import LOCK_SECONDS, Desk, Handling, Subject
from amends.run.inbox_careful import Care, Poison
from amends.run.observing import event_passed
from amends.run.outbox_rows import EventRow, event_row, given_to, numbered
from amends.run.participant_work import POISON, Leaving, Work
from amends.run.transactions import Transactions
from amends.run.unsaid import Known as Told
from amends.run.unsaid import unsaid_by
from amends.store import effects
from amends.store.effects_postgres import Found, Opened
from amends.store.effects_rows import InboxRow, Key
from amends.transport.base import Delivery

_NOBODY: Key = ("", b"", "")
_DONE = row_of(1, Entry(Kept.SUCCEEDED))
_TRACE = ("traceparent", "tracestate")
Known = tuple[Event[Any], Handler]
_log = logging.getLogger("amends.events")


class EventTry(Try):
    """An event on its way through the inbox. told: the events that its handler returned, with their numbers."""

    def __init__(self, work: Work, known: Known, message: Message, chain: Chain, attempt: int) -> None:
        event, handler = known
        self._desk: Desk = work
        identity = f"{message.source}\n{message.id}".encode()
        number = hashlib.blake2b(identity, digest_size=16).digest()
        subject = Subject("", message.id, number, event.type, attempt, chain=chain)
        self.handling: Handling = Handling(work, handler, Phase.ACTION, subject, None)
        super().__init__(work, self.handling, _NOBODY, 1)
        self.chain: Chain | None = chain.after(message.id)
        self.told: list[EventRow] = []
        self.earlier: dict[str, list[int]] = {}
        self.seen: bool = False
        self.lock_seconds: float = min(LOCK_SECONDS, handler.timeout)
        self._service = work.handlers.service.name
        self._who = (self._service, message.source, message.id)
        self._event = event
        self.came: Message = message
        self._data = message.data
        self.handling.known = (Told(message.data, event.told.secrets),)
        self._trace = {name: message.attributes[name] for name in _TRACE if name in message.attributes}
        if not self.kind:
            self.kind: str = work.default_kind
            self.hops: bool = work.default_awaited and not self.call.is_async

    def expired(self, now: float) -> Outcome | None:
        """An event is never too old: what is published again long after is meant."""
        return None

    def ruling(self, rows: list[InboxRow]) -> Ruling:
        """Once."""
        return Ruling(Verdict.REPLAY if self.seen else Verdict.RUN)

    def answer(self, verdict: Verdict, entry: Entry | None) -> Outcome:
        """It was handled before."""
        return m.Done(self.attempt.address, Phase.ACTION)

    def values(self, rows: list[InboxRow]) -> dict[str, Any]:
        """The event. Raises ValueRefused."""
        self.handling.values = (self._event.told.decode(self._data or b"null"),)
        return self.handling.arguments()

    def returned(self, result: Any) -> Outcome:
        """The handler has returned: one event, several or none."""
        done = super().returned(None if not asyncio.iscoroutine(result) else result)
        if not isinstance(done, m.Done):
            return done
        try:
            self.told = [self._row(value) for value in _several(result)]
        except (ValueRefused, LimitExceeded) as error:
            return self._unfit(describe(error))
        except Exception as error:  # noqa: BLE001  # the key of an event is computed by a function of the user's
            why = f"the events of {self.handling.handler.where}: {type(error).__name__}: {describe(error)}"
            return self._unfit(why)
        return done

    def _unfit(self, why: str) -> Outcome:
        failed = m.Failure(self.attempt.address, Phase.ACTION, why, resolved=True, final=True)
        return unsaid_by(failed, self.attempt.secrets())

    def _row(self, value: Any) -> EventRow:
        for event in self.handling.handler.told:
            if event.told.type is type(value) or len(self.handling.handler.told) == 1:
                return event_row(event, value, self._trace, self._desk.payload_bytes, self.chain)
        names = ", ".join(event.type for event in self.handling.handler.told) or "none: annotate what it returns"
        raise ValueRefused(
            f"{self.handling.handler.where} returned {type(value).__name__}, which is none of its events ({names})"
        )

    def kept(self, message: m.Done, rows: list[InboxRow]) -> InboxRow:
        """The mark is there already."""
        return _DONE

    def refused(self, message: m.No) -> InboxRow | None:
        """A no is not kept: the event is put aside."""
        return None

    # PostgreSQL

    async def arrive(self, tx: Opened) -> Found:
        """Mark it as handled; whoever does that second waits for the first."""
        self.told, self.earlier = [], {}
        self.seen = not await tx.fetch("event_arrives", *self._who)
        return Found([], torn=False)

    async def keep_done(self, tx: Opened, row: InboxRow) -> None:
        """Write the events that it tells."""
        if self.told:
            self._written(await tx.fetch("publish", given_to(self.told, self._service)))
            if self._keys:
                first = min(row.number for row in self.told)
                self._known(await tx.fetch("earlier", self._service, json.dumps(self._keys), first))

    async def clear(self, tx: Opened) -> None:
        """Forget the mark."""
        await tx.fetch("event_clear", *self._who)

    # SQLite

    def arrive_in(self, connection: sqlite3.Connection) -> list[InboxRow]:
        """The same."""
        self.told, self.earlier = [], {}
        self.seen = not effects.fetch(connection, "event_arrives", self._who)
        return []

    def keep_done_in(self, connection: sqlite3.Connection, row: InboxRow, rows: list[InboxRow], now: float) -> None:
        """The same."""
        if self.told:
            self._written(effects.fetch(connection, "publish", (given_to(self.told, self._service),)))
            if self._keys:
                first = min(row.number for row in self.told)
                self._known(effects.fetch(connection, "earlier", (self._service, json.dumps(self._keys), first)))

    def _written(self, rows: Sequence[Sequence[Any]]) -> None:
        self.told = numbered(self.told, rows, time.time())

    def _known(self, rows: Iterable[Sequence[Any]]) -> None:
        for key, number in rows:
            self.earlier.setdefault(str(key), []).append(int(number))

    @property
    def _keys(self) -> list[str]:
        return sorted({row.key for row in self.told if row.key})


class _Again(Exception):
    """A try that came to nothing, and is not the last."""

    def __init__(self, failure: m.Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class Events:
    """The way of an event through a service."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def event(self, delivery: Delivery, message: Message) -> None:
        """Handle an event, and ack it. Raises Leaving where it is left to others, MessageRefused."""
        work = self._work
        known = work.handlers.events.get(message.type)
        transactions = work.transactions
        if known is None or transactions is None:
            await delivery.ack()  # of a service's events, those that nobody here asked for
            return
        event, handler = known
        chain = chain_of(message)
        try:
            event.told.decode(message.data or b"null")
        except ValueRefused as error:
            raise MessageRefused(
                f"it does not fit {event!r} as {work.handlers.service.name} knows it: {error}"
            ) from None
        if chain.hops > work.settings.event_hops:
            why = too_many(chain, work.handlers.service.name, work.settings.event_hops)
            await self._aside(delivery, message, why)
            work.figures.circling += 1
            return
        lane = (message.source, message.key or message.id)
        try:
            async with work.lane(lane):
                care = self._care(delivery.times, handler, message)
                why = await self._handled(transactions, known, message, chain, care)
        except Poison:
            work.figures.poison += 1
            why = POISON
        work.figures.handled += 1
        if why:
            await self._aside(delivery, message, why)
        else:
            await delivery.ack()

    async def _aside(self, delivery: Delivery, message: Message, why: str) -> None:
        self._work.figures.buried += 1
        _log.error("the event %s %s is put aside: %s", message.type, message.id, why)
        await delivery.bury(why)

    def _care(self, times: int, handler: Handler, message: Message) -> Care | None:
        parts = ("event", self._work.handlers.service.name, message.source, message.id)
        return None if times == 1 else Care(parts, times > 1, handler.timeout)

    async def _handled(
        self, transactions: Transactions, known: Known, message: Message, chain: Chain, care: Care | None
    ) -> str:
        """Handle it, again and again as its policy says; why it came to nothing, if it did. Care is taken of each try:
        what waits for its next is in nobody's way. Raises Leaving and Poison."""
        work, policy = self._work, known[1].retry.policy()
        attempt = 1
        while True:
            it = EventTry(work, known, message, chain, attempt)
            try:
                outcome = await work.guarded(care, partial(self._tried, transactions, it, policy.allows(attempt)))
            except _Again as again:
                failure = again.failure
            else:
                return self._ended(it, outcome)
            work.figures.failed += 1
            _log.warning("the event %s %s is tried again: %s", message.type, message.id, failure.reason)
            await self._wait(policy.delay(attempt, work.share()) if failure.after is None else failure.after)
            attempt += 1

    async def _tried(self, transactions: Transactions, it: EventTry, more: bool, _: bool) -> Outcome:
        """One try. Raises _Again where another is to come, so that what is noted of those who died at it stays."""
        async with self._work.room:
            outcome = await event_passed(self._work, transactions, it)
        if more and isinstance(outcome, m.Failure) and not (outcome.park or outcome.final):
            raise _Again(outcome)
        return outcome

    def _ended(self, it: EventTry, outcome: Outcome) -> str:
        """Why it came to nothing, if it did."""
        work = self._work
        if isinstance(outcome, m.Done):
            if it.seen:
                work.figures.repeated += 1
            elif it.told and work.outbox is not None:
                work.outbox.committed(it.told, it.earlier)
            return ""
        work.figures.failed += 1
        if isinstance(outcome, m.Failure):
            return outcome.reason
        return f"its handler says no: {getattr(outcome, 'reason', '')}"

    async def _wait(self, seconds: float) -> None:
        """Until it is tried again. Raises Leaving."""
        try:
            async with asyncio.timeout(seconds):
                await self._work.leaving.wait()
        except TimeoutError:
            return
        raise Leaving


def _several(result: Any) -> list[Any]:
    if result is None:
        return []
    if isinstance(result, (tuple, list)) and not hasattr(result, "_fields"):
        return [value for value in result if value is not None]
    return [result]
