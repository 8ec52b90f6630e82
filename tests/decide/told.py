"""A saga told step by step, for tests that read given, when, then.

A `Story` plays the shell: it feeds messages to `decide`, answers its questions, keeps the
history and the clock, and checks at every move what holds for every decision.

Guarantees: each move is decided twice and must come out equal; the state handed in stays as it
was; the history, replayed and evolved event by event, gives the decision's state.
Must not: hold a rule of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from amends.decide import compensate
from amends.decide import messages as m
from amends.decide.decide import decide
from amends.decide.draft import Decision, Word
from amends.decide.events import Event, Phase
from amends.decide.evolve import evolve, replay
from amends.decide.messages import Message
from amends.decide.plan import EachNode, Node, ParallelNode, PivotNode, Place, Plan, SequenceNode, StepNode
from amends.decide.policy import Policy
from amends.decide.state import Action, State, Undo, in_flight

ACTION, UNDO = Phase.ACTION, Phase.UNDO
TWICE = Policy(attempts=2, first_delay=1.0)
ONCE = Policy(attempts=1)
ENDLESS = Policy(attempts=None, first_delay=1.0)

COMMAND = b'{"sku":"kettle"}'


class Refusal(Exception):
    """A request that says no before anything is sent."""


Answerable = bool | float | Sequence[bytes] | Exception


def step(name: str, *, attempts: int | None = 2, undo_attempts: int = 2, **rest: Any) -> StepNode:
    """A compensatable step."""
    retry, undo_retry = Policy(attempts, 1.0), Policy(undo_attempts, 1.0)
    return StepNode(name, compensated=True, retry=retry, undo_retry=undo_retry, **rest)


def remote(name: str, *, attempts: int | None = 2, undo_attempts: int = 2, **rest: Any) -> StepNode:
    """A compensatable step that a service does, with 10 s for its reply."""
    return step(
        name,
        attempts=attempts,
        undo_attempts=undo_attempts,
        work=f"command:shop/{name}",
        timeout=10.0,
        undo_timeout=10.0,
        **rest,
    )


def look(name: str, **rest: Any) -> StepNode:
    """A readonly step."""
    return StepNode(name, readonly=True, retry=TWICE, **rest)


def go(name: str = "go", *, attempts: int | None = 2, **rest: Any) -> StepNode:
    """A step that is the pivot."""
    return StepNode(name, Place.PIVOT, retry=Policy(attempts, 1.0), **rest)


def after(name: str, **rest: Any) -> StepNode:
    """A retriable step, behind the pivot."""
    return StepNode(name, Place.AFTER, retry=ENDLESS, **rest)


def sequence(*nodes: Node) -> SequenceNode:
    """One after the other."""
    return SequenceNode(nodes)


def parallel(*nodes: Node) -> ParallelNode:
    """Together."""
    return ParallelNode(nodes)


def each(node: StepNode, *, limit: int = 20, collect: bool = False) -> EachNode:
    """A `for_each` over what the story answers for its name."""
    return EachNode(node.address, node, "function items", limit, collect, node.place)


def plan(*nodes: Node, deadline: float | None = None, output: str | None = None) -> Plan:
    """A saga of these nodes."""
    return Plan("told", SequenceNode(nodes), deadline=deadline, output=output)


PIVOT = PivotNode()


class Story:
    """One saga, and all that has been said to it."""

    def __init__(self, plan: Plan, *, hold: bool = False, answers: Mapping[str, Answerable] | None = None) -> None:
        self.plan = plan
        self.now = 0.0
        self.history: list[Event] = []
        self.answers = dict(answers or {})
        self.asked: list[str] = []
        self.replies: dict[str, tuple[Word, str]] = {}
        self.wake: float | None = None
        self._state: State | None = None
        self._mails = 0
        self.tell(m.Start(b"{}", hold))

    # What can be said

    def tell(self, message: Message) -> list[Event]:
        """Say something, answer what is asked back; the events that follow."""
        events: list[Event] = []
        decision = self._decided(message)
        while True:
            events += self._take(decision)
            if not decision.questions:
                return events
            answers = tuple(self._answer(question.kind, question.address) for question in decision.questions)
            decision = self._decided(m.Answers(answers))

    def tick(self, at: float | None = None) -> list[Event]:
        """Let time come: an instant, or the one that the saga waits for."""
        self.now = max(self.now, at if at is not None else self.due)
        return self.tell(m.Tick())

    def succeeds(self, *addresses: str, result: bytes = b'"done"') -> None:
        """Actions return."""
        for address in addresses:
            self.tell(m.Done(address, ACTION, result))

    def rejects(self, address: str, reason: str = "no", *, sure: bool = False) -> None:
        """An action says no."""
        self.tell(m.No(address, ACTION, reason, sure))

    def fails(self, address: str, reason: str = "timeout", phase: Phase = ACTION, **rest: Any) -> None:
        """An attempt ends without an answer."""
        self.tell(m.Failure(address, phase, reason, **rest))

    def undone(self, *addresses: str) -> None:
        """Compensations return."""
        for address in addresses:
            self.tell(m.Done(address, UNDO))

    def undo_rejects(self, address: str, reason: str = "cannot") -> None:
        """A compensation says no."""
        self.tell(m.No(address, UNDO, reason))

    def hangs(self, address: str, phase: Phase = ACTION, *, worker: int = 1) -> None:
        """An attempt does not stop when asked."""
        self.tell(m.Overdue(address, phase, worker))

    def adopted_from(self, worker: int, *survived: int) -> list[Event]:
        """The worker is gone, and another takes over."""
        return self.tell(m.Adopt(worker, frozenset(survived)))

    def cancel(self) -> Word | None:
        """Somebody wants it undone; the answer, if there is one yet."""
        mail = self.mail()
        self.tell(m.Cancel(mail, "ann", "changed her mind"))
        return self.word(mail)

    def signal(self, address: str, value: bytes = b'"yes"', *, flaw: str = "") -> Word | None:
        """A value for a wait; the answer."""
        mail = self.mail()
        self.tell(m.Signal(mail, address, value, flaw))
        return self.word(mail)

    def operate(
        self,
        verb: str,
        address: str = "",
        *,
        result: bytes | None = None,
        live: tuple[int, ...] = (),
        flaw: str = "",
        **rest: Any,
    ) -> Word | None:
        """A person's act; the answer."""
        mail = self.mail()
        self.tell(m.Operate(mail, verb, address, "bob", "he knows", result, frozenset(live), flaw, **rest))
        return self.word(mail)

    def assign(self, person: str, *, looked: m.Looked | None = None) -> Word | None:
        """Somebody is to see to it; the answer."""
        mail = self.mail()
        self.tell(m.Assign(mail, person, "bob", "he knows", looked))
        return self.word(mail)

    def note(self, text: str, *, looked: m.Looked | None = None) -> Word | None:
        """Somebody leaves a note; the answer."""
        mail = self.mail()
        self.tell(m.Note(mail, text, "bob", looked))
        return self.word(mail)

    # What there is to see

    @property
    def state(self) -> State:
        """The state."""
        assert self._state is not None
        return self._state

    @property
    def status(self) -> str:
        """The saga's status; a plain word, so that a type checker lets it change."""
        return self.state.status

    @property
    def due(self) -> float:
        """The instant the saga waits for."""
        assert self.wake is not None, "the saga waits for no instant"
        return self.wake

    @property
    def doing(self) -> set[str]:
        """Actions in flight."""
        return {address for address, phase in in_flight(self.state) if phase is ACTION}

    @property
    def undoing(self) -> set[str]:
        """Compensations in flight."""
        return {address for address, phase in in_flight(self.state) if phase is UNDO}

    @property
    def unsettled(self) -> list[str]:
        """The steps that a person must know about."""
        return [entry.step for entry in compensate.unsettled(self.plan, self.state)]

    @property
    def said(self) -> str:
        """What the sender of the last mail was told in words."""
        return self.replies[f"mail-{self._mails}"][1]

    def action(self, address: str) -> Action:
        """A step's action status."""
        return Action(self.state.step(address).action.status)

    def undo(self, address: str) -> Undo | None:
        """A step's undo status."""
        undo = self.state.step(address).undo
        return None if undo is None else Undo(undo.status)

    def happened(self, kind: type[Any]) -> list[Any]:
        """The events of one kind in the history."""
        return [event for event in self.history if isinstance(event, kind)]

    def word(self, mail: str) -> Word | None:
        """What a sender was told."""
        return self.replies[mail][0] if mail in self.replies else None

    def mail(self) -> str:
        """The name of a new mail."""
        self._mails += 1
        return f"mail-{self._mails}"

    # The shell

    def _decided(self, message: Message) -> Decision:
        before = self._state
        frozen = repr(before)
        decision = decide(self.plan, before, message, self.now)
        assert repr(before) == frozen, "decide changed the state it was given"
        assert decide(self.plan, before, message, self.now) == decision, "decide is not a function"
        return decision

    def _take(self, decision: Decision) -> list[Event]:
        evolved = self._state
        for event in decision.events:
            evolved = evolve(evolved, event)
        assert evolved == decision.state, "the events do not give the state"
        self.history += decision.events
        assert replay(self.history) == decision.state, "the history does not give the state"
        for mail, word, detail in decision.replies:
            assert mail not in self.replies, "a sender was told twice"
            self.replies[mail] = (word, detail)
        self._state, self.wake = decision.state, decision.wake
        return list(decision.events)

    def _answer(self, kind: str, address: str) -> m.Answer:
        self.asked.append(f"{kind} {address}")
        given = self.answers.get(address, [COMMAND]) if kind == "request" else self.answers[address]
        if isinstance(given, Exception):
            return m.Answer(kind, address, flag=isinstance(given, Refusal), error=str(given))
        if isinstance(given, bool):
            return m.Answer(kind, address, flag=given)
        if isinstance(given, (int, float)):
            return m.Answer(kind, address, instant=given)
        return m.Answer(kind, address, items=tuple(given))


def items(count: int) -> list[bytes]:
    """Encoded items of a `for_each`."""
    return [str(index).encode() for index in range(count)]
