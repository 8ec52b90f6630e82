"""Homes: the choreographed sagas that a service has started, and what it does for them.

Guarantees: a saga exists if and only if the transaction that started it commits; while it is open and nothing is
heard of it, its first baton goes out again, and revives what was lost on the way.
Must not: decide anything after the start; the holder does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from amends.decide.baton import (
    Baton,
    Mark,
    Saga,
    Stand,
    answer_of,
    baton_message,
    mark_message,
    word_message,
    word_of,
)
from amends.decide.messages import Start
from amends.decide.plan import Plan, StepNode, walk
from amends.decide.wire import SAGAS_PER_NOTICE, Ended, ended_message
from amends.define.program import Program
from amends.errors import IdConflict, LimitExceeded, Refused, StoreError, StoreUnavailable, UnknownSaga
from amends.message import Message
from amends.run.awaited import Awaited, Settled
from amends.run.chance import Chance
from amends.run.hop import BATON_SHARE, rows_of
from amends.run.journey import Journey, Name, Route, length_of, state_of_text
from amends.run.outbox_rows import EventRow, Rows, Writing, given_to, row_of_message
from amends.run.outcomes import Outcome, outcome_of
from amends.run.participant_work import Work
from amends.run.settings import Settings
from amends.run.transactions import Transactions
from amends.run.wanted import ACCEPTED, HAS_ENDED, TOO_LATE, Act, Waits, Word, keep
from amends.transport.base import Delivery
from amends.transport.names import commands_of

SWEEP_SECONDS = 2.5
BATCH = 100
NOTICE_SECONDS = 1.0  # ended sagas are told of together
AGAIN_SECONDS = 5.0  # until what somebody wants goes out again, where nobody has answered
LOOK_SECONDS = 0.5
GRACE_SECONDS = 5.0  # beyond all the time that the services may take
CHANCE = Chance()
_log = logging.getLogger("amends.homes")


class Begun(NamedTuple):
    """A saga that is to be: what its home keeps, as the database takes it, and what goes out."""

    saga: Saga
    input: bytes
    home: str
    messages: list[EventRow]

    def write(self) -> Writing[Rows]:
        """Write it, unless it is there; gives the numbers of what goes out. Raises IdConflict."""
        if (yield "home_open", self.home):
            return (yield "publish", given_to(self.messages, self.saga.home))
        found = yield "home_at", json.dumps({"service": self.saga.home, "key": self.saga.key})
        if not found or found[0][1] != self.saga.plan or _input_of(found[0][4]) != self.input:
            raise IdConflict(
                f"the id {self.saga.key!r} belongs to another saga, or to another input of {self.saga.plan}; choose "
                "another id, or pass the same input"
            )
        return ()


def _input_of(history: str) -> bytes:
    return state_of_text(history).input


def begun(service: str, route: Route, key: str, payload: bytes, settings: Settings, hops: int = 0) -> Begun:
    """A saga that begins at a service. key: the user's id. hops: how many events led to it, each to the next.
    Raises LimitExceeded, and Refused for one that would need a person before it has begun."""
    plan, now = route.program.plan, time.time()
    saga = Saga(CHANCE.uuid7(now), key, plan.name, plan.fingerprint, service)
    journey = Journey(saga, route, b"[]", settings)
    journey.tell(Start(payload, hops=hops), now)
    following = journey.next(service, now)
    messages: list[EventRow] = []
    if following.baton is not None:
        _check_size(following.baton, settings)
        message = baton_message(following.baton, uuid.uuid4().hex, f"/amends/{service}")
        messages.append(row_of_message(message, following.to))
    elif following.told is not None and following.told.stand is Stand.ENDED:  # nobody has anything to do for it
        message = word_message(following.told, uuid.uuid4().hex, f"/amends/{service}", now)
        messages.append(row_of_message(message, service))
    else:
        raise Refused(f"the saga {key!r} of {plan.name} cannot begin: {journey.state.parked}")
    row = {
        "saga": saga.id.hex(),
        "service": service,
        "key": key,
        "plan": plan.name,
        "fingerprint": plan.fingerprint,
        "history": journey.history.decode(),
        "length": journey.length,
        "seconds": patience(plan),
    }
    return Begun(saga, payload, json.dumps(row), messages)


def _check_size(baton: Baton, settings: Settings) -> None:
    limit = settings.payload_bytes // BATON_SHARE
    if len(baton.history) > limit:
        raise LimitExceeded(
            f"the saga {baton.saga.key!r:.60} cannot begin: its baton would have {len(baton.history):,} bytes, and "
            f"{limit:,} are allowed (payload_bytes); have the services find what is large by a reference"
        )


def patience(plan: Plan) -> float:
    """How many seconds pass in silence before the first baton goes out again."""
    steps = [node for node in walk(plan.root) if isinstance(node, StepNode)]
    return GRACE_SECONDS + sum(step.timeout for step in steps)


class Homes:
    """Of one participant. routes: the sagas that it knows, by name and fingerprint."""

    def __init__(self, work: Work, transactions: Transactions, routes: Mapping[Name, Route]) -> None:
        self._work = work
        self.service: str = work.handlers.service.name
        self._transactions = transactions
        self._routes = routes
        self._ended: dict[str, list[bytes]] = {}
        self._notice: asyncio.TimerHandle | None = None
        self._awaited = Awaited(transactions, self.service)
        self._waits = Waits()

    async def word(self, delivery: Delivery, message: Message) -> None:
        """Take what the holder says, ack. Raises Leaving, MessageRefused."""
        told = word_of(message)
        length = length_of(told.history)
        route = self._route(told.saga)
        seconds = GRACE_SECONDS if route is None else patience(route.program.plan)
        values = (told.saga.id.hex(), told.stand.value, length, told.history.decode(), seconds)
        if await self._asked("home_told", *values):
            if told.stand is Stand.ENDED:
                self._tell_soon(told.saga)
            if told.stand in (Stand.ENDED, Stand.PARKED):
                self._awaited.hear(told.saga.key, Settled(told.stand, told.history.decode()))
        await delivery.ack()

    # What somebody wants

    async def act(self, key: str, verb: str, *, address: str, actor: str, reason: str, result: bytes | None) -> Word:
        """Have a saga cancelled, or an operator's act done, by whoever holds it; gives what that says. Raises
        UnknownSaga, Refused for what cannot be carried, and StoreError."""
        act = Act(verb, address, actor, reason, result)
        kept = await keep(self._transactions, self.service, key, act, seconds=AGAIN_SECONDS)
        if isinstance(kept, Word):
            return kept
        self._send(kept)
        return await self._waits.word(self._transactions, kept, LOOK_SECONDS)

    def _send(self, mark: Mark) -> None:
        """To every service of the plan, whoever holds it."""
        route = self._route(mark.saga)
        for service in () if route is None else route.program.plan.services:
            message = mark_message(mark, self._work.new_id(), self._work.source, time.time())
            self._work.sender.post(commands_of(service), message)

    async def answer(self, delivery: Delivery, message: Message) -> None:
        """Take what the holder says to a mark, ack. Raises Leaving, MessageRefused."""
        answered = answer_of(message)
        saga = answered.saga
        detail = answered.detail or (f"{answered.service} has the saga" if answered.word == ACCEPTED else "")
        if answered.word == ACCEPTED:  # before anybody hears of it: what becomes of the saga now is still to come
            await self._asked("home_reopen", saga.id.hex(), GRACE_SECONDS)
        await self._asked("mark_answered", saga.id.hex(), self.service, answered.mark, answered.word, detail)
        self._waits.hear(answered.mark)
        await delivery.ack()

    async def outcome(self, program: Program, key: str, timeout: float | None) -> Outcome:
        """What becomes of a saga, once it has ended or is parked; it is looked at once however short the timeout.
        Raises TimeoutError, UnknownSaga and StoreError."""
        with self._awaited.waiting(key) as told:
            found = await self._look(program, key)
            if found is None:
                async with asyncio.timeout(timeout):
                    found = await told
        outcome = outcome_of(program, state_of_text(found.history))
        assert outcome is not None  # noqa: S101  # of what has ended, or is parked
        return outcome

    async def _look(self, program: Program, key: str) -> Settled | None:
        rows = await self._transactions.ask("home_at", json.dumps({"service": self.service, "key": key}))
        if not rows or rows[0][1] != program.plan.name:
            raise UnknownSaga(f"the service {self.service} has started no saga {key!r} of {program.plan.name}")
        _, _, _, stand, _, history = rows[0]
        return Settled(stand, history) if stand in (Stand.ENDED, Stand.PARKED) else None

    async def close(self) -> None:
        """Nobody waits any more."""
        await self._awaited.close()

    async def run(self) -> None:
        """Send again what nothing was heard of, until cancelled."""
        while True:
            try:
                full = await self.sweep()
            except StoreError as error:
                full = False
                _log.warning("the sagas that began here cannot be looked at: %s", error)
            except Exception:  # noqa: BLE001  # whatever it is, all sagas that are lost wait for this
                full = False
                _log.exception("the sagas that began here cannot be looked at: this is a bug in amends")
            if not full:
                await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> bool:
        """Send the first baton of those of which nothing was heard; whether there may be more. Raises StoreError."""
        longest = max((patience(route.program.plan) for route in self._routes.values()), default=GRACE_SECONDS)
        rows = await self._transactions.ask("home_due", self.service, BATCH, longest)
        messages = [row for one in rows for row in self._first(*one)]
        if messages:
            written = await self._transactions.ask("publish", given_to(messages, self.service))
            numbers = {str(id_): int(number) for number, id_ in written}
            if self._work.outbox is not None:
                now = time.time()
                self._work.outbox.committed([row._replace(number=numbers[row.id], at=now) for row in messages], {})
        marks = await self._transactions.ask("mark_due", self.service, BATCH, AGAIN_SECONDS)
        for id_, key, plan, fingerprint, stand, mark, verb, address, actor, reason, result in marks:
            saga = Saga(bytes.fromhex(id_), key, plan, fingerprint, self.service)
            wanted = Mark(saga, mark, verb, address, actor, reason, None if result is None else result.encode())
            if stand == Stand.ENDED:  # nobody holds it any more, and an answer would be here by now
                await self._transactions.ask("mark_answered", id_, self.service, mark, TOO_LATE, HAS_ENDED)
            else:
                self._send(wanted)
        return len(rows) == BATCH or len(marks) == BATCH

    def _first(self, id_: str, key: str, plan: str, fingerprint: str, first: str) -> list[EventRow]:
        saga, now = Saga(bytes.fromhex(id_), key, plan, fingerprint, self.service), time.time()
        route = self._route(saga)
        if route is None:
            _log.error("the saga %s is of a plan %s that is not known here any more", key, plan)
            return []
        journey = Journey(saga, route, first.encode(), self._work.settings)
        return rows_of(self._work, journey, journey.next(self.service, now))

    def _route(self, saga: Saga) -> Route | None:
        return self._routes.get((saga.plan, saga.fingerprint))

    def _tell_soon(self, saga: Saga) -> None:
        route = self._route(saga)
        for service in () if route is None else route.plan.services:
            self._ended.setdefault(service, []).append(saga.id)
        if self._notice is None:
            self._notice = self._work.loop.call_later(NOTICE_SECONDS, self.tell_ended)

    def tell_ended(self) -> None:
        """Let the services know which sagas have ended."""
        if self._notice is not None:
            self._notice.cancel()
        self._notice = None
        ended, self._ended = self._ended, {}
        for service, sagas in ended.items():
            for start in range(0, len(sagas), SAGAS_PER_NOTICE):
                notice = Ended(self.service, tuple(sagas[start : start + SAGAS_PER_NOTICE]))
                message = ended_message(notice, self._work.new_id(), self._work.source, time.time())
                self._work.sender.post(commands_of(service), message)

    async def _asked(self, name: str, *values: object) -> Sequence[Sequence[Any]]:
        tries = 0
        while True:
            try:
                return await self._transactions.ask(name, *values)
            except StoreUnavailable as error:
                tries += 1
                await self._work.waits(error, tries)
