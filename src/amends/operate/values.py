"""What operations give: plain frozen values, typed, with nothing of the store in them.

Guarantees: a value is complete when it is given; times are instants in seconds since 1970;
payloads are the JSON they are stored as.
Must not: know how they are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from amends.decide.plan import Plan
from amends.decide.state import State
from amends.store.base import Health


class SagaLine(NamedTuple):
    """One saga in a list.

    id: the user's. saga: the name of its definition. reason: why it went back or is parked.
    stuck: its first stuck step. stalled: why the worker that looked cannot run it. stranded: why no
    live worker runs it. due_at: when an unowned one goes on. home: of a choreographed one, which is only watched here,
    the service that started it. silent: who did not react. holder: of a choreographed one, seen at its home: which
    service has it, as far as its home was told, in words; empty of all others. fingerprint: of what went wrong, the
    same of all in which the same went wrong; empty where nothing did. step: where that was. version: how many rows its
    history has, 0 where that was not looked at; an act may be meant for that version alone. assigned: the person who
    sees to it. note: the last one.
    """

    id: str
    saga: str
    status: str
    started_at: float
    changed_at: float
    due_at: float | None
    worker: int | None
    reason: str
    stuck: str
    stalled: str
    stranded: str
    home: str = ""
    silent: str = ""
    holder: str = ""
    fingerprint: str = ""
    step: str = ""
    version: int = 0
    assigned: str = ""
    note: str = ""


class Page(NamedTuple):
    """Sagas, newest first. more: there are older ones that fit, or that were not looked at yet. next: the saga that the
    next page begins behind, whether or not it is in this one; empty where there is no more. place: its internal id,
    which is good for that though the saga be forgotten meanwhile."""

    sagas: tuple[SagaLine, ...]
    more: bool
    next: str = ""
    place: bytes = b""


class StepLine(NamedTuple):
    """One node of a saga with what is known of it.

    kind: step, wait, sleep, when, each. place: before, pivot or after. status: the undo's where
    there is one, else the action's. attempts, undo_attempts: in this round. due_at: the next
    attempt, or the end of a wait. items: of a `for_each`, how many in which status. contract: of the
    command that does it, where a service does.
    """

    address: str
    kind: str
    place: str
    status: str
    action: str
    undo: str
    attempts: int
    undo_attempts: int
    round: int
    due_at: float | None
    reason: str
    result: bytes | None
    items: tuple[tuple[str, int], ...] = ()
    contract: str = ""


class Line(NamedTuple):
    """One line of a saga's history.

    event: its stable name. text: what happened, for people. worker: who wrote it, 0 for a client.
    tone: good, bad, person or empty. until: an instant up to which something is waited for: a reply, a
    signal, the next attempt. outcome: of an attempt that failed: failed, unresolved or lost.
    """

    at: float
    event: str
    text: str
    worker: int = 0
    step: str = ""
    phase: str = ""
    attempt: int = 0
    round: int = 0
    actor: str = ""
    reason: str = ""
    value: bytes | None = None
    tone: str = ""
    until: float | None = None
    outcome: str = ""


class Act(NamedTuple):
    """Something that a person may do now, and that would be accepted.

    verb: retry, skip, resolve, compensate, unpark, cancel or signal. step: its address, or the
    signal's name. needs_value: a result or value has to be given. effect: what it will do, in a sentence.
    may_change: of a retry, that what the step is asked can be changed with it.
    """

    verb: str
    step: str
    needs_value: bool = False
    effect: str = ""
    may_change: bool = False


class Effect(NamedTuple):
    """A call that comes of an act. phase: action or undo. what: it, in words. contract: of the command, where a service
    does it."""

    step: str
    phase: str
    what: str
    contract: str = ""


class Preview(NamedTuple):
    """What an act would do now. accepted: whether it would be; if not, `why` says why not. version: of the saga that
    this is about. effects: what would be called, in order, as long as each call succeeds and no function has to be
    asked. status_after: of the saga, once the act is done and before anything was called."""

    verb: str
    step: str
    accepted: bool
    why: str
    version: int
    effects: tuple[Effect, ...] = ()
    status_after: str = ""


class OpenStep(NamedTuple):
    """A step that is not settled: what is known of its action and of its undo."""

    step: str
    action: str
    undo: str
    reason: str


@dataclass(frozen=True, slots=True)
class SagaView:
    """All that is known of one saga.

    result: of a completed one. acts: what a person may do now. waiting_mail: how many signals,
    cancels and acts nobody has answered.
    """

    line: SagaLine
    plan: Plan
    state: State
    input: bytes
    result: bytes | None
    steps: tuple[StepLine, ...]
    history: tuple[Line, ...]
    unsettled: tuple[OpenStep, ...]
    not_reached: tuple[str, ...]
    closed: tuple[str, ...]
    acts: tuple[Act, ...]
    waiting_mail: int


class Trouble(StrEnum):
    """Why a saga is among the stuck."""

    PARKED = "parked"  # nothing moves without a person
    STUCK = "stuck"  # one step waits for a person, others go on
    STALLED = "stalled"  # no worker has a definition that fits
    SLOW = "slow"  # it has a worker, and nothing has happened for much longer than its steps take
    STRANDED = "stranded"  # no live worker knows its definition or has its version, or it is due and nobody takes it
    WAITING = "waiting"  # for a signal
    SILENT = "silent"  # choreographed, and nothing is heard of it that should be


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which sagas are wanted; what is left empty narrows nothing, and all that is given has to fit.

    sagas: names of definitions. steps: where something went wrong; `ship` is each item of a `for_each` too. key: the id
    or its beginning. input: top-level fields of the input and their values, as text or as JSON. versions: of the
    definition, the name or the fingerprint's beginning. stuck: only those parked, stalled or with a stuck step.
    assigned: to whom; the empty text is nobody. started_*, changed_*: instants.
    """

    statuses: tuple[str, ...] = ()
    sagas: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    fingerprints: tuple[str, ...] = ()
    key: str = ""
    input: tuple[tuple[str, str], ...] = ()
    versions: tuple[str, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    stuck: bool = False
    assigned: str | None = None
    started_after: float | None = None
    started_before: float | None = None
    changed_before: float | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Open sagas in which the same went wrong at the same step. reason: one example's. first_at, last_at: when the
    first and the last of them changed. example: the id of the newest."""

    fingerprint: str
    saga: str
    step: str
    reason: str
    count: int
    first_at: float
    last_at: float
    example: str


class WorkerLine(NamedTuple):
    """A worker, or what is left of one that still owns sagas. owned: how many open sagas are its. sagas: names of the
    definitions that it runs. alive: as far as can be told from here."""

    id: int
    host: str
    pid: int
    started_at: float
    expires_at: float
    owned: int
    sagas: tuple[str, ...]
    alive: bool


class Ends(NamedTuple):
    """How many sagas have ended within a span. more: there were more; the numbers are of the newest."""

    completed: int
    compensated: int
    more: bool


class Rates(NamedTuple):
    """Per minute, the oldest first, the running minute last: what began, ended and was parked. parked: of those that
    still are. since: all is counted from this instant on; where a minute lies before it, its numbers are too low."""

    started: tuple[int, ...]
    completed: tuple[int, ...]
    compensated: tuple[int, ...]
    parked: tuple[int, ...]
    since: float


class Lag(NamedTuple):
    """How far something is behind. waiting: how many wait. more: there are more than that."""

    lag_seconds: float
    waiting: int
    more: bool = False


@dataclass(frozen=True, slots=True)
class Overview:
    """How all sagas fare at one moment.

    counts: the open ones, by status. troubles: how many of them wait for somebody, each by its trouble. troubles_more:
    there may be more of those that were not looked at. hour, day: what has ended since. groups: what went wrong, the
    most frequent first. outbox: None where nothing is published from this database. timers: sagas that were due and
    that nobody has taken yet. watches: sagas are only watched here, so the workers are watchers.
    """

    at: float
    counts: Mapping[str, int]
    troubles: Mapping[Trouble, int]
    troubles_more: bool
    hour: Ends
    day: Ends
    rates: Rates
    groups: tuple[Group, ...]
    outbox: Lag | None
    timers: Lag
    workers: tuple[WorkerLine, ...]
    watches: bool = False

    @property
    def stuck(self) -> int:
        """How many wait for somebody."""
        return sum(self.troubles.values())


class StuckLine(NamedTuple):
    """One saga that waits for somebody, and why."""

    saga: SagaLine
    trouble: Trouble
    why: str


class StuckPage(NamedTuple):
    """What is stuck. more: there is more than was asked for, or than was looked at."""

    lines: tuple[StuckLine, ...]
    more: bool

    def unchanged_since(self, at: float, limit: int) -> StuckPage:
        """Of these, so many at most with which nothing has happened since an instant."""
        old = [line for line in self.lines if line.saga.changed_at <= at]
        return StuckPage(tuple(old[:limit]), self.more or len(old) > limit)


class Answer(NamedTuple):
    """An act that was accepted, and what was said with that."""

    id: str
    verb: str
    step: str
    detail: str


class Pruned(NamedTuple):
    """What became of sagas that ended long ago. kept: those with a step in a transaction that is not long enough ago
    yet; they go later."""

    pruned: int
    kept: int


class SchemaVersion(NamedTuple):
    """A database's schema: its version, the oldest code that may use it, and what this code knows."""

    version: int
    floor: int
    code: int

    @property
    def fits(self) -> bool:
        """Whether this code can work with it as it is."""
        return self.floor <= self.code <= self.version


Finding = Health
"""One line of `doctor`: a level, what was looked at, and what was found."""
