"""Commands and replies on their way in a run: lost, twice, late, and last of all.

Orchestrated, a command is answered by a reply, and sent again where none comes. Choreographed, who does it decides what
follows, and a message that is lost is sent again by the saga's home.

Guarantees: every send is a point at which a fault may stand.
Must not: judge what arrives; `explore_services.py` does.
"""

from __future__ import annotations

from collections.abc import Iterable

from amends.decide.barrier import Arrival
from amends.decide.events import Phase
from amends.decide.messages import Done, Failure, Message, No
from amends.decide.plan import Place, StepNode
from amends.decide.state import Action
from amends.testing.explore_course import CallOf
from amends.testing.explore_faults import Kind
from amends.testing.explore_run import SLOW_SHARE, Point, Run
from amends.testing.explore_services import Asked, Services

TRAVEL_SECONDS = 0.01
LATE_SECONDS = 1.0  # behind the reply timeout
HOME_SECONDS = 60.0  # after so long the home of a choreographed saga sends again
_GONE = {
    Kind.COMMAND_LOST: "the command is lost",
    Kind.DOWN: "no command arrives",
    Kind.COMMAND_LAST: "the command is held up until all is over",
}
_ORCHESTRATED = (
    Kind.COMMAND_LOST,
    Kind.COMMAND_TWICE,
    Kind.COMMAND_LATE,
    Kind.REPLY_LOST,
    Kind.REPLY_TWICE,
    Kind.REPLY_LATE,
    Kind.CRASH_BEFORE,
)
_CHOREOGRAPHED = (Kind.COMMAND_LOST, Kind.COMMAND_TWICE, Kind.COMMAND_LAST)


class Wire:
    """What connects a saga with its services."""

    def __init__(self, services: Services, *, choreographed: bool) -> None:
        self.services = services
        self.choreographed = choreographed

    def kinds(self, point: Point, node: StepNode) -> Iterable[Kind]:
        """What can go wrong with a send, the simplest first."""
        undo = point.phase is Phase.UNDO
        policy = node.undo_retry if undo else node.retry
        ends = policy.attempts is not None and policy.attempts > 1 and point.number == 1
        if not undo and (node.place is not Place.AFTER or self.services.says_no(node)):
            yield Kind.REJECTS
        yield Kind.FAILS
        if ends:
            yield Kind.DOWN
        if self.choreographed:
            yield from _CHOREOGRAPHED
            return
        yield from _ORCHESTRATED
        if ends and not undo and not node.readonly:
            yield Kind.LOST
            yield Kind.COMMAND_LAST
        if point.siblings:
            yield Kind.SLOW

    def send(self, run: Run, node: StepNode, address: str, phase: Phase, *, siblings: bool) -> None:
        """A command goes out."""
        number, fault = run.fault_at(address, phase, node, siblings=siblings)
        kind = None if fault is None else fault.kind
        if (address, phase) in run.cut:
            return
        asked = self._asked(run, node, address, phase)
        if kind is Kind.CRASH_BEFORE:
            run.crash("the worker dies before the command is sent")
        elif self.choreographed:
            self._pass_on(run, asked, number, kind)
        elif kind is not None and kind in _GONE:
            _note(run, asked, number, f"is asked of {node.service}: {_GONE[kind]}")
            if kind is not Kind.COMMAND_LOST:
                run.cut.add((address, phase))
            if kind is Kind.COMMAND_LAST:
                run.last.append(lambda: self._arrive(run, asked, number, None))
        else:
            if kind is Kind.LOST:
                run.cut.add((address, phase))
            travel = node.timeout + LATE_SECONDS if kind is Kind.COMMAND_LATE else TRAVEL_SECONDS
            run.later(run.now + travel, lambda: self._arrive(run, asked, number, kind))
            if kind is Kind.COMMAND_TWICE:
                run.later(run.now + 2 * travel, lambda: self._arrive(run, asked, number, None))

    def _asked(self, run: Run, node: StepNode, address: str, phase: Phase) -> Asked:
        step = run.standing.step(address)
        known = step.action.status is Action.SUCCEEDED
        arrival = Arrival(phase, step.round, run.now, step.closed, known)
        return Asked(node, address, phase, arrival, step.command or b"null", step.track(phase).attempts)

    def _arrive(self, run: Run, asked: Asked, number: int, kind: Kind | None) -> None:
        """A service takes a command, and replies."""
        message, again = self.services.take(run, asked, rejects=kind is Kind.REJECTS, fails=kind is Kind.FAILS)
        said = f"{_said(message)}{' again' if again else ''}"
        if kind in (Kind.REPLY_LOST, Kind.LOST):
            _note(run, asked, number, f"{said}, and the reply is lost")
            return
        _note(run, asked, number, said)
        timeout = asked.node.timeout
        travel = {Kind.REPLY_LATE: timeout + LATE_SECONDS, Kind.SLOW: timeout * SLOW_SHARE}
        seconds = TRAVEL_SECONDS if kind is None else travel.get(kind, TRAVEL_SECONDS)
        run.push(run.now + seconds, message)
        if kind is Kind.REPLY_TWICE:
            run.push(run.now + 2 * seconds, message)

    def _pass_on(self, run: Run, asked: Asked, number: int, kind: Kind | None) -> None:
        """The baton goes to the service, which does its part and decides."""
        if kind is Kind.COMMAND_LOST:
            _note(
                run, asked, number, f"is asked of {asked.node.service}: the baton is lost, and its home sends it again"
            )
        travel = HOME_SECONDS if kind is Kind.COMMAND_LOST else TRAVEL_SECONDS
        run.later(run.now + travel, lambda: self._hold(run, asked, number, kind))
        if kind is Kind.COMMAND_TWICE:
            run.later(run.now + 2 * travel, lambda: self._hold(run, asked, number, None))
        if kind is Kind.COMMAND_LAST:
            run.last.append(lambda: self._hold(run, asked, number, None))

    def _hold(self, run: Run, asked: Asked, number: int, kind: Kind | None) -> None:
        """One that has been done sends on what it sent then: nothing new follows."""
        fails = kind in (Kind.FAILS, Kind.DOWN)
        message, again = self.services.take(run, asked, rejects=kind is Kind.REJECTS, fails=fails)
        if kind is Kind.DOWN and isinstance(message, Failure):
            message = message._replace(final=True)
        if isinstance(message, Failure):
            message = message._replace(attempt=0)
        _note(run, asked, number, f"{_said(message)}{' already' if again else ''}")
        if not again:
            run.tell(message)


def _note(run: Run, asked: Asked, number: int, word: str) -> None:
    run.story.append((run.now, CallOf(asked.address, asked.phase, number, word)))


def _said(message: Message) -> str:
    match message:
        case Done(void=True):
            return "finds nothing to undo"
        case Done():
            return "is done"
        case No(reason=reason):
            return f"says no: {reason}"
        case Failure(reason=reason):
            return f"fails, and nothing has happened: {reason}"
        case _:
            return f"is kept from it by the barrier: {getattr(message, 'word', '')}"
