"""What whoever observes is told: a public contract.

`docs/reference/events.md` is this file as a table. Instants are seconds since 1970 by the clock of the store, or of the
service; what ends with `_seconds` is a duration. A step is its address in the saga, `trip/hotels[3]/book`.

Guarantees: names, fields and their units stay; fields are added at the end, with a default. Nothing here has a
payload, or words that may quote one: of an error there is the name of its class. Why something failed is in the
saga's history.
Must not: be told before what it says is so: what is said of a saga's course is on disk.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, get_args

from amends.decide.events import Phase
from amends.decide.wire import NO_TRACE

ID_MILLISECONDS_BYTES = 6  # a saga's internal id is a UUIDv7, which begins with when it was made


class About(NamedTuple):
    """Which saga.

    namespace: its share of the store; of a choreographed saga, the service that started it. saga: the name of its
    definition; empty where a service was not told. key: the id that its users know. id: the internal one, 16 bytes.
    """

    namespace: str
    saga: str
    key: str
    id: bytes

    @property
    def made_at(self) -> float:
        """When the saga was made, to the millisecond."""
        return int.from_bytes(self.id[:ID_MILLISECONDS_BYTES], "big") / 1000


class SagaRequested(NamedTuple):
    """Somebody here asks for a saga to be started. Told in the context of who asks; it may still be refused."""

    about: About
    at: float


class SagaStarted(NamedTuple):
    """A worker has begun a saga. Of one that a client started, when a worker first takes it up."""

    about: About
    at: float


class SagaTurnedBack(NamedTuple):
    """The saga goes back: compensation begins. cause: rejected, unknown, deadline, cancelled or operator. step: the
    one that is the cause, if one is."""

    about: About
    at: float
    cause: str
    step: str


class SagaParked(NamedTuple):
    """Nothing in it moves without a person."""

    about: About
    at: float


class SagaResumed(NamedTuple):
    """A parked saga goes on. back: to compensate."""

    about: About
    at: float
    back: bool


class SagaEnded(NamedTuple):
    """The end. end: completed or compensated. seconds: since it was made."""

    about: About
    at: float
    end: str
    seconds: float


class SagaAdopted(NamedTuple):
    """Taken over from a worker that was gone. worker: that one. deaths: workers that died with it since its last
    progress."""

    about: About
    at: float
    worker: int
    deaths: int


class SagaMoved(NamedTuple):
    """It goes on with a changed definition."""

    about: About
    at: float
    fingerprint: str


class AttemptBegan(NamedTuple):
    """A local step's function is about to be called. Told in the context that it is called in. undoes: of an undo, the
    number of the action's last attempt."""

    about: About
    at: float
    step: str
    phase: Phase
    round: int
    attempt: int
    undoes: int = 0


class CommandSent(NamedTuple):
    """A step's command goes out to its service: a remote attempt begins. command: the contract's name."""

    about: About
    at: float
    step: str
    phase: Phase
    round: int
    attempt: int
    command: str


class AttemptEnded(NamedTuple):
    """An attempt is over. A remote one that was given up is: an answer that comes before the next goes out is none's.

    seconds: since it began; None where nobody here saw that. outcome: succeeded, void (an undo that found nothing to
    undo), rejected, failed (nothing stayed) or unresolved. error: the class of what was raised, if it was. command: of
    a remote attempt, the contract's name. lost: it went down with its worker. undoes: of an undo, the number of the
    action's last attempt.
    """

    about: About
    at: float
    step: str
    phase: Phase
    round: int
    attempt: int
    seconds: float | None
    outcome: str
    error: str = ""
    command: str = ""
    lost: bool = False
    undoes: int = 0


class RetryScheduled(NamedTuple):
    """Another attempt of a step is due after a while."""

    about: About
    at: float
    step: str
    phase: Phase
    attempt: int
    delay_seconds: float


class StepStuck(NamedTuple):
    """A step needs a person."""

    about: About
    at: float
    step: str
    phase: Phase


class SignalTaken(NamedTuple):
    """A signal has arrived. kept: before its wait, for which it is kept."""

    about: About
    at: float
    signal: str
    kept: bool


class ActTaken(NamedTuple):
    """A person's act has its effect. Who it was, and why, is in the history."""

    about: About
    at: float
    verb: str
    step: str


class AskRefused(NamedTuple):
    """Somebody asked for what the saga could not do any more."""

    about: About
    at: float
    verb: str


class AnswerLate(NamedTuple):
    """An answer came after its step had moved on."""

    about: About
    at: float
    step: str
    phase: Phase


class WorkerRegistered(NamedTuple):
    """A worker is there, under a new number."""

    worker: int
    at: float
    lease_seconds: float


class WorkerLooked(NamedTuple):
    """A worker looks at the store, as it does now and then. sagas: how many it holds in memory."""

    worker: int
    at: float
    sagas: int


class LeaseRenewed(NamedTuple):
    """A worker's registration lasts a lease longer."""

    worker: int
    at: float


class WorkerRetired(NamedTuple):
    """A worker finds that others have taken over what it had."""

    worker: int
    at: float


class WorkerLeft(NamedTuple):
    """A worker has let go of everything, and is gone."""

    worker: int
    at: float


class BatchWritten(NamedTuple):
    """Decisions were committed together. worker: 0 for a client. writes: how many were. seconds: that the commit
    took."""

    worker: int
    at: float
    writes: int
    seconds: float


class WriteFailed(NamedTuple):
    """The store cannot be written at the moment; the same is tried again. worker: 0 for a client."""

    worker: int
    at: float


class HandlerBegan(NamedTuple):
    """A service is about to do a command. Told in the context that its handler is called in. trace: the W3C trace
    context that came with it."""

    about: About
    at: float
    service: str
    command: str
    step: str
    phase: Phase
    round: int
    attempt: int
    trace: Mapping[str, str] = NO_TRACE


class HandlerEnded(NamedTuple):
    """A service has done a command, or not. outcome: of the reply. repeated: the handler was not called; what the inbox
    says of that, `replay` where it was done before."""

    about: About
    at: float
    service: str
    command: str
    step: str
    phase: Phase
    round: int
    attempt: int
    seconds: float
    outcome: str
    repeated: str = ""


class EventBegan(NamedTuple):
    """A service is about to handle an event. Told in the context that its handler is called in. event: its type.
    message: its id. trace: the W3C trace context that came with it."""

    service: str
    at: float
    event: str
    message: str
    attempt: int
    trace: Mapping[str, str] = NO_TRACE


class EventEnded(NamedTuple):
    """An event's handler has returned. outcome: succeeded, rejected or failed. repeated: the handler was not called,
    since this service has handled the event before."""

    service: str
    at: float
    event: str
    message: str
    attempt: int
    seconds: float
    outcome: str
    repeated: bool = False


class HopSent(NamedTuple):
    """A choreographed saga goes on from a service, with its next step. to: the service that is next."""

    about: About
    at: float
    service: str
    to: str
    step: str
    phase: Phase
    round: int = 1
    attempt: int = 1


class EventPublished(NamedTuple):
    """The broker has confirmed a message of the outbox. event: its type. lag_seconds: since it was committed."""

    service: str
    at: float
    event: str
    lag_seconds: float


class MessageBuried(NamedTuple):
    """A message is put aside: it is none that this service can read."""

    service: str
    at: float


Event = (
    SagaRequested
    | SagaStarted
    | SagaTurnedBack
    | SagaParked
    | SagaResumed
    | SagaEnded
    | SagaAdopted
    | SagaMoved
    | AttemptBegan
    | CommandSent
    | AttemptEnded
    | RetryScheduled
    | StepStuck
    | SignalTaken
    | ActTaken
    | AskRefused
    | AnswerLate
    | WorkerRegistered
    | WorkerLooked
    | LeaseRenewed
    | WorkerRetired
    | WorkerLeft
    | BatchWritten
    | WriteFailed
    | HandlerBegan
    | HandlerEnded
    | EventBegan
    | EventEnded
    | HopSent
    | EventPublished
    | MessageBuried
)


def _name_of(kind: type[Event]) -> str:
    """`SagaTurnedBack` is `saga.turned_back`: what it is about, and what is said of that."""
    subject, *said = re.findall("[A-Z][a-z]*", kind.__name__)
    return f"{subject.lower()}.{'_'.join(said).lower()}"


NAMES: Mapping[type[Event], str] = {kind: _name_of(kind) for kind in get_args(Event)}
