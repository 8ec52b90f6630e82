"""A saga in a worker's memory: its state, its attempts in flight, its next wake-up.

It takes messages, has the core decide, hands the decision to the committer, and starts what
was issued once that is written.

Guarantees: nothing is called before the decision that issued it is durable; a saga that has
nothing to do for a while is written as unowned in the same commit, and leaves the memory.
Must not: decide, or know how the store writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from amends import fault
from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.decide import decide
from amends.decide.draft import Decision, Question
from amends.decide.events import Phase
from amends.decide.messages import Message
from amends.decide.plan import StepNode, index_of
from amends.decide.state import Action, State, Status, in_flight
from amends.define.bind import Argument, Call, Kind
from amends.define.context import Context
from amends.define.policy import seconds
from amends.define.program import Program
from amends.define.values import describe
from amends.errors import LimitExceeded, ValueRefused
from amends.run import journal
from amends.run.attempt import Attempt, Runner, outcome
from amends.run.outcomes import Outcome, first_trouble, list_of, outcome_of, why_back
from amends.run.settings import Settings
from amends.run.timers import Deadlines
from amends.store.base import Fate, Head, MailAnswer, NewSaga, Write

if TYPE_CHECKING:
    from amends.run.transactions import Transactions

# Events after which the head's word on trouble may be another.
_TROUBLE = (e.Stuck, e.Parked, e.Retried, e.Closed, e.Resumed, e.ResumedBack, e.Abandoned, e.Late, e.Undone, e.Unknown)
_PLAIN = frozenset({e.Issued, e.Succeeded, e.PivotPassed})
_AT_REST = (Status.COMPLETED, Status.COMPENSATED, Status.PARKED)


class Shell(Runner, Protocol):
    """What a saga in memory needs from the worker that holds it."""

    settings: Settings
    loop: asyncio.AbstractEventLoop
    worker: int
    namespace: str
    resources: dict[Any, Any]
    alone: asyncio.Lock  # held by the one attempt that runs carefully
    deadlines: Deadlines

    def now(self) -> float:
        """The store's clock."""
        ...

    def operation(self) -> int:
        """A new operation number."""
        ...

    def submit(self, write: Write, told: Callable[[Fate], None]) -> None:
        """Have a decision written."""
        ...

    def may_start(self, live: Live, address: str, phase: Phase) -> bool:
        """Whether an attempt may start now; if not, the worker starts it when it may."""
        ...

    def at_rest(self, live: Live, decision: Decision) -> None:
        """The saga ended, parked, or waits for long; that is written."""
        ...

    def let_go(self, live: Live, wake: float | None) -> None:
        """Nothing is to be done until an instant, or a mail: the saga may go to whoever comes."""
        ...

    def late(self, live: Live, attempt: Attempt, message: Message) -> None:
        """An attempt ended that nobody waits for any more."""
        ...

    def forget(self, live: Live) -> None:
        """The saga was never started: its id is taken."""
        ...

    def lost(self, live: Live, fate: Fate) -> None:
        """A decision was not written: the saga has moved on without this worker."""
        ...

    def transaction(self, kind: str) -> Transactions:
        """Who runs steps that take a transaction of this kind."""
        ...

    def answered(self, live: Live) -> None:
        """Whoever sent a mail to the saga has an answer."""
        ...

    def attempt_over(self) -> None:
        """One attempt less is in flight."""
        ...


class Live:
    """One saga in memory."""

    __slots__ = (
        "_first",
        "_head",
        "_last_written",
        "_plan",
        "_timer",
        "_unwritten",
        "_values",
        "_waiters",
        "claimed_again",
        "dropped",
        "epoch",
        "id",
        "key",
        "mails",
        "program",
        "running",
        "seq",
        "shell",
        "state",
    )

    def __init__(self, shell: Shell, program: Program, internal_id: bytes, key: str, epoch: int) -> None:
        self.shell = shell
        self.program = program
        self.id = internal_id
        self.key = key
        self.epoch = epoch
        self.seq = 0
        self.state: State | None = None
        self.running: dict[tuple[str, Phase], Attempt] = {}
        self.mails: set[str] = set()  # those it was told
        self.dropped = False
        self.claimed_again = False
        self._head: Head | None = None
        self._last_written: asyncio.Future[None] | None = None
        self._first: Decision | None = None
        self._waiters: list[asyncio.Future[Outcome | None]] = []
        self._plan: int | None = None  # where it moved to another
        self._unwritten = 0
        self._timer: asyncio.TimerHandle | None = None
        self._values: dict[str, Any] = {}

    # Messages

    def prepare(self, payload: bytes, new: NewSaga) -> Write:
        """The first row of a saga that starts here. Nothing is written yet."""
        now = self.shell.now()
        self._first = decision = self._decide(m.Start(payload), now)
        self.state = decision.state
        self._head = self._head_of(decision, now)
        row = journal.encode(now, self.shell.worker, decision.events)
        return Write(self.id, 0, self.shell.operation(), row, new, self._head)

    def start(self, write: Write, told: asyncio.Future[Fate]) -> None:
        """Have the first row written, and go on from there."""
        decision, self._first = self._first, None
        self.seq = 1
        self._unwritten = 1

        def written(fate: Fate) -> None:
            if not told.done():
                told.set_result(fate)
            if fate is Fate.EXISTS:
                self.shell.forget(self)
            elif decision is not None:
                self._written(decision, fate)

        self.shell.submit(write, written)

    async def wait(self) -> Outcome | None:
        """The outcome, once the saga is at rest; None where it leaves the memory before."""
        future: asyncio.Future[Outcome | None] = self.shell.loop.create_future()
        self._waiters.append(future)
        return await future

    def resume(self, state: State, rows: int, head: Head) -> None:
        """Take over what was read from the store."""
        self.state = state
        self.seq = rows
        self._head = head

    def claim(self) -> None:
        """What was issued and never started starts now: whoever let go of the saga had nothing
        in flight."""
        self.begin_all(self._state())

    def adopt(self, gone: int, not_died: frozenset[int]) -> None:
        """What was in flight went down with its worker."""
        self.tell(m.Adopt(gone, not_died))

    def move(self, plan: int, fingerprint: str) -> None:
        """Go over to a changed plan that fits."""
        self._plan = plan
        self.tell(m.Move(fingerprint))

    def tell(self, message: Message, answers: tuple[MailAnswer, ...] = ()) -> bool:
        """Let a message have its effect; False if it has none. `answers`: to mails that the core
        does not answer."""
        now = self.shell.now()
        decision = self._decide(message, now)
        self.state = decision.state
        if decision.events or decision.replies or answers:
            self._write(decision, now, answers)
            return True
        if self._unwritten == 0 and self._resting(decision, now):
            self.shell.let_go(self, decision.wake)
        else:
            self._sleep_until(decision.wake, now)
        return False

    async def told(self, message: Message) -> None:
        """Let a message have its effect, and wait until that is written. Raises CancelledError
        where the saga leaves the memory first."""
        if self.tell(message):
            self._last_written = self.shell.loop.create_future()
            await self._last_written

    def _write(self, decision: Decision, now: float, answers: tuple[MailAnswer, ...]) -> None:
        seq = self.seq
        self.seq = seq + 1
        self._unwritten += 1
        changed: Head | None = None
        if not self._goes_on(decision):
            head = self._head_of(decision, now)
            if head != self._head:
                changed = self._head = head
        row = journal.encode(now, self.shell.worker, decision.events)
        answers = (*_answers(decision), *answers) if decision.replies or answers or decision.state.cancels else ()
        write = Write(self.id, seq, self.shell.operation(), row, None, changed, answers)
        self.shell.submit(write, lambda fate: self._written(decision, fate))

    def _decide(self, message: Message, now: float) -> Decision:
        """The core's decision, with every question answered: one row, however many turns."""
        plan = self.program.plan
        decision = decide(plan, self.state, message, now)
        if not decision.questions:
            return decision
        events, replies = decision.events, decision.replies
        while decision.questions:
            answers = tuple(self._answer(question, decision.state, now) for question in decision.questions)
            decision = decide(plan, decision.state, m.Answers(answers), now)
            events, replies = events + decision.events, replies + decision.replies
        return decision._replace(events=events, replies=replies)

    # What follows from a decision, once it is written

    def _written(self, decision: Decision, fate: Fate) -> None:
        self._unwritten -= 1
        if self.dropped:
            return
        if fate is not Fate.WRITTEN:
            self.shell.lost(self, fate)
            return
        for event in decision.events:
            if type(event) is e.Issued:
                self.begin(event.address, event.phase)
            elif type(event) is e.Adopted:
                self.begin_all(decision.state)
        if decision.replies:
            self.shell.answered(self)
        if self._unwritten:
            return  # a later decision is on its way and says what comes next
        if self._last_written is not None and not self._last_written.done():
            self._last_written.set_result(None)
        if decision.state.status in _AT_REST or (self._head is not None and self._head.owner is None):
            if self._waiters:
                self._tell_waiters(outcome_of(self.program, decision.state))
            self.shell.at_rest(self, decision)
        elif decision.wake is not None:
            self._sleep_until(decision.wake, self.shell.now())

    def begin(self, address: str, phase: Phase) -> None:
        """Start an attempt that was issued."""
        if self.dropped or (address, phase) in self.running or not self.shell.may_start(self, address, phase):
            return
        node = self.program.plan.step(address)
        attempt = Attempt(self, address, phase, node.timeout if phase is Phase.ACTION else node.undo_timeout)
        self.running[address, phase] = attempt
        attempt.task = self.shell.loop.create_task(self._attempt(attempt, node))

    def begin_all(self, durable: State) -> None:
        """Start everything that a state on disk has issued and that does not run yet."""
        for address, phase in in_flight(durable):
            self.begin(address, phase)

    async def _attempt(self, attempt: Attempt, node: StepNode) -> None:
        if self._state().careful:
            await self._attempt_alone(attempt, node)
            return
        message = await self._call(attempt, node)
        fault.point("attempt.after")
        self._ended(attempt, message)

    async def _attempt_alone(self, attempt: Attempt, node: StepNode) -> None:
        """Careful running: nothing beside it, a durable "begun" before it, its outcome durable
        before the next."""
        wanted = (attempt.address, attempt.phase)
        async with self.shell.alone:
            if self.dropped or wanted not in in_flight(self._state()):
                self.running.pop(wanted, None)
                return
            await self.told(m.Begin(*wanted))
            message = await self._call(attempt, node)
            fault.point("attempt.after")
            if self._heard(attempt, message):
                await self.told(message)

    async def _call(self, attempt: Attempt, node: StepNode) -> Message:
        step = self.program.step(attempt.address)
        call, work = step.action, step.step.body.action
        if attempt.phase is Phase.UNDO:
            call, work = step.undo or call, step.step.body.undo or work
        ctx = self.context(attempt)
        if node.work == "tx":
            return await self.shell.transaction(call.transaction or "").run(self.shell, attempt, call, work, ctx)
        return await outcome(attempt, self.shell, call, work, ctx)

    def _ended(self, attempt: Attempt, message: Message) -> None:
        if not self._heard(attempt, message):
            return
        self.tell(message)
        if type(message) is m.Failure and self._state().length > self.shell.settings.history_lines:
            limit = self.shell.settings.history_lines
            self.tell(m.Halt(f"its history has more than {limit} lines since the last act of a person"))

    def _heard(self, attempt: Attempt, message: Message) -> bool:
        """Whether anybody waits for what an attempt has to say."""
        self.shell.attempt_over()
        if attempt.overdue or self.dropped:
            self.shell.late(self, attempt, message)
            return False
        del self.running[attempt.address, attempt.phase]
        return True

    def overdue(self, attempt: Attempt) -> None:
        """The attempt does not stop: it is left to itself, and a person is told."""
        if not self.dropped:
            del self.running[attempt.address, attempt.phase]
            self.tell(m.Overdue(attempt.address, attempt.phase, self.shell.worker))

    def drop(self) -> None:
        """Leave the memory. Attempts in flight are asked to stop; what they say is not heard."""
        self.dropped = True
        if self._timer is not None:
            self._timer.cancel()
        for attempt in self.running.values():
            attempt.stop()
        if self._last_written is not None:
            self._last_written.cancel()
        self._tell_waiters(None)

    def _tell_waiters(self, found: Outcome | None) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(found)

    # Time

    def _sleep_until(self, wake: float | None, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wake is not None and not self.dropped:
            self._timer = self.shell.loop.call_later(max(wake - now, 0.0), self._tick)

    def _tick(self) -> None:
        self._timer = None
        if not self.dropped:
            self.tell(m.Tick())

    # The head

    def _goes_on(self, decision: Decision) -> bool:
        """Whether a step just goes on, and the head stays as it is: what nearly always happens."""
        if self._head is None or self._head.owner is None or not decision.state.running:
            return False
        return all(type(event) in _PLAIN for event in decision.events)

    def _head_of(self, decision: Decision, now: float) -> Head:
        state = decision.state
        old = self._head
        stuck = old.stuck if old is not None else None
        if any(isinstance(event, _TROUBLE) for event in decision.events):
            stuck = first_trouble(state)
        if state.status is Status.PARKED:
            return Head(str(state.status), None, None, stuck, state.parked, self._plan)
        reason = why_back(state) or None
        if state.ended:
            return Head(str(state.status), None, None, stuck, reason, self._plan)
        if self._resting(decision, now):
            return Head(str(state.status), None, decision.wake, stuck, reason, self._plan)
        return Head(str(state.status), self.shell.worker, None, stuck, reason, self._plan)

    def _resting(self, decision: Decision, now: float) -> bool:
        """Whether the saga only waits, and for long enough to leave the memory."""
        if self.running or decision.state.running or any(type(event) is e.Issued for event in decision.events):
            return False
        if decision.wake is not None and decision.wake - now <= self.shell.settings.rest_seconds:
            return False
        return not in_flight(decision.state)

    # What attempts ask

    def context(self, attempt: Attempt) -> Context:
        """What the function may know about its attempt."""
        state = self._state()
        step = state.step(attempt.address)
        track = step.action if attempt.phase is Phase.ACTION or step.undo is None else step.undo
        return Context(
            self.shell.namespace,
            self.key,
            self.id,
            attempt.address,
            attempt.phase,
            track.attempts,
            step.round,
            self.epoch,
            state.deadline,
            attempt,
        )

    def arguments(self, call: Call, ctx: Context) -> dict[str, Any]:
        """What the function is called with. Raises ValueRefused for a stored value that the
        code cannot read any more."""
        return {argument.name: self._argument(argument, ctx) for argument in call.arguments}

    def admit(self, address: str, result: Any) -> bytes:
        """The payload of a result. Raises ValueRefused or LimitExceeded."""
        codec = self.program.step(address).result
        payload, value = codec.admit(result, f"the result of {address}", self.shell.settings.payload_bytes)
        if codec.shared:
            self._values[address] = value
        return payload

    def is_async(self, address: str, phase: Phase) -> bool:
        """Whether the function of an attempt can be cancelled."""
        step = self.program.step(address)
        call = step.action if phase is Phase.ACTION or step.undo is None else step.undo
        return call.is_async

    def rejects(self, address: str) -> tuple[type[Exception], ...]:
        """The exceptions that mean no."""
        return self.program.step(address).step.body.rejects

    def action_status(self, address: str) -> Action:
        """What is known of a step's action."""
        return self._state().step(address).action.status

    def readonly(self, address: str) -> bool:
        """Whether a failed attempt has certainly left nothing."""
        return self.program.step(address).step.body.readonly

    def _argument(self, argument: Argument, ctx: Context) -> Any:
        match argument.kind:
            case Kind.INPUT:
                return self._value("", self._state().input)
            case Kind.RESULT:
                return self._result((ctx.address,) if argument.own else argument.addresses)
            case Kind.CONTEXT:
                return ctx
            case Kind.RESOURCE:
                return self.shell.resources[argument.key]
            case Kind.ITEM:
                return self._item(ctx.address)
            case Kind.ITEMS:
                return list_of(self.program, self._state(), argument.addresses[0])
            case Kind.TX:
                return None  # filled by whoever opens the transaction

    def _result(self, addresses: tuple[str, ...]) -> Any:
        state = self._state()
        for address in addresses:
            payload = state.step(address).result
            if payload is not None:
                return self._value(address, payload)
        return None

    def _item(self, address: str) -> Any:
        group = address[: address.rindex("[")]
        codec = self.program.steps[group].item
        if codec is None:
            raise ValueRefused(f"{address} is an item of a step that takes none")
        return codec.decode(self._state().groups[group].items[index_of(address)])

    def _value(self, address: str, payload: bytes) -> Any:
        """A stored value: one copy for all where it cannot change, else one for each reader."""
        if address in self._values:
            return self._values[address]
        codec = self.program.codec_at(address) if address else self.program.input
        value = codec.decode(payload)
        if codec.shared:
            self._values[address] = value
        return value

    def _state(self) -> State:
        if self.state is None:
            raise RuntimeError("the saga has no state yet")
        return self.state

    # What steers the saga

    def _answer(self, question: Question, state: State, now: float) -> m.Answer:
        """Call the user's function that a question is about; what it raises is an answer too."""
        kind, address = question.kind, question.address
        try:
            if kind == "accept":
                value = self.program.signals[address].decode(question.value)
                return m.Answer(kind, address, flag=not self.program.filters[address](value))
            ask = self.program.asks[address]
            if ask.fn is None:
                given = self._value(ask.of, state.step(ask.of).result or b"null")
            else:
                given = ask.fn(self._value("", state.input))
            if kind == "condition":
                return m.Answer(kind, address, flag=_bool(given))
            if kind == "until":
                return m.Answer(kind, address, instant=_instant(given, now))
            return m.Answer(kind, address, items=self._items(address, given))
        except Exception as error:  # noqa: BLE001  # a user's function; the saga parks with its words
            return m.Answer(kind, address, error=f"{type(error).__name__}: {describe(error)}")

    def _items(self, address: str, given: Any) -> tuple[bytes, ...]:
        codec = self.program.steps[address].item
        items = list(given)
        limit = self.shell.settings.fan_out
        if codec is None or len(items) > limit:
            raise LimitExceeded(f"over= gave {len(items):,} items, the limit is {limit:,} (Settings.fan_out)")
        size = self.shell.settings.payload_bytes
        return tuple(codec.admit(item, f"item {index} of {address}", size)[0] for index, item in enumerate(items))


def _bool(given: Any) -> bool:
    if not isinstance(given, bool):
        raise TypeError(f"the condition gave {type(given).__name__}, True or False is expected")
    return given


def _instant(given: Any, now: float) -> float:
    timestamp = getattr(given, "timestamp", None)
    if timestamp is None:
        return now + seconds(given, "sleep(…)")
    if given.tzinfo is None:
        raise ValueError("the datetime to sleep until has no time zone")
    return float(timestamp())


def _answers(decision: Decision) -> tuple[MailAnswer, ...]:
    """What the mailbox is told: answers, and the cancels that are noted and answered later."""
    noted = [MailAnswer(event.mail, None, "") for event in decision.events if isinstance(event, e.CancelNoted)]
    return (*noted, *(MailAnswer(reply.mail, str(reply.word), reply.detail) for reply in decision.replies))
