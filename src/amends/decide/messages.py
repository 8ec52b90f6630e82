"""What the core is told. Each message is a fact from outside, with its ids and encoded payloads.

Guarantees: a message is a value; the shell puts into it all that the core may know.
Must not: hold a callable, a clock or a live object.
"""

from __future__ import annotations

from typing import NamedTuple

from amends.decide.events import Phase
from amends.decide.wire import Word


class Start(NamedTuple):
    """A new saga with its encoded input; with `hold` its first steps wait for whoever claims it. hops: how many events
    led to it, each to the next."""

    input: bytes
    hold: bool = False
    hops: int = 0


class Tick(NamedTuple):
    """Look at the clock: something may be due, or the saga was just claimed."""


class Done(NamedTuple):
    """An attempt returned. For an undo, `void` says it found nothing to undo."""

    address: str
    phase: Phase
    result: bytes = b"null"
    void: bool = False


class No(NamedTuple):
    """An attempt said `Reject`. `sure`: a barrier vouches for every earlier attempt too."""

    address: str
    phase: Phase
    reason: str
    sure: bool = False


class Failure(NamedTuple):
    """An attempt ended in any other way.

    resolved: it is known that nothing stayed. final: another attempt would give the same.
    park: the step asked for a person. after: seconds until the next attempt, as the step asked.
    share: a number from 0 to 1 that says how much of the jitter is used. attempt: which attempt of
    the command a reply is about; 0 for the one that is in flight.
    """

    address: str
    phase: Phase
    reason: str
    resolved: bool = False
    final: bool = False
    park: bool = False
    after: float | None = None
    share: float = 0.0
    attempt: int = 0


class Barred(NamedTuple):
    """The barrier of the service that a command went to let it do nothing. `word`: fenced, earlier-open,
    missing or expired."""

    address: str
    phase: Phase
    word: Word
    reason: str = ""


class Postpone(NamedTuple):
    """The commands that are due again cannot go out: the broker is away."""


class Overdue(NamedTuple):
    """An attempt was asked to stop, did not, and its grace is over; it still runs in `worker`."""

    address: str
    phase: Phase
    worker: int


class Begin(NamedTuple):
    """Careful running: the next attempt is about to be made."""

    address: str
    phase: Phase


class Adopt(NamedTuple):
    """The saga was taken over from `worker`; `survived` are those of the workers it was ever
    taken over from that turned out not to have died. moves_to: the plan that it changes over to at once, if
    it does: what that starts did not go down with the worker."""

    worker: int
    survived: frozenset[int] = frozenset()
    moves_to: str = ""


class Looked(NamedTuple):
    """Which saga somebody has looked at before asking something of it: what they ask is done to no other.

    A saga's version is how many rows its history has. seen: the one that they looked at. changed: the one with which
    it changed last. now: the one it is at.
    """

    seen: int
    changed: int
    now: int


class Signal(NamedTuple):
    """A value for a wait. `flaw`: why the value cannot be what is waited for, if it cannot."""

    mail: str
    address: str
    value: bytes
    flaw: str = ""
    looked: Looked | None = None


class Cancel(NamedTuple):
    """Somebody wants the saga undone."""

    mail: str
    actor: str
    reason: str
    looked: Looked | None = None


class Operate(NamedTuple):
    """A person's act on a step or, with no address, on the saga.

    verb: retry, skip, resolve, compensate or unpark. live: the workers that are alive, for a
    function that may still be running. result: what a resolved action gave, encoded. arguments: what a step is
    to be retried with, encoded: its command, or parameters by their names. `flaw` says why it cannot be that.
    settled: the person's word that nothing stayed of what was tried.
    """

    mail: str
    verb: str
    address: str
    actor: str
    reason: str
    result: bytes | None = None
    live: frozenset[int] = frozenset()
    flaw: str = ""
    arguments: bytes | None = None
    settled: bool = False
    looked: Looked | None = None


class Assign(NamedTuple):
    """A person is to see to the saga; nobody, where `person` is empty."""

    mail: str
    person: str
    actor: str
    reason: str
    looked: Looked | None = None


class Note(NamedTuple):
    """Something to know for whoever looks at the saga next."""

    mail: str
    text: str
    actor: str
    looked: Looked | None = None


class Halt(NamedTuple):
    """A limit is reached: whatever waits for another attempt goes to a person."""

    reason: str


class Move(NamedTuple):
    """The saga changes over to this plan."""

    fingerprint: str


class Answer(NamedTuple):
    """The shell's answer to a question: a bool, an instant, or the encoded items, of a request its
    command; or `error`, what the user's function raised, with `flag` where that was a `Reject`."""

    kind: str
    address: str
    flag: bool = False
    instant: float = 0.0
    items: tuple[bytes, ...] = ()
    error: str | None = None


class Answers(NamedTuple):
    """All answers to the questions of one decision."""

    answers: tuple[Answer, ...]


Mail = Signal | Cancel | Operate | Assign | Note  # what is answered

Message = (
    Start
    | Tick
    | Done
    | No
    | Failure
    | Barred
    | Postpone
    | Overdue
    | Begin
    | Adopt
    | Signal
    | Cancel
    | Operate
    | Assign
    | Note
    | Halt
    | Move
    | Answers
)
