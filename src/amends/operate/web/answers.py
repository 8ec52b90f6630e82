"""What stands in answers of the API: one class for each, which documents it. `as_json` makes what is sent.

Guarantees: an answer has every field that its class has; it may have more.
Must not: make any answer.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from amends.operate.values import Trouble


class Me(Struct):
    """csrf: for the header X-CSRF-Token, where a cookie says who asks. places: what `at=` may name."""

    name: str
    role: Literal["viewer", "operator", "admin"]
    payloads: bool
    csrf: str
    places: list[str]
    version: str


class Saga(Struct):
    """A saga in a list. state_version: the one that an act names in If-Match; a list of stuck ones leaves it out."""

    id: str
    saga: str
    status: str
    state_version: int | None
    started_at: str
    changed_at: str
    due_at: str | None
    worker: int | None
    reason: str | None
    stuck: str | None
    stalled: str | None
    stranded: str | None
    home: str | None
    silent: str | None
    holder: str | None
    assigned: str | None
    note: str | None
    error_fingerprint: str | None
    error_step: str | None


class Page(Struct):
    """next: the cursor of the next page; null where there is none."""

    sagas: list[Saga]
    more: bool
    next: str | None


class StuckSaga(Saga):
    """why: in words."""

    trouble: Trouble
    why: str


class Stuck(Struct):
    """more: there is more than is shown."""

    sagas: list[StuckSaga]
    more: bool


class Step(Struct):
    """One step of a saga."""

    step: str
    kind: str
    place: str | None
    status: str
    action: str
    undo: str | None
    attempts: int
    undo_attempts: int
    round: int
    due_at: str | None
    reason: str | None
    result: Any
    items: dict[str, int] | None
    contract: str | None


class HistoryLine(Struct):
    """One line of a saga's history."""

    at: str
    event: str
    text: str
    step: str | None
    phase: str | None
    attempt: int | None
    round: int | None
    worker: int | None
    actor: str | None
    reason: str | None
    value: Any


class History(Struct):
    """after: how many lines were left out."""

    history: list[HistoryLine]
    after: int


class OpenStep(Struct):
    """A step that is not settled."""

    step: str
    action: str
    undo: str | None
    reason: str | None


class Act(Struct):
    """Something that may be done now. command: the path that does it, below this saga's. effect: what that would call.
    may_change: it may be done with other arguments."""

    verb: str
    step: str | None
    needs_value: bool
    command: str
    effect: str | None
    may_change: bool


class View(Struct):
    """All that is known of one saga, besides what a list has. version, fingerprint: of its definition. payloads:
    "hidden" where you may not read them; they are null then."""

    id: str
    saga: str
    status: str
    state_version: int
    version: str | None
    fingerprint: str
    input: Any
    result: Any
    pivot_passed: bool
    steps: list[Step]
    unsettled: list[OpenStep]
    not_reached: list[str]
    closed: list[str]
    waiting_mail: int
    history: list[HistoryLine]
    next: list[Act]
    payloads: Literal["shown", "hidden"]


class Outcome(Struct):
    """How a saga ended, or where it stands."""

    id: str
    saga: str
    status: str
    result: Any
    reason: str | None
    unsettled: list[OpenStep]


class Effect(Struct):
    """What would be called."""

    step: str
    phase: str
    what: str
    contract: str | None


class Preview(Struct):
    """What an act would do now. answer: whether it would be accepted; detail: why not."""

    id: str
    verb: str
    step: str | None
    answer: Literal["would be accepted", "would be refused"]
    detail: str | None
    state_version: int
    effects: list[Effect]
    status_after: str


class FlowAnswer(Struct):
    """plan: as it is stored. mermaid: the drawing, with statuses."""

    plan: dict[str, Any]
    fingerprint: str
    mermaid: str


class Started(Struct):
    """A saga that is on disk."""

    id: str
    saga: str


class Answered(Struct):
    """An act. answer: accepted; or kept, where no worker has answered yet: ask again with the same Idempotency-Key."""

    id: str
    verb: str
    step: str | None
    answer: Literal["accepted", "kept"]
    detail: str | None


class Plan(Struct):
    """A stored definition."""

    name: str
    version: str | None
    fingerprint: str


class Plans(Struct):
    """Every stored definition, by name and then the newest last."""

    plans: list[Plan]


class Finding(Struct):
    """level: ok, warning or error."""

    level: str
    what: str
    detail: str


class Findings(Struct):
    """What the doctor finds."""

    worst: str
    findings: list[Finding]


class Outbox(Struct):
    """What a service's outbox and inbox hold. Counts stop at 100,000; ages are in seconds."""

    service: str
    database: str
    inbox: int
    ended: int
    ended_age: float
    unpublished: int
    lag: float
    careful: int


class Republished(Struct):
    """How many events are published again as soon as a participant of the service works."""

    service: str
    database: str
    republished: int


class Pruned(Struct):
    """What became of sagas that ended long ago."""

    pruned: int
    would_prune: int | None
    kept: int
    ended_before: str | None


class ProblemShape(Struct, rename={"problem_type": "type"}):
    """RFC 9457. code: stable, of amends."""

    problem_type: str
    title: str
    status: int
    detail: str
    code: str


class Group(Struct):
    """Open sagas in which the same went wrong at the same step. fingerprint: of that, as the filter takes it. reason,
    example: of one of them. first_at, last_at: when the first and the last of them changed."""

    fingerprint: str
    saga: str
    step: str | None
    reason: str | None
    count: int
    first_at: str
    last_at: str
    example: str


class Groups(Struct):
    """The most frequent first."""

    groups: list[Group]


class Worker(Struct):
    """One worker, and its lease. sagas: the definitions that it runs."""

    worker: int
    host: str
    pid: int
    started_at: str
    expires_at: str | None
    owned: int
    sagas: list[str]
    alive: bool


class Workers(Struct):
    """Those that are registered."""

    workers: list[Worker]


class Lag(Struct):
    """How far something is behind."""

    lag_seconds: float
    waiting: int
    more: bool


class Ends(Struct):
    """How many sagas have ended within a span. more: at least so many."""

    completed: int
    compensated: int
    more: bool


class Rates(Struct):
    """How many sagas in each minute since then, the oldest minute first."""

    since: str
    started: list[int]
    completed: list[int]
    compensated: list[int]
    parked: list[int]


class Overview(Struct):
    """How all sagas fare. open, troubles: how many, by status and by trouble. outbox: null where nothing is published
    from there."""

    at: str
    open: dict[str, int]
    stuck: int
    troubles: dict[str, int]
    troubles_more: bool
    ended_in_an_hour: Ends
    ended_in_a_day: Ends
    per_minute: Rates
    groups: list[Group]
    workers: list[Worker]
    outbox: Lag | None
    timers: Lag


class OpenApi(Struct):
    """This document."""

    openapi: str
    paths: dict[str, Any]
