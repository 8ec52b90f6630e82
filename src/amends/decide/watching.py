"""What a watcher makes of what it hears of choreographed sagas: what is new, who is to act, and when silence begins.

Guarantees: rows are folded in their order, each once, whatever comes twice, late or not at all; a saga that rests is
never silent.
Must not: decide anything for a saga, or know a clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from amends.decide.choreography import next_hop
from amends.decide.events import ACTION, UNDO, Event, Phase
from amends.decide.plan import Plan, SequenceNode, StepNode
from amends.decide.state import Action, State, Status, Undo

R = TypeVar("R")
GRACE_SECONDS = 5.0  # beyond the time that a service has: messages take a while, and clocks differ
STRANGE_SECONDS = 60.0  # that a service has whose plan is not known
FLOW = "flow-"  # how the fingerprint of a flow begins
_MARK = "watched"
_STRANGE = "strange"
_NOBODY = "?"  # the service of a step whose plan is not known


class Watched(NamedTuple):
    """How a plan is registered that is watched, and run by nobody. home: the service that starts its sagas. known:
    whether what is stored is the plan, or only stands for it."""

    home: str
    fingerprint: str
    known: bool = True

    @property
    def is_flow(self) -> bool:
        """Whether it is no saga's: the events of services, held against what is expected of them."""
        return self.fingerprint.startswith(FLOW)

    @property
    def text(self) -> str:
        """In place of the fingerprint, so that no worker ever takes it for a plan that it runs."""
        kind = _MARK if self.known else _STRANGE
        return f"{kind}:{self.home}:{self.fingerprint}"


def watched_of(text: str) -> Watched | None:
    """What the fingerprint of a stored plan says; None of one that is run."""
    kind, _, rest = text.partition(":")
    home, _, fingerprint = rest.partition(":")
    return Watched(home, fingerprint, kind == _MARK) if kind in (_MARK, _STRANGE) else None


class Holder(NamedTuple):
    """Who is to act next. again: when another attempt is due, where it waits for that. seconds: how long it may take;
    None where nobody knows."""

    address: str
    phase: Phase
    service: str
    command: str
    again: float | None
    seconds: float | None


def fold(known: int, histories: Iterable[Sequence[R]]) -> Sequence[R]:
    """The rows that follow upon those that are known, of several tellings of one history. Each begins at the start,
    so nothing is ever missing in between."""
    return max(histories, key=len, default=())[known:]


def holder(plan: Plan, state: State) -> Holder | None:
    """Who holds a saga that moves; None of one that rests."""
    if state.ended or state.status is Status.PARKED:
        return None
    hop = next_hop(state)
    again = None
    if hop is None:
        hop, again = _waiting(state)
    if hop is None:
        return None
    address, phase = hop
    node = plan.node(address)
    if not isinstance(node, StepNode) or node.service == _NOBODY:
        return Holder(address, phase, "", "", again, None)
    seconds = node.timeout if phase is ACTION else node.undo_timeout
    return Holder(address, phase, node.service, node.command, again, seconds)


def _waiting(state: State) -> tuple[tuple[str, Phase] | None, float | None]:
    """The half of a step that waits for another attempt, and until when."""
    for address, step in state.steps.items():
        if step.undo is not None and step.undo.status is Undo.WAITING:
            return (address, UNDO), step.undo.due
        if step.action.status is Action.WAITING:
            return (address, ACTION), step.action.due
    return None, None


def silent_from(plan: Plan, state: State, at: float, patience: float | None) -> float | None:
    """When a saga falls silent of which nothing more is heard; None of one that rests. at: when its last row was
    written. patience: how long a service may take, whatever the plan says."""
    if state.ended or state.status is Status.PARKED:
        return None
    held = holder(plan, state)
    seconds, begins = patience, at
    if held is not None:
        begins = at if held.again is None else max(at, held.again)
        seconds = held.seconds if patience is None else patience
    return begins + (STRANGE_SECONDS if seconds is None else seconds) + GRACE_SECONDS


def sketch(name: str, events: Iterable[Event]) -> Plan:
    """What a history tells of a plan that is not known: the steps that it names, in that order."""
    addresses = filter(None, dict.fromkeys(getattr(event, "address", "") for event in events))
    nodes = [StepNode(address, work=f"command:{_NOBODY}/{address}", compensated=True) for address in addresses]
    return Plan(name, SequenceNode(tuple(nodes)))
