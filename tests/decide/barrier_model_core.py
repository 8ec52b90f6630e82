"""The real core as the sender of commands in the barrier's model.

Here stands what the shell around the core has to do, and no more: a reply of another round is not given
to the core; a compensation says what is known; whoever takes a saga over sends again what is in flight.
States are kept by number, without what only counts, and with every due instant set to one moment, so
that there are finitely many. Replies name no attempt, so a `failed` counts for whichever is in flight.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import NamedTuple

from barrier_model import Claim, Command, Reply, Turn

from amends.decide import events as e
from amends.decide import messages as m
from amends.decide.decide import decide
from amends.decide.events import ACTION, UNDO, Phase
from amends.decide.messages import Message
from amends.decide.plan import PivotNode, Place, Plan, SequenceNode, StepNode
from amends.decide.policy import Policy
from amends.decide.state import ENDED, Action, State, Status, StepState, Undo, in_flight
from amends.decide.wire import Word

DUE, FAR, LATER = 1.0, 1000.0, 2.0
SETTLED = (Undo.COMPENSATED, Undo.VOID)


class Kept(NamedTuple):
    """A saga: the number of its state, and what people may still do."""

    number: int
    acts: int


def remote(name: str, place: Place = Place.BEFORE, attempts: int = 2) -> StepNode:
    """A step that a service does."""
    policy = Policy(attempts, first_delay=DUE)
    work, before = f"command:shop/{name}", place is Place.BEFORE
    return StepNode(name, place, work, compensated=before, retry=policy, undo_retry=policy)


LAST = StepNode("go", Place.PIVOT, retry=Policy(1))  # a local step, which may send the saga back


class Core:
    """An orchestrator that asks `decide`."""

    def __init__(
        self, *nodes: StepNode | PivotNode, acts: int = 0, verbs: Iterable[str] = (), cancels: bool = True
    ) -> None:
        self._plan = Plan("model", SequenceNode(nodes))
        self._addresses = [node.address for node in nodes if isinstance(node, StepNode) and node.remote]
        self._acts = acts
        self._verbs = tuple(verbs)
        self._cancels = cancels
        self._states: list[State] = []
        self._numbers: dict[str, int] = {}

    def begin(self) -> Turn:
        return self._told("the saga starts", None, self._acts, m.Start(b"{}"))

    def status(self, saga: Hashable) -> str:
        return str(self._state(saga).status)

    def closed(self, saga: Hashable, step: int) -> int:
        return self._state(saga).step(self._addresses[step]).closed

    def in_flight(self, saga: Hashable) -> tuple[Command, ...]:
        state = self._state(saga)
        sent = (found for found in in_flight(state) if found[0] in self._addresses)
        return tuple(self._command(state, address, phase) for address, phase in sent)

    def claims(self, saga: Hashable) -> tuple[Claim, ...]:
        state = self._state(saga)
        found: list[Claim] = []
        for index, address in enumerate(self._addresses):
            step = state.step(address)
            found += [Claim(index, earlier, False) for earlier in range(1, step.round)]
            claim = self._claim(state, step)
            if claim is not None:
                found.append(Claim(index, step.round, claim))
        return tuple(found)

    def _claim(self, state: State, step: StepState) -> bool | None:
        if state.status is Status.COMPENSATED or step.action.status is Action.REJECTED or step.action.rejected:
            return False
        if step.undo is not None:
            return False if step.undo.status in SETTLED else None
        return True if step.action.status is Action.SUCCEEDED else None

    def told(self, saga: Hashable, reply: Reply) -> Turn:
        state = self._state(saga)
        address = self._addresses[reply.step]
        if state.step(address).round != reply.round:
            return Turn("", saga)
        return self._told("", state, _kept(saga).acts, _message(address, reply))

    def turns(self, saga: Hashable) -> Iterator[Turn]:
        state, acts = self._state(saga), _kept(saga).acts
        if state.status in ENDED:
            return
        for address, phase in self._due(state):
            yield self._told(f"time passes for the {phase} of {address}", _only(state, address, phase), acts, m.Tick())
        for address, phase in in_flight(state):
            if address not in self._addresses:
                yield self._told(f"{address} succeeds", state, acts, m.Done(address, phase))
                yield self._told(f"{address} says no", state, acts, m.No(address, phase, "no"))
        if not acts:
            return
        if self._cancels and state.turned is None:
            yield self._told("somebody cancels", state, acts - 1, m.Cancel("mail", "ann", ""), fair=False)
        for verb in self._verbs:
            for address in self._addresses if verb in ("retry", "skip", "resolve") else [""]:
                result = b"1" if verb == "resolve" else None
                act = m.Operate("mail", verb, address, "bob", "", result)
                yield self._told(f"a person: {verb} {address}", state, acts - 1, act, fair=False)

    def _due(self, state: State) -> Iterator[tuple[str, Phase]]:
        for address, step in state.steps.items():
            if step.action.due is not None:
                yield address, ACTION
            if step.undo is not None and step.undo.due is not None:
                yield address, UNDO

    def _told(self, what: str, state: State | None, acts: int, message: Message, *, fair: bool = True) -> Turn:
        now = LATER if isinstance(message, m.Tick) else 0.0
        decision = decide(self._plan, state, message, now)
        events = list(decision.events)
        while decision.questions:
            given = tuple(m.Answer(asked.kind, asked.address, items=(b"1",)) for asked in decision.questions)
            decision = decide(self._plan, decision.state, m.Answers(given), now)
            events += decision.events
        sent = [event for event in events if isinstance(event, e.Sent)]
        commands = tuple(self._command(decision.state, event.address, event.phase) for event in sent)
        return Turn(what, Kept(self._number(decision.state), acts), commands, fair)

    def _command(self, state: State, address: str, phase: Phase) -> Command:
        step = state.step(address)
        known = phase is UNDO and step.action.status is Action.SUCCEEDED
        return Command(self._addresses.index(address), phase, step.round, known, step.closed)

    def _number(self, state: State) -> int:
        plain = state.copy()
        plain.length = plain.late = 0
        plain.steps = {address: _at_once(step) for address, step in state.steps.items()}
        key = repr(plain)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._states)
            self._states.append(plain)
        return number

    def _state(self, saga: Hashable) -> State:
        return self._states[_kept(saga).number]

    @property
    def states(self) -> int:
        """How many states of the core were met."""
        return len(self._states)


def _kept(saga: Hashable) -> Kept:
    assert isinstance(saga, Kept)
    return saga


def _at_once(step: StepState) -> StepState:
    """The step with its instants set to one moment."""
    action, undo = step.action, step.undo
    if action.due is not None:
        action = action._replace(due=DUE)
    if undo is not None and undo.due is not None:
        undo = undo._replace(due=DUE)
    return step._replace(action=action, undo=undo)


def _only(state: State, address: str, phase: Phase) -> State:
    """The state as it is when time passes for one half of one step alone."""
    alone = state.copy()
    for name, step in state.steps.items():
        action, undo = step.action, step.undo
        if action.due is not None and (name, ACTION) != (address, phase):
            action = action._replace(due=FAR)
        if undo is not None and undo.due is not None and (name, UNDO) != (address, phase):
            undo = undo._replace(due=FAR)
        alone.steps[name] = step._replace(action=action, undo=undo)
    return alone


def _message(address: str, reply: Reply) -> Message:
    """What a reply says to the core."""
    phase = reply.phase
    match reply.word:
        case Word.SUCCEEDED:
            return m.Done(address, phase, b"1")
        case Word.COMPENSATED:
            return m.Done(address, phase)
        case Word.VOID:
            return m.Done(address, phase, void=True)
        case Word.REJECTED:
            return m.No(address, phase, "no", sure=True)
        case Word.FAILED:
            return m.Failure(address, phase, "failed", resolved=True, park=reply.park)
        case word:
            return m.Barred(address, phase, word)
