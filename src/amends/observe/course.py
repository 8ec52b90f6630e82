"""The course of a saga, told from the lines of its history once they are on disk.

Guarantees: the same lines give the same events, in an orchestrator and in the service that holds a choreographed
saga. Local attempts are told by whoever makes them; only those that went down with their worker are told here.
Must not: know who is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

from amends.decide import events as e
from amends.decide.events import Phase
from amends.decide.plan import Plan, StepNode, WaitNode
from amends.decide.state import State
from amends.observe import events as o
from amends.observe.events import About, Event

CAUSE_MOST = 40  # a cause is a word
Events = tuple[Event, ...]


class Sent(NamedTuple):
    """A command that is on its way."""

    at: float
    attempt: int
    round: int


class Course:
    """Of one saga. sent: the commands whose reply is awaited, as far as that was seen here."""

    __slots__ = ("_lines", "_plan", "about", "sent")

    def __init__(self, about: About, plan: Plan) -> None:
        self.about: About = about
        self._plan = plan
        self._lines: Sequence[e.Event] = ()
        self.sent: dict[tuple[str, Phase], Sent] = {}

    def told(self, lines: Sequence[e.Event], state: State, at: float) -> Sequence[Event]:
        """What is to be told of lines that are on disk now. state: after them."""
        found: list[Event] | None = None  # of most decisions nothing: this is on every saga's way
        self._lines = lines
        for line in lines:
            tell = _TOLD.get(type(line))
            if tell is not None:
                events = tell(self, line, state, at)
                if events:
                    found = [*events] if found is None else [*found, *events]
        return found or ()

    # What the lines of the whole saga say

    def _started(self, line: e.Started, state: State, at: float) -> Events:
        return (o.SagaStarted(self.about, at),)

    def _turned(self, line: e.TurnedBack, state: State, at: float) -> Events:
        return (o.SagaTurnedBack(self.about, at, line.cause[:CAUSE_MOST], line.address),)

    def _parked(self, line: e.Parked, state: State, at: float) -> Events:
        return (o.SagaParked(self.about, at),)

    def _resumed(self, line: e.Resumed | e.ResumedBack, state: State, at: float) -> Events:
        return (o.SagaResumed(self.about, at, type(line) is e.ResumedBack),)

    def _ended(self, line: e.Completed | e.Compensated, state: State, at: float) -> Events:
        end = "completed" if type(line) is e.Completed else "compensated"
        return (o.SagaEnded(self.about, at, end, max(at - self.about.made_at, 0.0)),)

    def _adopted(self, line: e.Adopted, state: State, at: float) -> Events:
        return (o.SagaAdopted(self.about, at, line.worker, line.deaths),)

    def _moved(self, line: e.Moved, state: State, at: float) -> Events:
        return (o.SagaMoved(self.about, at, line.fingerprint),)

    # What those of people say

    def _operated(self, line: e.Operated, state: State, at: float) -> Events:
        return (o.ActTaken(self.about, at, line.verb, line.address),)

    def _refused(self, line: e.Refused, state: State, at: float) -> Events:
        return (o.AskRefused(self.about, at, line.verb),)

    def _kept(self, line: e.Kept, state: State, at: float) -> Events:
        return (o.SignalTaken(self.about, at, line.address, True),)

    # What those of steps say

    def _succeeded(self, line: e.Succeeded, state: State, at: float) -> Events:
        node = self._plan.node(line.address)
        if type(node) is WaitNode:
            return (o.SignalTaken(self.about, at, line.address, False),)
        if isinstance(node, StepNode) and node.remote:
            return self._over(line.address, Phase.ACTION, "succeeded", state, at)
        return ()

    def _rejected(self, line: e.Rejected, state: State, at: float) -> Events:
        return self._reply(line.address, Phase.ACTION, "rejected", state, at)

    def _undone(self, line: e.Undone | e.Voided, state: State, at: float) -> Events:
        word = "succeeded" if type(line) is e.Undone else "void"
        return self._reply(line.address, Phase.UNDO, word, state, at)

    def _unknown(self, line: e.Unknown, state: State, at: float) -> Events:
        if line.lost:
            return self._lost(line, line.address, Phase.ACTION, "unresolved", state, at)
        return self._reply(line.address, Phase.ACTION, "unresolved", state, at)

    def _failed(self, line: e.Failed, state: State, at: float) -> Events:
        address, phase, _, resolved, due, lost = line
        word = "failed" if resolved else "unresolved"
        attempt = self._attempt(line, state, address, phase)
        ended = self._reply(address, phase, word, state, at)
        if lost:
            ended = self._lost(line, address, phase, word, state, at)
        return (*ended, o.RetryScheduled(self.about, at, address, phase, attempt, max(due - at, 0.0)))

    def _stuck(self, line: e.Stuck, state: State, at: float) -> Events:
        word = "rejected" if line.rejected else "failed" if line.resolved else "unresolved"
        ended = self._reply(line.address, line.phase, word, state, at)
        if line.lost:
            ended = self._lost(line, line.address, line.phase, word, state, at)
        return (*ended, o.StepStuck(self.about, at, line.address, line.phase))

    def _late(self, line: e.Late, state: State, at: float) -> Events:
        return (o.AnswerLate(self.about, at, line.address, line.phase),)

    def _lost(self, line: e.Event, address: str, phase: Phase, outcome: str, state: State, at: float) -> Events:
        """The end of a local attempt that went down with its worker."""
        numbers = state.step(address).round, self._attempt(line, state, address, phase)
        undoes = _undoes(state, address, phase)
        return (o.AttemptEnded(self.about, at, address, phase, *numbers, None, outcome, lost=True, undoes=undoes),)

    def _reply(self, address: str, phase: Phase, outcome: str, state: State, at: float) -> Events:
        node = self._plan.node(address)
        if isinstance(node, StepNode) and node.remote:
            return self._over(address, phase, outcome, state, at)
        return ()

    def _over(self, address: str, phase: Phase, outcome: str, state: State, at: float) -> Events:
        """The end of a remote attempt, as seen from where its command was sent. One that is given up has ended then: an
        answer that comes in the pause before the next is no attempt's. What never went out does not end."""
        sent = self.sent.pop((address, phase), None)
        if sent is None:
            return ()
        numbers, command = (sent.round, sent.attempt), self._plan.step(address).command
        ended = o.AttemptEnded(self.about, at, address, phase, *numbers, max(at - sent.at, 0.0), outcome)
        return (ended._replace(command=command, undoes=_undoes(state, address, phase)),)

    def _attempt(self, line: e.Event, state: State, address: str, phase: Phase) -> int:
        """Which attempt a line is the end of. The state may know of later ones, that begin in the same decision."""
        later = 0
        for other in reversed(self._lines):
            if other is line:
                break
            later += isinstance(other, (e.Issued, e.Sent)) and (other.address, other.phase) == (address, phase)
        return state.step(address).track(phase).attempts - later


def _undoes(state: State, address: str, phase: Phase) -> int:
    return state.step(address).action.attempts if phase is Phase.UNDO else 0


_Teller = Callable[[Course, e.Event, State, float], Events]
_TOLD: dict[type[e.Event], _Teller] = cast(
    "dict[type[e.Event], _Teller]",
    {
        e.Started: Course._started,
        e.TurnedBack: Course._turned,
        e.Parked: Course._parked,
        e.Resumed: Course._resumed,
        e.ResumedBack: Course._resumed,
        e.Completed: Course._ended,
        e.Compensated: Course._ended,
        e.Adopted: Course._adopted,
        e.Moved: Course._moved,
        e.Operated: Course._operated,
        e.Refused: Course._refused,
        e.Kept: Course._kept,
        e.Succeeded: Course._succeeded,
        e.Rejected: Course._rejected,
        e.Undone: Course._undone,
        e.Voided: Course._undone,
        e.Unknown: Course._unknown,
        e.Failed: Course._failed,
        e.Stuck: Course._stuck,
        e.Late: Course._late,
    },
)
