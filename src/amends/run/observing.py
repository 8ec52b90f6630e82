"""Where the shell tells those who observe: what becomes of sagas, of attempts and of commands.

Guarantees: an attempt and a command are told of in the context that the user's function is called in, so that an
observer may set what that function sees; after its end nothing of that is left.
Must not: be asked anything where nobody observes.
"""

from __future__ import annotations

import logging
import time
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from amends.decide import messages as m
from amends.decide.barrier import Verdict, answer
from amends.decide.baton import Saga
from amends.decide.draft import Decision
from amends.decide.events import Phase
from amends.decide.messages import Message
from amends.decide.state import State, Status, in_flight
from amends.decide.wire import NO_TRACE, Command, Reply, Word, trace_in
from amends.observe import events as o
from amends.observe.course import Course, Sent
from amends.observe.events import About
from amends.observe.hub import Hub
from amends.observe.registry import OVERFLOW
from amends.run.attempt import Attempt, outcome

if TYPE_CHECKING:
    from amends.run.hop import Hop, HopTry
    from amends.run.inbox import CommandTry
    from amends.run.journey import Journey, Next
    from amends.run.live import Live
    from amends.run.participant_events import EventTry
    from amends.run.participant_work import Work
    from amends.run.transactions import Transactions

T = TypeVar("T")
_log = logging.getLogger("amends.observe")


def attempted(live: Live, attempt: Attempt) -> Coroutine[Any, Any, Message]:
    """Make an attempt; how it ended."""
    if attempt.in_transaction:
        made = live.shell.transaction(attempt.address).run(live.shell, attempt, attempt.context)
    else:
        made = outcome(attempt, live.shell)
    return made if live.eye is None else live.eye.attempt(attempt, made)


def eye_of(live: Live) -> Eye | None:
    """Who tells of a saga; None where nobody is to be told."""
    return Eye(live) if live.shell.hub.on else None


class Eye:
    """Tells of one saga in a worker's memory."""

    __slots__ = ("_course", "_hub", "_live")

    def __init__(self, live: Live) -> None:
        plan = live.program.plan
        self._live = live
        self._hub: Hub = live.shell.hub
        self._course = Course(About(live.shell.namespace, plan.name, live.key, live.id), plan)

    def resumed(self, state: State, rows: int) -> None:
        """The saga was read from the store."""
        try:
            if rows == 1 and not state.steps and state.status is Status.RUNNING:  # nothing has begun: a client's start
                self._hub.tell(o.SagaStarted(self._course.about, self._live.shell.now()))
            plan = self._live.program.plan
            for address, phase in in_flight(state):
                node, step = plan.step(address), state.step(address)
                due = step.track(phase).due
                if node.remote and due is not None:
                    timeout = node.timeout if phase is Phase.ACTION else node.undo_timeout
                    self._course.sent[address, phase] = Sent(due - timeout, step.track(phase).attempts, step.round)
        except (Exception, CancelledError):  # noqa: BLE001  # logged
            self._close()

    def written(self, decision: Decision) -> None:
        """A decision is on disk."""
        try:
            for event in self._course.told(decision.events, decision.state, self._live.shell.now()):
                self._hub.tell(event)
        except (Exception, CancelledError):  # noqa: BLE001  # logged
            self._close()

    def _close(self) -> None:
        """A mistake in what only looks on is no reason for a saga not to go on."""
        _log.exception("what becomes of saga %s cannot be told: this is a bug in amends", self._course.about.key)
        self._live.eye = None

    def sent(self, command: Command) -> Mapping[str, str]:
        """A command is about to go out; gives what travels with it."""
        address, phase, now = command.step, command.phase, self._live.shell.now()
        event = o.CommandSent(self._course.about, now, address, phase, command.round, command.attempt, command.type)
        self._course.sent[address, phase] = Sent(now, command.attempt, command.round)
        self._hub.tell(event)
        return self._hub.carried(event)

    async def attempt(self, attempt: Attempt, made: Coroutine[Any, Any, Message]) -> Message:
        """Make an attempt, and say so."""
        shell, about = self._live.shell, self._course.about
        step, address, phase = self._live.known(attempt.address), attempt.address, attempt.phase
        numbers = step.round, step.track(phase).attempts
        undoes = step.action.attempts if phase is Phase.UNDO else 0
        at, began, word, error = shell.now(), shell.loop.time(), "unresolved", ""
        self._hub.tell(o.AttemptBegan(about, at, address, phase, *numbers, undoes))
        try:
            message = await made
            word, error = said_of(message)
        finally:
            made.close()  # a no-op, but for what was cancelled before it began
            seconds = shell.loop.time() - began
            ended = (about, at + seconds, address, phase, *numbers, seconds, word, error, "", False, undoes)
            self._hub.tell(o.AttemptEnded(*ended))
        return message


def said_of(message: Message) -> tuple[str, str]:
    """How an attempt ended, in a word, and the class of what it raised."""
    if type(message) is m.Done:
        return "void" if message.void else "succeeded", ""
    if isinstance(message, m.No):
        return "rejected", ""
    if isinstance(message, m.Failure):
        own = message.park or message.after is not None  # the words are the step's own
        return "failed" if message.resolved else "unresolved", "" if own else _class_in(message.reason)
    return "unresolved", ""


def _class_in(reason: str) -> str:
    """The name of the exception's class that a reason begins with, if it does. The rest may quote anything."""
    name = reason.partition(":")[0]
    return name if name.isidentifier() and name[:1].isupper() else ""


def answered(work: Work, command: Command, *, alone: bool) -> Coroutine[Any, Any, Reply]:
    """What becomes of a command in a service, told to those who observe."""
    return _watched(work, command, alone=alone) if work.hub.on else work.answer(command, alone=alone)


async def _watched(work: Work, command: Command, *, alone: bool) -> Reply:
    tries: list[CommandTry] = []

    async def job() -> tuple[Reply, str]:
        reply = await work.answer(command, alone=alone, tried=tries.append)
        return reply, _word_of(reply.word)

    def repeated() -> str:
        return _repeated(tries[-1].verdict if tries else None)

    about = About(command.namespace, "", command.key, command.saga)
    return await _handled(work, about, command, job, repeated)


def passed(work: Work, transactions: Transactions, it: HopTry, journey: Journey) -> Coroutine[Any, Any, Message]:
    """What becomes of a command of a choreographed saga, told likewise."""
    made = work.passed(transactions, it, it.handling)
    return _passed(work, it, _about(journey.saga), made) if work.hub.on else made


async def _passed(work: Work, it: HopTry, about: About, made: Coroutine[Any, Any, Message]) -> Message:
    async def job() -> tuple[Message, str]:
        message = await made
        verdict = it.verdict  # where there is one, the handler was not called, and the message says nothing
        return message, said_of(message)[0] if verdict is None else _word_of(answer(verdict, it.stored))

    return await _handled(work, about, it.command, job, lambda: _repeated(it.verdict))


async def _handled(
    work: Work,
    about: About,
    command: Command,
    job: Callable[[], Awaitable[tuple[T, str]]],
    repeated: Callable[[], str],
) -> T:
    """Have something done for a command, between two words about it. job: gives how it ended, too."""
    service = work.handlers.service.name
    type_ = command.type if command.type in work.handlers.commands else OVERFLOW  # whatever came is not to be a label
    what = (service, type_, command.step, command.phase, command.round, command.attempt)
    began = o.HandlerBegan(about, time.time(), *what, command.trace)
    if _in_batch(work, command):
        copy_context().run(work.hub.tell, began)  # what is done together is done in nobody's context
    else:
        work.hub.tell(began)
    start, word = work.loop.time(), "unresolved"
    try:
        found, word = await job()
        return found
    finally:
        seconds = work.loop.time() - start
        work.hub.tell(o.HandlerEnded(about, time.time(), *what, seconds, word, repeated()))


def event_passed(work: Work, transactions: Transactions, it: EventTry) -> Coroutine[Any, Any, Message]:
    """What becomes of an event in a service, told likewise."""
    made = work.passed(transactions, it, it.handling)
    return _event_passed(work, it, made) if work.hub.on else made


async def _event_passed(work: Work, it: EventTry, made: Coroutine[Any, Any, Message]) -> Message:
    came, service = it.came, work.handlers.service.name
    what = (came.type, came.id, it.handling.context.attempt)
    work.hub.tell(o.EventBegan(service, time.time(), *what, trace_in(came.attributes)))
    start, word = work.loop.time(), "unresolved"
    try:
        outcome_ = await made
        word = said_of(outcome_)[0]
        return outcome_
    finally:
        seconds = work.loop.time() - start
        work.hub.tell(o.EventEnded(service, time.time(), *what, seconds, word, it.seen))


def hop_told(work: Work, hop: Hop, asked: Command | None, came: int, *, began: float) -> None:
    """A hop of a choreographed saga is on disk. asked: what its service was, if it was. came: with so many rows it had
    come. began: when its command was."""
    journey, now = hop.journey, time.time()
    course = Course(_about(journey.saga), journey.plan)
    if asked is not None:
        course.sent[asked.step, asked.phase] = Sent(began, asked.attempt, asked.round)
    lines = journey.since(0 if came == 1 else came)  # with its first hop it has begun
    for event in course.told(lines, journey.state, now):
        work.hub.tell(event)
    following = hop.next
    if following is not None and following.baton is not None:
        work.hub.tell(_sent(work, journey, following))


def trace_of(work: Work, journey: Journey, following: Next) -> Mapping[str, str]:
    """What travels with a baton."""
    return work.hub.carried(_sent(work, journey, following)) if work.hub.on else NO_TRACE


def first_trace(hub: Hub, saga: Saga, to: str, step: str) -> Mapping[str, str]:
    """What travels with the first baton of a saga, which its home sends."""
    if not hub.on:
        return NO_TRACE
    return hub.carried(o.HopSent(_about(saga), time.time(), saga.home, to, step, Phase.ACTION, 1, 1))


def _sent(work: Work, journey: Journey, following: Next) -> o.HopSent:
    baton = following.baton
    address, phase, round_ = ("", Phase.ACTION, 1) if baton is None else (baton.step, baton.phase, baton.round)
    attempt = max(journey.state.step(address).track(phase).attempts, 1) if address else 1
    service = work.handlers.service.name
    return o.HopSent(_about(journey.saga), time.time(), service, following.to, address, phase, round_, attempt)


def _about(saga: Saga) -> About:
    return About(saga.home, saga.plan, saga.key, saga.id)


def _in_batch(work: Work, command: Command) -> bool:
    known = work.handlers.commands.get(command.type)
    handler = None if known is None else known.handler(command.phase)
    return handler is not None and handler.batch > 1


def _word_of(word: Word) -> str:
    """What is told of a reply."""
    return "succeeded" if word is Word.COMPENSATED else word.value


def _repeated(verdict: Verdict | None) -> str:
    return "" if verdict is None else verdict.value
