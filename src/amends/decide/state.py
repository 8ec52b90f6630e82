"""The state of a saga, and the one table of its transitions.

Guarantees: a state is a value, changed by `evolve.py` alone; what the tables below do not
have cannot happen. The diagrams in the docs are drawn from them.
Must not: decide. What should happen next is in `forward.py` and `compensate.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar, Generic, NamedTuple, TypeVar

from amends.decide import events as e
from amends.decide.events import ACTION, UNDO, Event, Phase
from amends.decide.members import direct


@direct
class Status(StrEnum):
    """Of a saga."""

    RUNNING = "running"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    PARKED = "parked"


@direct
class Action(StrEnum):
    """Of a step's action; of a sleep, a wait, a condition and a list of items too."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    STUCK = "stuck"
    SKIPPED = "skipped"
    CLOSED = "closed"


@direct
class Undo(StrEnum):
    """Of a step's compensation, once the saga goes back."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPENSATED = "compensated"
    VOID = "void"
    STUCK = "stuck"
    CLOSED = "closed"


SAGA_TABLE: Mapping[type[Event], Mapping[Status, Status]] = {
    e.TurnedBack: {Status.RUNNING: Status.COMPENSATING, Status.PARKED: Status.COMPENSATING},
    e.Parked: {Status.RUNNING: Status.PARKED, Status.COMPENSATING: Status.PARKED},
    e.Resumed: {Status.PARKED: Status.RUNNING},
    e.ResumedBack: {Status.PARKED: Status.COMPENSATING},
    e.Completed: {Status.RUNNING: Status.COMPLETED},
    e.Compensated: {Status.COMPENSATING: Status.COMPENSATED},
}

ACTION_TABLE: Mapping[type[Event], Mapping[Action, Action]] = {
    e.Issued: {Action.PENDING: Action.RUNNING, Action.WAITING: Action.RUNNING},
    e.Sent: {Action.PENDING: Action.RUNNING, Action.WAITING: Action.RUNNING},
    e.Succeeded: {Action.RUNNING: Action.SUCCEEDED, Action.WAITING: Action.SUCCEEDED},
    e.Rejected: {
        Action.PENDING: Action.REJECTED,
        Action.RUNNING: Action.REJECTED,
        Action.WAITING: Action.REJECTED,
    },
    e.Failed: {Action.RUNNING: Action.WAITING},
    e.Unknown: {Action.PENDING: Action.UNKNOWN, Action.RUNNING: Action.UNKNOWN, Action.WAITING: Action.UNKNOWN},
    e.Stuck: {Action.PENDING: Action.STUCK, Action.RUNNING: Action.STUCK, Action.WAITING: Action.STUCK},
    e.Waiting: {Action.PENDING: Action.WAITING},
    e.Chosen: {Action.PENDING: Action.SUCCEEDED},
    e.Listed: {Action.PENDING: Action.SUCCEEDED},
    e.Skipped: {Action.PENDING: Action.SKIPPED},
    e.Abandoned: {Action.WAITING: Action.SKIPPED, Action.STUCK: Action.SKIPPED},
    e.Retried: {
        Action.RUNNING: Action.PENDING,
        Action.STUCK: Action.PENDING,
        Action.UNKNOWN: Action.PENDING,
        Action.WAITING: Action.PENDING,
    },
    e.Closed: {
        Action.RUNNING: Action.CLOSED,
        Action.STUCK: Action.CLOSED,
        Action.UNKNOWN: Action.CLOSED,
        Action.WAITING: Action.CLOSED,
    },
}

UNDO_TABLE: Mapping[type[Event], Mapping[Undo, Undo]] = {
    e.Issued: {Undo.PENDING: Undo.RUNNING, Undo.WAITING: Undo.RUNNING},
    e.Sent: {Undo.PENDING: Undo.RUNNING, Undo.WAITING: Undo.RUNNING},
    e.Undone: {Undo.RUNNING: Undo.COMPENSATED, Undo.WAITING: Undo.COMPENSATED},
    e.Voided: {Undo.RUNNING: Undo.VOID, Undo.WAITING: Undo.VOID},
    e.Failed: {Undo.RUNNING: Undo.WAITING},
    e.Stuck: {Undo.RUNNING: Undo.STUCK, Undo.WAITING: Undo.STUCK},
    e.Retried: {Undo.RUNNING: Undo.PENDING, Undo.STUCK: Undo.PENDING, Undo.WAITING: Undo.PENDING},
    e.Closed: {Undo.RUNNING: Undo.CLOSED, Undo.STUCK: Undo.CLOSED, Undo.WAITING: Undo.CLOSED},
}

ENDED = frozenset({Status.COMPLETED, Status.COMPENSATED})
CAREFUL_DEATHS = 2

StatusT = TypeVar("StatusT", Action, Undo)


class Track(NamedTuple, Generic[StatusT]):
    """One half of a step: its status and its attempts in this round.

    doubt: an earlier attempt is unresolved. due: when the next attempt, the end of a sleep or
    wait, or the reply to a command is due. rejected: the round is over, with a definite no. overdue: the
    worker in which a function still runs, or 0.
    """

    status: StatusT
    attempts: int = 0
    doubt: bool = False
    due: float | None = None
    reason: str = ""
    rejected: bool = False
    overdue: int = 0


PENDING = Track(Action.PENDING)
UNDO_PENDING = Track(Undo.PENDING)
EFFECT_POSSIBLE = frozenset({Action.SUCCEEDED, Action.UNKNOWN, Action.STUCK})
UNDO_SETTLED = frozenset({Undo.COMPENSATED, Undo.VOID, Undo.CLOSED})


class StepState(NamedTuple):
    """All that is known of one address. `command`: what is sent to the service that does it. `closed`: the
    last round that a person closed."""

    action: Track[Action] = PENDING
    undo: Track[Undo] | None = None
    round: int = 1
    result: bytes | None = None
    command: bytes | None = None
    closed: int = 0

    def track(self, phase: Phase) -> Track[Action] | Track[Undo]:
        """The half that a phase is about; a fresh undo where none has begun."""
        return self.action if phase is ACTION else self.undo or UNDO_PENDING

    @property
    def settled(self) -> bool:
        """Whether no compensation is owed, for a step that has one."""
        if self.undo is None:
            return self.action.status not in EFFECT_POSSIBLE
        return self.undo.status in UNDO_SETTLED


NEW = StepState()


class Lane(NamedTuple):
    """How far a `for_each` has come forward.

    open: items that hold one of the places its limit gives. again: items that wait for a place although
    their turn has come: a person had them tried again, or their command is built. held: items stuck.
    begun: how many had their turn.
    """

    open: tuple[int, ...] = ()
    again: tuple[int, ...] = ()
    held: tuple[int, ...] = ()
    begun: int = 0


class Group(NamedTuple):
    """The items of a `for_each`, encoded.

    undoing: items whose undo holds one of the places that the limit gives. cleared: how many
    items, counted from the last, have nothing left to undo.
    """

    items: tuple[bytes, ...]
    forward: Lane = Lane()
    undoing: tuple[int, ...] = ()
    cleared: int = 0


class Turn(NamedTuple):
    """Why and where a saga turned back."""

    cause: str
    address: str
    reason: str


class State:
    """A saga as its history tells it. Treat it as frozen: `evolve` gives the next one."""

    __slots__ = (
        "adopted",
        "assigned",
        "begun",
        "cancels",
        "chosen",
        "deadline",
        "deaths",
        "fingerprint",
        "given",
        "groups",
        "hops",
        "input",
        "kept",
        "kills",
        "late",
        "length",
        "note",
        "parked",
        "passed",
        "running",
        "status",
        "steps",
        "turned",
    )

    status: Status
    input: bytes
    deadline: float | None
    hops: int  # events that led to its start, each to the next
    passed: bool  # the pivot is behind
    turned: Turn | None
    parked: str  # why, while it is
    steps: dict[str, StepState]
    groups: dict[str, Group]
    chosen: dict[str, bool]
    kept: dict[str, bytes]  # signals that came before their wait
    cancels: tuple[e.CancelNoted, ...]  # waiting for the pivot's outcome
    running: int  # actions in flight
    late: int  # late messages counted
    length: int  # lines of history since the last act of a person
    adopted: tuple[tuple[int, bool], ...]  # since the last progress: from whom, and in a begun attempt
    deaths: int  # of workers, since the last progress
    kills: int  # of those, in an attempt that was made alone
    begun: tuple[str, Phase] | None  # careful running: the attempt being made, until it has ended
    fingerprint: str  # of the plan it moved to, if it did
    given: dict[str, bytes]  # what a person changed of what local steps are called with
    assigned: str  # who sees to it, if somebody does
    note: str  # the last that was left

    def copy(self) -> State:
        """A state that may be changed without touching this one."""
        new = State.__new__(State)
        new.status = self.status
        new.input = self.input
        new.deadline = self.deadline
        new.hops = self.hops
        new.passed = self.passed
        new.turned = self.turned
        new.parked = self.parked
        new.steps = self.steps.copy()
        new.groups = self.groups.copy() if self.groups else self.groups
        new.chosen = self.chosen
        new.kept = self.kept
        new.cancels = self.cancels
        new.running = self.running
        new.late = self.late
        new.length = self.length
        new.adopted = self.adopted
        new.deaths = self.deaths
        new.kills = self.kills
        new.begun = self.begun
        new.fingerprint = self.fingerprint
        new.given = self.given
        new.assigned = self.assigned
        new.note = self.note
        return new

    def step(self, address: str) -> StepState:
        """What is known of an address; a fresh record where nothing happened yet."""
        return self.steps.get(address, NEW)

    @property
    def careful(self) -> bool:
        """Whether its attempts are made one at a time, each recorded before it begins."""
        return self.deaths >= CAREFUL_DEATHS

    @property
    def ended(self) -> bool:
        """Whether the saga is completed or compensated."""
        return self.status in ENDED

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # it holds dictionaries

    def __repr__(self) -> str:
        return f"State({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"


def begin(event: e.Started) -> State:
    """The state of a saga of which nothing but its start is known."""
    state = State.__new__(State)
    state.status = Status.RUNNING
    state.input = event.input
    state.deadline = event.deadline
    state.hops = event.hops
    state.passed = False
    state.turned = None
    state.parked = ""
    state.steps = {}
    state.groups = {}
    state.chosen = {}
    state.kept = {}
    state.cancels = ()
    state.running = 0
    state.late = 0
    state.length = 1
    state.adopted, state.deaths, state.kills, state.begun = (), 0, 0, None
    state.fingerprint = ""
    state.given = {}
    state.assigned, state.note = "", ""
    return state


def in_flight(state: State) -> list[tuple[str, Phase]]:
    """Every action and compensation that was issued and has no outcome, in the order begun."""
    found: list[tuple[str, Phase]] = []
    for address, step in state.steps.items():
        if step.action.status is Action.RUNNING:
            found.append((address, ACTION))
        if step.undo is not None and step.undo.status is Undo.RUNNING:
            found.append((address, UNDO))
    return found
