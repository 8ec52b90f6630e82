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
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from amends.decide.baton import (
    Baton,
    Mark,
    Saga,
    Stand,
    Told,
    answer_of,
    baton_message,
    mark_message,
    word_message,
    word_of,
)
from amends.decide.events import Phase
from amends.decide.messages import Start
from amends.decide.plan import Plan, StepNode, walk
from amends.decide.wire import SAGAS_PER_NOTICE, Ended, ended_message
from amends.define.program import Program
from amends.errors import IdConflict, LimitExceeded, Refused, StoreError, UnknownSaga
from amends.message import Message
from amends.observe.hub import OFF, Hub
from amends.run.awaited import Awaited, Settled
from amends.run.chance import Chance
from amends.run.hops import mark_from
from amends.run.journey import Journey, Route, length_of, state_of_text
from amends.run.mailbox import Wish
from amends.run.observing import first_trace
from amends.run.outbox_rows import EventRow, Rows, Writing, given_to, row_of_message
from amends.run.outcomes import Outcome, outcome_of
from amends.run.participant_work import Work
from amends.run.sealing import Seal
from amends.run.settings import Settings
from amends.run.sweeping import sweeping
from amends.run.transactions import Transactions
from amends.run.wanted import ACCEPTED, HAS_ENDED, TOO_LATE, Waits, Word, keep
from amends.transport.base import Delivery
from amends.transport.names import commands_of

SWEEP_SECONDS = 2.5
BATCH = 100
NOTICE_SECONDS = 1.0  # ended sagas are told of together
TOLD_SECONDS = 30.0  # until they are told of again, where nobody knows whether all services were reached
PATIENCE_SECONDS_MAX = 3600.0  # what nothing is heard of goes out again as often as this, or as its plan says
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
    seal: Seal | None = None

    def write(self) -> Writing[Rows]:
        """Write it, unless it is there; gives the numbers of what goes out. Raises IdConflict."""
        if (yield "home_open", self.home):
            return (yield "publish", given_to(self.messages, self.saga.home))
        found = yield "home_at", json.dumps({"service": self.saga.home, "key": self.saga.key})
        if not found or found[0][1] != self.saga.plan or _input_of(found[0][4], self.seal) != self.input:
            raise IdConflict(
                f"the id {self.saga.key!r} belongs to another saga, or to another input of {self.saga.plan}; choose "
                "another id, or pass the same input"
            )
        return ()


def _input_of(history: str, seal: Seal | None) -> bytes:
    return state_of_text(history, seal).input


def begun(service: str, route: Route, key: str, start: Start, settings: Settings, hub: Hub = OFF) -> Begun:
    """A saga that begins at a service. key: the user's id. hub: whose observers may have something travel with it.
    Raises LimitExceeded, and Refused for one that would need a person before it has begun."""
    plan, now = route.program.plan, time.time()
    saga = Saga(CHANCE.uuid7(now), key, plan.name, plan.fingerprint, service)
    journey = Journey(saga, route, b"[]", settings)
    journey.tell(start, now)
    following = journey.next(service, now)
    messages: list[EventRow] = []
    if following.baton is not None:
        if why := journey.too_large(ahead=True):
            raise LimitExceeded(
                f"the saga {saga.key!r:.60} cannot begin: {why}; have the services find what is large by a reference"
            )
        first = following.baton._replace(trace=first_trace(hub, saga, following.to, following.baton.step))
        message = baton_message(first, uuid.uuid4().hex, f"/amends/{service}")
        messages.append(row_of_message(message, following.to))
    elif following.told is not None and following.told.stand is Stand.ENDED:  # nobody has anything to do for it
        message = word_message(following.told, uuid.uuid4().hex, f"/amends/{service}", now)
        messages.append(row_of_message(message, service))
    else:
        raise Refused(f"the saga {key!r} of {plan.name} cannot begin: {journey.state.parked}")
    baton = following.baton
    way = {"to": following.to, "step": baton.step, "type": baton.type} if baton is not None else {}
    row = {
        "saga": saga.id.hex(),
        "service": service,
        "key": key,
        "plan": plan.name,
        "fingerprint": plan.fingerprint,
        "way": json.dumps({**way, "services": plan.services}),
        "history": journey.history.decode(),
        "length": journey.length,
        "seconds": patience(plan),
    }
    return Begun(saga, start.input, json.dumps(row), messages, route.seal(saga))


def patience(plan: Plan) -> float:
    """How many seconds pass in silence before the first baton goes out again."""
    steps = [node for node in walk(plan.root) if isinstance(node, StepNode)]
    return GRACE_SECONDS + sum(step.timeout for step in steps)


class Homes:
    """Of one participant. It needs no plan of the sagas that began here: their rows have what it does for them."""

    def __init__(self, work: Work, transactions: Transactions) -> None:
        self._work = work
        self.service: str = work.handlers.service.name
        self._transactions = transactions
        self._ended: dict[str, Sequence[str]] = {}  # sagas whose services are to hear of it
        self._notice: asyncio.TimerHandle | None = None
        self._awaited = Awaited(transactions, self.service)
        self._waits = Waits()

    async def word(self, delivery: Delivery, message: Message) -> None:
        """Take what the holder says, ack. Raises Leaving, MessageRefused."""
        told = word_of(message)
        id_, length = told.saga.id.hex(), length_of(told.history)
        values = (told.stand.value, length, told.history.decode(), ",".join(told.marks), TOLD_SECONDS)
        for (way,) in await self._asked("home_told", id_, *values):
            if told.stand is Stand.ENDED:
                self._tell_soon(id_, json.loads(way)["services"])
            if told.stand in (Stand.ENDED, Stand.PARKED):
                self._awaited.hear(told.saga.key, Settled(told.stand, told.history.decode()))
        await delivery.ack()

    # What somebody wants

    async def act(self, key: str, wish: Wish) -> Word:
        """Have a saga cancelled, or an operator's act done, by whoever holds it; gives what that says. Raises
        UnknownSaga, Refused for what cannot be carried, and StoreError."""
        kept = await keep(self._transactions, self.service, key, wish, seconds=AGAIN_SECONDS)
        if isinstance(kept, Word):
            return kept
        for (way,) in await self._transactions.ask("home_way", kept.saga.id.hex(), self.service):
            self._send(kept, json.loads(way)["services"])
        return await self._waits.word(self._transactions, kept, LOOK_SECONDS)

    def _send(self, mark: Mark, services: Sequence[str]) -> None:
        """To every service of the plan, whoever holds it."""
        for service in services:
            message = mark_message(mark, self._work.new_id(), self._work.source, time.time())
            self._work.sender.post(commands_of(service), message)

    async def answer(self, delivery: Delivery, message: Message) -> None:
        """Take what the holder says to a mark, ack. Raises Leaving, MessageRefused."""
        answered = answer_of(message)
        saga = answered.saga
        detail = answered.detail or (f"{answered.service} has the saga" if answered.word == ACCEPTED else "")
        values = (answered.mark, answered.word, detail, answered.length)
        await self._asked("mark_answered", saga.id.hex(), self.service, *values)
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
        seal = None if self._work.seals is None else self._work.seals.baton(self.service, key)
        outcome = outcome_of(program, state_of_text(found.history, seal))
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
        await sweeping(self, lambda: asyncio.sleep(SWEEP_SECONDS), "the sagas that began here", _log)

    async def sweep(self) -> bool:
        """Send the first baton of those of which nothing was heard, and what somebody wants and nobody has answered;
        whether there may be more. Raises StoreError."""
        rows = await self._transactions.ask("home_due", self.service, BATCH, PATIENCE_SECONDS_MAX)
        messages = [self._first(*one) for one in rows if one[4] != Stand.ENDED]
        for one in rows:
            if one[4] == Stand.ENDED:
                self._tell_soon(one[0], json.loads(one[5])["services"])
        if messages and self._work.outbox is not None:
            await self._work.outbox.send(messages)
        marks = await self._transactions.ask("mark_due", self.service, BATCH, AGAIN_SECONDS)
        for id_, key, plan, fingerprint, stand, met, way, mark, *what in marks:
            wanted = mark_from(Saga(bytes.fromhex(id_), key, plan, fingerprint, self.service), mark, *what)
            if stand == Stand.ENDED and mark not in met:  # nobody has met it, and nobody will
                await self._transactions.ask("mark_answered", id_, self.service, mark, TOO_LATE, HAS_ENDED, 0)
            else:
                self._send(wanted, json.loads(way)["services"])
        return len(rows) == BATCH or len(marks) == BATCH

    def _first(self, id_: str, key: str, plan: str, fingerprint: str, _: str, way: str, first: str) -> EventRow:
        """The first that was ever sent of a saga, once more."""
        saga, now, where = Saga(bytes.fromhex(id_), key, plan, fingerprint, self.service), time.time(), json.loads(way)
        if "step" not in where:  # it ended as it began
            told = Told(saga, Stand.ENDED, self.service, first.encode())
            return row_of_message(word_message(told, self._work.new_id(), self._work.source, now), self.service)
        trace = first_trace(self._work.hub, saga, where["to"], where["step"])
        baton = Baton(saga, where["type"], where["step"], Phase.ACTION, 1, first.encode(), now, trace=trace)
        return row_of_message(baton_message(baton, self._work.new_id(), self._work.source), where["to"])

    # The end

    def _tell_soon(self, id_: str, services: Sequence[str]) -> None:
        self._ended[id_] = services
        if self._notice is None:
            self._notice = self._work.loop.call_later(NOTICE_SECONDS, self.tell_ended)

    def tell_ended(self) -> None:
        """Let the services know which sagas have ended."""
        if self._notice is not None:
            self._notice.cancel()
        self._notice = None
        ended, self._ended = self._ended, {}
        if ended:
            self._work.spawn(self._tell(ended))

    async def _tell(self, ended: Mapping[str, Sequence[str]]) -> None:
        """They are told again, after a while, unless all of them could be."""
        told = [self._work.sender.send(commands_of(to), message) for to, message in self._notices(ended)]
        try:
            refused = [error for error in await asyncio.gather(*told) if error is not None]
            if not refused:
                await self._transactions.ask("home_closed", json.dumps(list(ended)))
        except StoreError as error:
            refused = [error]
        if refused:
            _log.warning("services are told later that sagas have ended: %s", refused[0])

    def _notices(self, ended: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, Message]]:
        by_service: dict[str, list[bytes]] = {}
        for id_, services in ended.items():
            for service in services:
                by_service.setdefault(service, []).append(bytes.fromhex(id_))
        for service, sagas in by_service.items():
            for start in range(0, len(sagas), SAGAS_PER_NOTICE):
                notice = Ended(self.service, tuple(sagas[start : start + SAGAS_PER_NOTICE]))
                yield service, ended_message(notice, self._work.new_id(), self._work.source, time.time())

    async def _asked(self, name: str, *values: object) -> Sequence[Sequence[Any]]:
        """A statement; a database that is away is waited for. Raises Leaving."""
        return await self._work.waited(lambda: self._transactions.ask(name, *values))
