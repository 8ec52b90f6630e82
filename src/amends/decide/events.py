"""The lines of a saga's history. What has happened, never what should.

Guarantees: every event is a plain tuple of names, numbers and encoded payloads, so that a
journal row can be written and read by any code that knows this file.
Must not: be renamed or lose a field. Fields are added at the end, with a default.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from amends.decide.members import direct


@direct
class Phase(StrEnum):
    """The two halves of a step."""

    ACTION = "action"
    UNDO = "undo"


ACTION, UNDO = Phase.ACTION, Phase.UNDO


class Started(NamedTuple):
    """The saga exists. `input` is encoded, `deadline` an instant. hops: of events that led to it, each to the next."""

    input: bytes
    deadline: float | None = None
    hops: int = 0


class Issued(NamedTuple):
    """An attempt may be in flight from here on. Nothing is called before this is durable."""

    address: str
    phase: Phase


class Built(NamedTuple):
    """The command that a step sends, encoded. It is built once, and the same whenever it is sent."""

    address: str
    command: bytes


class Sent(NamedTuple):
    """A command may be on its way from here on. Without a reply it is sent again after `until`, an
    instant. Nothing is sent before this is durable."""

    address: str
    phase: Phase
    until: float


class Postponed(NamedTuple):
    """The command could not go out yet: the broker is away. Its reply is waited for until later."""

    address: str
    phase: Phase
    until: float


class Begun(NamedTuple):
    """Careful running: this very attempt is about to be made, and nothing beside it."""

    address: str
    phase: Phase


class Succeeded(NamedTuple):
    """A step's action, a sleep or a wait is done. `result` is encoded."""

    address: str
    result: bytes


class Rejected(NamedTuple):
    """A definite no: nothing stayed."""

    address: str
    reason: str


class Failed(NamedTuple):
    """An attempt ended without an answer or without effect (`resolved`); the next is due.
    `lost`: it went down with its worker."""

    address: str
    phase: Phase
    reason: str
    resolved: bool
    due: float
    lost: bool = False


class Unknown(NamedTuple):
    """No more attempts, and nobody knows whether one had its effect. `lost`: the last went down with its worker."""

    address: str
    reason: str
    lost: bool = False


class Stuck(NamedTuple):
    """Nothing more happens here without a person.

    resolved: it is known that nothing stayed. rejected: the round ended with a definite no.
    overdue: the worker in which the function is still running, or 0. lost: the last attempt went
    down with its worker.
    """

    address: str
    phase: Phase
    reason: str
    resolved: bool = False
    rejected: bool = False
    overdue: int = 0
    lost: bool = False


class Undone(NamedTuple):
    """The compensation has run."""

    address: str


class Voided(NamedTuple):
    """The compensation found nothing to undo."""

    address: str


class Waiting(NamedTuple):
    """A sleep or a wait for a signal has begun; `until` is the instant it ends by itself."""

    address: str
    until: float | None


class Chosen(NamedTuple):
    """A condition was answered."""

    address: str
    taken: bool


class Skipped(NamedTuple):
    """Nodes of a branch that is not taken."""

    addresses: tuple[str, ...]


class Listed(NamedTuple):
    """A `for_each` knows its items, encoded, in order."""

    address: str
    items: tuple[bytes, ...]


class Abandoned(NamedTuple):
    """A sleep or a wait that the saga no longer needs."""

    address: str


class PivotPassed(NamedTuple):
    """The point of no return: only forward from here."""

    address: str


class TurnedBack(NamedTuple):
    """The saga goes back. `cause` is a word of `Cause`, `address` the step, if one is the cause."""

    cause: str
    address: str
    reason: str


class Kept(NamedTuple):
    """A signal that came before its wait."""

    address: str
    value: bytes


class CancelNoted(NamedTuple):
    """A cancel that waits for the pivot's outcome; `mail` is who asked."""

    mail: str
    reason: str


class Parked(NamedTuple):
    """Nothing moves without a person."""

    reason: str


class Resumed(NamedTuple):
    """A parked saga goes on forward."""


class ResumedBack(NamedTuple):
    """A parked saga goes on going back."""


class Completed(NamedTuple):
    """The end, as it should be."""


class Compensated(NamedTuple):
    """The end, everything undone."""


class Adopted(NamedTuple):
    """Taken over from a worker that was gone. `deaths`: how many it was taken over from since
    its last progress; `kills`: how many of those died in an attempt that was made alone."""

    worker: int
    deaths: int
    kills: int


class Operated(NamedTuple):
    """A person acted: the audit line. What it did follows in the same row."""

    verb: str
    address: str
    actor: str
    reason: str


class Refused(NamedTuple):
    """Somebody asked for what the saga could not do any more; `mail` is who asked."""

    verb: str
    mail: str
    why: str


class Retried(NamedTuple):
    """A person had a step tried again, under the same keys or, in a new round, under new ones. closed: of a new round,
    that nothing stayed of the last one has only that person's word."""

    address: str
    phase: Phase
    round: int
    closed: bool = False


class Closed(NamedTuple):
    """A person settled a step by hand; `result` stands in for what the action would have given."""

    address: str
    phase: Phase
    reason: str
    result: bytes | None = None


class Late(NamedTuple):
    """An answer that came after the step had moved on: knowledge, never a move."""

    address: str
    phase: Phase
    outcome: str
    result: bytes | None = None


class Given(NamedTuple):
    """A person changed what a local step is called with: an object of parameters by their names. It holds for every
    attempt from here on. (A changed command is `Built` anew.)"""

    address: str
    arguments: bytes


class Assigned(NamedTuple):
    """A person sees to the saga from here on; nobody does where `person` is empty."""

    person: str
    actor: str
    reason: str


class Noted(NamedTuple):
    """Somebody left a note for whoever looks at the saga next."""

    text: str
    actor: str


class Moved(NamedTuple):
    """The saga runs on a changed definition from here on."""

    fingerprint: str


Event = (
    Started
    | Issued
    | Built
    | Sent
    | Postponed
    | Begun
    | Succeeded
    | Rejected
    | Failed
    | Unknown
    | Stuck
    | Undone
    | Voided
    | Waiting
    | Chosen
    | Skipped
    | Listed
    | Abandoned
    | PivotPassed
    | TurnedBack
    | Kept
    | CancelNoted
    | Parked
    | Resumed
    | ResumedBack
    | Completed
    | Compensated
    | Adopted
    | Operated
    | Refused
    | Retried
    | Closed
    | Late
    | Moved
    | Given
    | Assigned
    | Noted
)

# What tells of a saga and moves nothing in it: whoever looked at it before knows all that an act depends upon.
STILL: frozenset[type[Event]] = frozenset({Refused, Postponed, Begun, Adopted, Assigned, Noted})


class Cause(StrEnum):
    """Why a saga went back."""

    REJECTED = "rejected"
    UNKNOWN = "unknown"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    OPERATOR = "operator"
