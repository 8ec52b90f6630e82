"""A saga in a worker's memory: its state, its attempts in flight, its next wake-up.

It takes messages, has the core decide, hands the decision to the committer, and starts what
was issued once that is written.

Guarantees: nothing is called before the decision that issued it is durable; a saga that has
nothing to do for a while is written as unowned in the same commit, and leaves the memory.
Must not: decide, or know how the store writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from amends import fault
from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.draft import Decision
from amends.decide.events import Phase
from amends.decide.mail import changed_by
from amends.decide.messages import Message
from amends.decide.state import State, Status, StepState, in_flight
from amends.define.context import Context
from amends.define.program import Program
from amends.run import journal
from amends.run.alarm import Alarm
from amends.run.attempt import Attempt
from amends.run.audience import Audience
from amends.run.briefing import briefed
from amends.run.careful import alone, let_others
from amends.run.deciding import decided, too_long
from amends.run.heads import goes_on, head_after, rests
from amends.run.observing import Eye, attempted, eye_of
from amends.run.outcomes import Outcome
from amends.run.sealing import kept
from amends.run.shell import Shell
from amends.run.supply import Supply
from amends.store.base import Fate, Head, MailAnswer, NewSaga, Write

_AT_REST = (Status.COMPLETED, Status.COMPENSATED, Status.PARKED)


class Live:
    """One saga in memory."""

    __slots__ = (
        "_alarm",
        "_audience",
        "_first",
        "_head",
        "_moves_to",
        "_plan",
        "_supply",
        "changed",
        "comes_back",
        "dropped",
        "epoch",
        "eye",
        "id",
        "key",
        "mails",
        "program",
        "running",
        "seq",
        "shell",
        "state",
        "unwritten",
    )

    def __init__(self, shell: Shell, program: Program, internal_id: bytes, key: str, epoch: int) -> None:
        self.shell: Shell = shell
        self.program: Program = program
        self.id: bytes = internal_id
        self.key: str = key
        self.epoch: int = epoch
        self.seq: int = 0  # how many rows there are: the saga's version
        self.changed: int = 0  # the version with which it changed last
        self.state: State | None = None
        self.running: dict[tuple[str, Phase], Attempt] = {}
        self.mails: set[str] = set()  # those it was told
        self.dropped: bool = False
        self.comes_back: bool = False  # it is to be looked for again, once it has left the memory
        self._head: Head | None = None
        self._first: Decision | None = None
        self._audience = Audience()
        self._plan: int | None = None  # where it moved to another
        self._moves_to = ""
        self.unwritten: int = 0  # decisions that are not on disk yet
        self._alarm = Alarm(shell.loop, self.tick)
        self._supply = Supply(program, shell.resources, shell.settings)
        self.eye: Eye | None = eye_of(self)

    # Messages

    def prepare(self, payload: bytes, value: Any, new: NewSaga) -> Write:
        """The first row of a saga that starts here. Nothing is written yet. `value`: the input,
        as it will be read back from `payload`."""
        now = self.shell.now()
        self._supply.keep_input(payload, value)
        self._first = decision = self._decide(m.Start(payload), now)
        self.state = decision.state
        self._head = self._head_of(decision, now)
        row = journal.encode(now, self.shell.worker, kept(self.shell.seals, self.id, decision.events))
        return Write(self.id, 0, self.shell.operation(), row, new, self._head)

    def start(self, write: Write, told: asyncio.Future[Fate]) -> None:
        """Have the first row written, and go on from there."""
        decision, self._first = self._first, None
        self.seq = self.changed = 1
        self.unwritten = 1

        def written(fate: Fate) -> None:
            if not told.done():
                told.set_result(fate)
            if fate is not Fate.WRITTEN:
                self.shell.forget(self)
            elif decision is not None:
                self._written(decision, fate)

        self.shell.submit(write, written)

    async def wait(self) -> Outcome | None:
        """The outcome, once the saga is at rest; None where it leaves the memory before, or has left it."""
        return None if self.dropped else await self._audience.wait(self.shell.loop)

    def resume(self, state: State, rows: Sequence[bytes], head: Head) -> None:
        """Take over what was read from the store."""
        self.state = state
        self.seq, self.changed = len(rows), journal.changed_in(rows)
        self._head = head
        if self.eye is not None:
            self.eye.resumed(state, self.seq)

    def claim(self) -> None:
        """What was issued and never started starts now: whoever let go of the saga had nothing in flight."""
        self.begin_all(self._state())

    def adopt(self, gone: int, not_died: frozenset[int]) -> None:
        """What was in flight on disk went down with its worker; but commands went out, or go out now."""
        for address, phase in in_flight(self._state()):
            if self.program.plan.step(address).remote:
                self._be_patient(self.shell.now())
                self.begin(address, phase)
        self.tell(m.Adopt(gone, not_died, self._moves_to))

    def move(self, plan: int, fingerprint: str, *, now: bool) -> None:
        """Go over to a changed plan that fits; if not now, with the adoption that follows."""
        self._plan, self._moves_to = plan, fingerprint
        if now:
            self.tell(m.Move(fingerprint))

    def misses(self) -> bool:
        """Whether a commit is under way that lets it go. What comes now is for whoever claims it behind that; it may be
        this worker again."""
        misses = self.unwritten > 0 and self._head is not None and self._head.owner is None
        self.comes_back |= misses
        return misses

    def tick(self) -> None:
        """Look at the clock. Where the broker is away, replies to what cannot go out are not overdue."""
        if not self.misses():
            self.tell(m.Postpone() if self.program.plan.remote and self.shell.away else m.Tick())

    def tell(
        self, message: Message, answers: tuple[MailAnswer, ...] = (), told: Callable[[Fate], None] | None = None
    ) -> bool:
        """Let a message have its effect; False if it has none. `answers`: to mails that the core
        does not answer. `told`: is told the fate of the decision, if there is one."""
        now = self.shell.now()
        decision = self._decide(message, now)
        self.state = decision.state
        if decision.events or decision.replies or answers:
            self._write(decision, now, answers, told)
            if (halt := too_long(decision, self.shell.settings.history_lines)) is not None:
                self.tell(halt)
            return True
        if self.unwritten == 0 and self._rests(decision, now):
            self.shell.let_go(self, decision.wake)
        else:
            self._alarm.set(decision.wake, now)
        return False

    def _write(
        self, decision: Decision, now: float, answers: tuple[MailAnswer, ...], told: Callable[[Fate], None] | None
    ) -> None:
        seq = self.seq
        self.seq = seq + 1
        self.unwritten += 1
        moved: Head | None = None
        if changed_by(decision.events):
            self.changed = self.seq
        if not goes_on(self._head, decision):
            head = self._head_of(decision, now)
            if head != self._head:
                moved = self._head = head
        row = journal.encode(now, self.shell.worker, kept(self.shell.seals, self.id, decision.events))
        answers = (*_answers(decision), *answers) if decision.replies or answers or decision.state.cancels else ()
        write = Write(self.id, seq, self.shell.operation(), row, None, moved, answers)

        def written(fate: Fate) -> None:
            self._written(decision, fate)
            if told is not None:
                told(fate)

        self.shell.submit(write, written)

    def _decide(self, message: Message, now: float) -> Decision:
        return decided(self.program.plan, self.state, message, now, self._supply)

    # What follows from a decision, once it is written

    def _written(self, decision: Decision, fate: Fate) -> None:
        self.unwritten -= 1
        if self.dropped:
            return
        if fate is not Fate.WRITTEN:
            self.shell.lost(self, fate)
            return
        if self.eye is not None:
            self.eye.written(decision)
        for event in decision.events:
            if type(event) is e.Issued or type(event) is e.Sent:
                self.begin(event.address, event.phase)
            elif type(event) is e.Adopted:
                self.begin_all(decision.state)
        if decision.replies:
            self.shell.answered(self)
        if self.unwritten:
            return  # a later decision is on its way and says what comes next
        if decision.state.status in _AT_REST or (self._head is not None and self._head.owner is None):
            if self._audience.waiters:
                self._audience.tell_outcome(self.program, decision.state)
            self.shell.at_rest(self, decision)
        elif decision.wake is not None:
            now = self.shell.now()
            if self.program.plan.remote:
                self._be_patient(now)
            self._alarm.set(decision.wake, now)

    def begin(self, address: str, phase: Phase) -> None:
        """Start an attempt that was issued."""
        node = self.program.plan.step(address)
        if node.remote:
            if not self.dropped:
                self.shell.send(self, address, phase)
            return
        began = self.shell.now() if node.work == "tx" else inf  # first: whoever is frozen in between began long ago
        if self.dropped or (address, phase) in self.running or not self.shell.may_start(self, address, phase):
            return
        self.running[address, phase] = attempt = Attempt(self, self.program.step(address), node, address, phase)
        attempt.began = began
        attempt.task = self.shell.loop.create_task(self._attempt(attempt), context=self.shell.context.copy())

    def begin_all(self, durable: State) -> None:
        """Start everything that a state on disk has issued and that does not run yet."""
        for address, phase in in_flight(durable):
            if not self.program.plan.step(address).remote:  # those went out when they were issued
                self.begin(address, phase)

    async def _attempt(self, attempt: Attempt) -> None:
        try:
            if self._state().careful:
                await alone(self, attempt)
                return
            message = await attempted(self, attempt)
            fault.point("attempt.after")
            self._ended(attempt, message)
        except Exception as error:  # noqa: BLE001  # whatever it is, it must not be silent
            self.shell.broke(self, error)

    def _ended(self, attempt: Attempt, message: Message) -> None:
        if self.heard(attempt, message):
            self.tell(message)

    def heard(self, attempt: Attempt, message: Message) -> bool:
        """Whether anybody waits for what an attempt has to say."""
        self.shell.attempt_over()
        if attempt.overdue or self.dropped:
            self.shell.late(self, attempt, message)
            return False
        del self.running[attempt.address, attempt.phase]
        return True

    def overdue(self, attempt: Attempt) -> None:
        """The attempt does not stop: it is left to itself, and a person is told."""
        let_others(self.shell, attempt)
        if not self.dropped:
            del self.running[attempt.address, attempt.phase]
            self.shell.attempt_over()
            self.tell(m.Overdue(attempt.address, attempt.phase, self.shell.worker))

    def drop(self) -> None:
        """Leave the memory. Attempts in flight are asked to stop; what they say is not heard."""
        self.dropped = True
        self._alarm.cancel()
        for attempt in self.running.values():
            attempt.stop()
        self._audience.tell(None)

    # Time

    def _be_patient(self, now: float) -> None:
        """Wait in memory for a while: most replies come soon, and are taken here at no cost."""
        self._alarm.patience = now + self.shell.settings.rest_seconds

    def _head_of(self, decision: Decision, now: float) -> Head:
        at_rest = not decision.state.ended and self._rests(decision, now)  # the head of what has ended is clear
        name = self.program.plan.name
        return head_after(name, decision, self._head, self.shell.worker, at_rest=at_rest, plan=self._plan)

    def _rests(self, decision: Decision, now: float) -> bool:
        if self.running:
            return False
        latest = now + self.shell.settings.rest_seconds
        return rests(self.program.plan, decision, latest, patient=now >= self._alarm.patience)

    # What attempts ask

    def context(self, attempt: Attempt) -> Context:
        """What the function may know about its attempt."""
        return briefed(self, attempt)

    def arguments(self, attempt: Attempt) -> dict[str, Any]:
        """What the function is called with. Raises ValueRefused for a stored value that the code cannot read."""
        return self._supply.arguments(attempt, self._state())

    def admit(self, address: str, result: Any) -> bytes:
        """The payload of a result. Raises ValueRefused or LimitExceeded."""
        return self._supply.admit(address, result)

    @property
    def deadline(self) -> float | None:
        """The saga's, an instant."""
        return self._state().deadline

    def known(self, address: str) -> StepState:
        """What is known of a step."""
        return self._state().step(address)

    def _state(self) -> State:
        if self.state is None:
            raise RuntimeError("the saga has no state yet")
        return self.state


def _answers(decision: Decision) -> tuple[MailAnswer, ...]:
    """What the mailbox is told: answers, and the cancels that are noted and answered later."""
    noted = [MailAnswer(event.mail, None, "") for event in decision.events if isinstance(event, e.CancelNoted)]
    return (*noted, *(MailAnswer(reply.mail, str(reply.word), reply.detail) for reply in decision.replies))
