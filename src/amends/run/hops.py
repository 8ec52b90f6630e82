"""Hops: the way of a choreographed saga through one service.

    baton -> barrier transaction, with the decision and the next baton in it -> commit -> ack, and the outbox

Guarantees: what a service did, what follows from it and what goes out are committed together; a baton that comes
again runs nothing, and what it led to goes out again; what waits for another attempt is kept here, not in a broker.
Must not: judge; `decide` does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from amends import fault
from amends.decide import messages as m
from amends.decide.barrier import expired
from amends.decide.baton import (
    Answered,
    Baton,
    Mark,
    Saga,
    Stand,
    Told,
    answer_message,
    baton_of,
    mark_of,
    word_message,
)
from amends.decide.choreography import next_hop
from amends.decide.events import Phase
from amends.decide.messages import Message as Outcome
from amends.decide.wire import Command
from amends.errors import ImpossibleTransition, MessageRefused
from amends.message import Message
from amends.run.hop import Hop, HopTry, Stale, barred, place_of, rows_of
from amends.run.inbox import unfit
from amends.run.inbox_careful import Poison
from amends.run.journey import At, Journey, Name, Route
from amends.run.observing import hop_told, passed
from amends.run.outbox_rows import given_to, row_of_message
from amends.run.participant_work import POISON, Leaving, Work
from amends.run.sweeping import sweeping
from amends.run.transactions import Transactions
from amends.transport.base import Delivery
from amends.transport.names import commands_of

CLAIM_SECONDS = 30.0  # so long nobody else takes a hop that is due
SWEEP_SECONDS = 2.5
BATCH = 100
AT_ONCE_SECONDS = 1.0  # a baton that goes out so long after its last row was written may have been here before
WAITING_MAX = 10_000  # that are remembered; a database has all
STALE_MAX = 20  # acts that come one by one, each while what follows from the one before is written
_log = logging.getLogger("amends.hops")


class Hops:
    """Of one participant. routes: the sagas that it knows, by name and fingerprint."""

    def __init__(self, work: Work, transactions: Transactions, routes: Mapping[Name, Route]) -> None:
        self.work = work
        self.service: str = work.handlers.service.name
        self._transactions = transactions
        self._routes = routes
        self._soon = asyncio.Event()
        self._due: float | None = None  # when the next of those that wait is due, as far as it is known
        self._waiting: dict[tuple[bytes, At], None] = {}  # those that began to wait in this process last

    # A baton

    async def baton(self, delivery: Delivery, message: Message) -> None:
        """Take a saga, do what is next, pass it on, ack. Raises Leaving where it is left to others, MessageRefused."""
        baton = baton_of(message)
        if expired(baton.sent_at, time.time(), self.work.horizon_seconds):  # what it led to may be forgotten
            raise MessageRefused(
                f"a baton of the saga {baton.saga.key!r:.60} is too old; its home sends another, if open"
            )
        route = self._route(baton.saga, baton.history)
        if route is None:
            await self._set_aside(baton)
        else:
            try:
                await self._arrives(baton, route, delivery.times)
            except (
                ImpossibleTransition,
                LookupError,
            ) as error:  # the same comes of it each time; its home sends another
                why = f"what the history of the saga {baton.saga.key!r:.60} leads to cannot be: {error}"
                raise MessageRefused(why) from error
        self.work.figures.handled += 1
        await delivery.ack()

    async def _arrives(self, baton: Baton, route: Route, times: int) -> None:
        saga, at = baton.saga, (baton.step, baton.phase, baton.round)
        journey = Journey(saga, route, baton.history, self.work.settings, baton.marks)
        journey.trace = baton.trace
        command = journey.command(baton.sent_at)
        if at != (command.step, command.phase, command.round) or route.plan.step(command.step).service != self.service:
            raise MessageRefused(f"the saga {saga.key!r:.60} is at {command.step}, and its baton at {baton.step}")
        if baton.type != command.type:
            raise MessageRefused(f"the saga {saga.key!r:.60} is to do {command.type}, and its baton {baton.type!r:.60}")
        async with self._lane(saga):
            again = times != 1 or baton.sent_at > journey.written_at + AT_ONCE_SECONDS or (saga.id, at) in self._waiting
            if again and await self._goes_out_again(saga, route, at):
                return
            marks: Sequence[Mark] = ()
            for left in reversed(range(STALE_MAX)):
                try:
                    await self._goes_on(journey, at, baton.sent_at, times, marks)
                    return
                except Stale:  # another process was faster, or somebody wants something
                    if await self._goes_out_again(saga, route, at):
                        return
                    if not left:
                        raise
                    marks = await self._marks(journey)

    async def _goes_on(self, came: Journey, at: At, sent_at: float, times: int, marks: Sequence[Mark] = ()) -> None:
        """Let the saga go on from where it is, with what is wanted of it: do what is next, if that is here, and write
        what follows. Raises Leaving and Stale."""
        now, journey = time.time(), came.copy()
        for mark in marks:
            journey.meet(mark, now)
        journey.begin(now)
        hop, following, asked = Hop(self.work, journey, at, came.length), next_hop(journey.state), None
        if following is not None and (*following, journey.state.step(following[0]).round) == at:
            asked = journey.command(sent_at)
            await self._do(hop, asked, times)
        elif journey.length > came.length or journey.replies:
            hop.settle(now)
        else:
            return
        if not hop.in_transaction:
            fault.point("hop.before")
            hop.sent(await self._asked("hop_keep", *hop.written))
            fault.point("hop.after")
        assert hop.next is not None  # noqa: S101  # something has happened
        if self.work.hub.on:
            hop_told(self.work, hop, asked, came.length, began=now)
        self._waiting.pop((came.saga.id, at), None)
        if hop.next.wake is not None:
            self._remember(came.saga, at)
            self._wake_at(hop.next.wake)
            self.work.teller.waits(hop.journey, self.work.new_id())
        if self.work.outbox is not None:
            self.work.outbox.committed(hop.told, {})

    async def _do(self, hop: Hop, command: Command, times: int) -> None:
        """Have the handler do what is next. Raises Leaving and Stale."""
        care = self.work.care(times, command)
        try:
            outcome = await self.work.guarded(care, lambda _: self._outcome(hop, command))
        except Poison:
            self.work.figures.poison += 1
            outcome = m.Failure(command.step, command.phase, POISON, resolved=True, park=True)
        hop.in_transaction = outcome is None
        if outcome is not None:
            hop.happens(outcome)

    async def _outcome(self, hop: Hop, command: Command) -> Outcome | None:
        """What became of the command; None where that is written already."""
        work = self.work
        why = unfit(command, work.handlers.commands, self.service, work.payload_bytes)
        if why:
            work.figures.parked += 1
            return m.Failure(command.step, command.phase, why, resolved=True, park=True)
        handled = work.handlers.commands[command.type]
        handler = handled.handler(command.phase)
        assert handler is not None  # noqa: S101  # `unfit` has seen to it
        hop.next = None
        it = HopTry(work, handled, handler, command, hop)
        async with work.room:
            message = await passed(work, self._transactions, it, hop.journey)
        if it.verdict is not None:
            return barred(it, command)
        if isinstance(message, m.Failure) or (isinstance(message, m.No) and command.phase is Phase.UNDO):
            work.figures.failed += 1
            return message
        return None

    def _lane(self, saga: Saga) -> AbstractAsyncContextManager[object]:
        return self.work.lane((saga.home, saga.id))

    # What comes again

    async def _goes_out_again(self, saga: Saga, route: Route, at: At) -> bool:
        """Whether the saga was here before; what that led to is sent once more."""
        rows = await self._asked("hop_at", saga.id.hex(), self.service, at[0], at[1].value, at[2])
        if not rows:
            return False
        self.work.figures.repeated += 1
        stand, _, _, history, marks = rows[0]
        if stand in ("passed", Stand.ENDED, Stand.PARKED):
            journey = Journey(saga, route, history.encode(), self.work.settings, _listed(marks))
            told, outbox = rows_of(self.work, journey, journey.next(self.service, time.time())), self.work.outbox
            if outbox is not None:
                await self.work.waited(lambda: outbox.send(told))
        return True

    # What somebody wants

    async def mark(self, delivery: Delivery, message: Message) -> None:
        """Keep what somebody wants for whoever holds the saga: at once, if that is here. Ack. Raises Leaving,
        MessageRefused."""
        mark = mark_of(message)
        if not await self._asked("mark_keep", mark_row(mark, self.service, at_home=False)):
            await self._say_again(mark)
        for row in await self._asked("hop_held", mark.saga.id.hex(), self.service):
            self.work.spawn(self._again(row))
        await delivery.ack()

    async def _say_again(self, mark: Mark) -> None:
        """Its home has not heard what was said to it, if anything was."""
        for word, detail, length in await self._asked("mark_said", mark.saga.id.hex(), self.service, mark.id):
            answered = Answered(mark.saga, mark.id, word, detail, self.service, length)
            message = answer_message(answered, self.work.new_id(), self.work.source, time.time())
            self.work.sender.post(commands_of(mark.saga.home), message)

    async def _marks(self, journey: Journey) -> list[Mark]:
        """What is wanted of a saga, and not met yet."""
        rows = await self._asked("marks_of", journey.saga.id.hex(), self.service)
        found = (mark_from(journey.saga, *row) for row in rows)
        return [mark for mark in found if mark.id not in journey.marks]

    # What waits

    async def run(self) -> None:
        """Take up what is due, until cancelled."""
        await sweeping(self, self._pause, "what waits for another attempt", _log)

    async def sweep(self) -> bool:
        """Take up what is due now; whether there may be more. Raises StoreError."""
        self._soon.clear()
        self._due = None
        rows = await self._transactions.ask("hop_due", self.service, BATCH, CLAIM_SECONDS)
        for row in rows:
            self.work.spawn(self._again(row))
        return len(rows) == BATCH

    async def _again(self, row: Sequence[Any]) -> None:
        """A saga that is here goes on: another attempt is due, or somebody wants something."""
        id_, key, plan, fingerprint, home, address, phase, round_, history, marks, stand, length, due = row
        saga, at = Saga(bytes.fromhex(id_), key, plan, fingerprint, home), (address, Phase(phase), int(round_))
        route = self._route(saga, history.encode())
        try:
            async with self._lane(saga):
                if route is None:
                    if stand == "waiting":  # what is parked is with a person, and what is unknown is told
                        told = Told(saga, Stand.UNKNOWN_PLAN, self.service, history.encode(), _listed(marks))
                        await self._keep_unknown(told, at, due, base=int(length))
                    return
                journey = Journey(saga, route, history.encode(), self.work.settings, _listed(marks))
                await self._goes_on(journey, at, time.time(), 0, await self._marks(journey))
        except (Stale, Leaving):
            return
        except MessageRefused as error:
            _log.error("a hop of the saga %s cannot go on: %s", saga.key, error)

    async def _pause(self) -> None:
        seconds = SWEEP_SECONDS if self._due is None else min(max(self._due - time.time(), 0.0), SWEEP_SECONDS)
        try:
            async with asyncio.timeout(seconds):
                await self._soon.wait()
        except TimeoutError:
            return

    def _remember(self, saga: Saga, at: At) -> None:
        """Its baton, should it come again, does not make the next attempt before that is due."""
        self._waiting[saga.id, at] = None
        if len(self._waiting) > WAITING_MAX:
            del self._waiting[next(iter(self._waiting))]

    def _wake_at(self, instant: float) -> None:
        if self._due is None or instant < self._due:
            self._due = instant
            self._soon.set()

    # What is not known here

    async def _set_aside(self, baton: Baton) -> None:
        """It has come, and nobody here knows its plan."""
        told = Told(baton.saga, Stand.UNKNOWN_PLAN, self.service, baton.history, baton.marks)
        await self._keep_unknown(told, (baton.step, baton.phase, baton.round), 0.0, base=None)

    async def _keep_unknown(self, told: Told, at: At, due: float, *, base: int | None) -> None:
        """Nobody here knows the plan: it waits until somebody does, and the home is told. base: so many rows are here;
        None where it has just come."""
        saga, now = told.saga, time.time()
        _log.error(
            "the saga %s is of a plan %s (%s) that the service %s does not know: it waits here until it does",
            *(saga.key, saga.plan, saga.fingerprint, self.service),
        )
        message = word_message(told, self.work.new_id(), self.work.source, now)
        row = {
            **place_of(saga, at, self.service),
            "stand": Stand.UNKNOWN_PLAN.value,
            "due": max(due, now + CLAIM_SECONDS),
            "marks": ",".join(told.marks),
            "length": base or 0,
            "base": -1 if base is None else base,  # -1: nothing that is there already
            "history": told.history.decode(),
        }
        told_home = given_to([row_of_message(message, saga.home)], self.service)
        await self._asked("hop_keep", json.dumps(row), told_home)

    # What is written

    def _route(self, saga: Saga, history: bytes) -> Route | None:
        """Its route; None where its plan, or a key that it is sealed with, is not known here. Raises MessageRefused."""
        route = self._routes.get((saga.plan, saga.fingerprint))
        if route is not None and (why := route.shut(saga, history)):
            _log.error("the saga %s waits here: %s", saga.key, why)
            return None
        return route

    async def _asked(self, name: str, *values: object) -> Sequence[Sequence[Any]]:
        """A statement; a database that is away is waited for. Raises Leaving."""
        return await self.work.waited(lambda: self._transactions.ask(name, *values))


def mark_row(mark: Mark, service: str, *, at_home: bool, seconds: float = 0.0) -> str:
    """What the database is to have of a mark. seconds: until it goes out again, where it began."""
    row = {
        "saga": mark.saga.id.hex(),
        "service": service,
        "id": mark.id,
        "at_home": at_home,
        "verb": mark.verb,
        "address": mark.address,
        "actor": mark.actor,
        "reason": mark.reason,
        "result": None if mark.result is None else mark.result.decode(),
        "more": _more_of(mark),
        "seconds": seconds,
    }
    return json.dumps(row)


def mark_from(saga: Saga, id_: str, verb: str, address: str, actor: str, reason: str, *rest: str | None) -> Mark:
    """A mark as a database gives it. rest: its result, and what else it says."""
    result, more = rest
    said = json.loads(more or "{}")
    encoded = None if result is None else result.encode()
    return Mark(saga, id_, verb, address, actor, reason, encoded, said.get("version"), said.get("settled", False))


def _more_of(mark: Mark) -> str | None:
    """What a mark says that few do."""
    said = {"version": mark.version} if mark.version is not None else {}
    return json.dumps({**said, **({"settled": True} if mark.settled else {})}) if said or mark.settled else None


def _listed(marks: str) -> tuple[str, ...]:
    return tuple(filter(None, marks.split(",")))
