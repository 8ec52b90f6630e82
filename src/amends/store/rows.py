"""The values that a store takes and gives.

Guarantees: a value is complete when it is made, and never changes.
Must not: know any particular store.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any, NamedTuple

AFTER_ALL = b"\xff" * 16  # no internal id is later
CLOCK_SECONDS = 3600.0  # how far apart the clocks may be that ids begin with

OPEN = ("running", "compensating", "parked")


class NewSaga(NamedTuple):
    """A saga that does not exist yet. `key` is the user's id, `plan` a registered plan's number."""

    key: str
    plan: int
    input_hash: bytes
    created_at: float


class Head(NamedTuple):
    """What finding a saga needs.

    owner: a worker, or None for a saga that waits or ended. wake_at: when an unowned one is
    due. stuck: its first stuck step, in words. reason: why it is parked or went back. fingerprint, step: of what went
    wrong, and where.
    """

    status: str
    owner: int | None
    wake_at: float | None
    stuck: str | None = None
    reason: str | None = None
    plan: int | None = None  # where the saga moved to another plan
    assigned: str | None = None  # the person who sees to it
    note: str | None = None  # the last one that somebody left
    fingerprint: str | None = None
    step: str | None = None


class MailAnswer(NamedTuple):
    """The answer to a mail: accepted, refused or too late, and why. With no word, the mail is
    only taken: a decision knows of it, and the answer comes with a later one."""

    message: str
    word: str | None
    detail: str


class Write(NamedTuple):
    """One decision on its way to the store.

    saga: the internal id. seq: the journal row's, 0 for the first. op: the operation number,
    unique to this decision for ever. new: with the first row. head: where it changed.
    """

    saga: bytes
    seq: int
    op: int
    row: bytes
    new: NewSaga | None = None
    head: Head | None = None
    answers: tuple[MailAnswer, ...] = ()


class Fate(Enum):
    """What became of a write."""

    WRITTEN = "written"
    LOST = "lost"  # the saga has moved on without it
    EXISTS = "exists"  # the key of a new saga is taken
    REFUSED = "refused"  # the database does not take these very values: no repetition mends that
    HELD = "held"  # not written yet: a lock of somebody else's is in the way, and nobody else shall wait for it


class Retired(Exception):
    """The worker that wants to write is not registered any more: nothing was written."""


class WorkerInfo(NamedTuple):
    """What a registration says about its process. `plans`: the numbers of the plans it can run."""

    host: str
    pid: int
    plans: tuple[int, ...]
    lease_seconds: float


class WorkerRow(NamedTuple):
    """A registration. `expires_at`, `retired_at`, `left_at`: instants, by the store's clock."""

    id: int
    host: str
    pid: int
    plans: tuple[int, ...]
    started_at: float
    expires_at: float
    retired_at: float | None
    survived: bool
    left_at: float | None


class PlanRow(NamedTuple):
    """A plan some worker or client has registered."""

    id: int
    fingerprint: str
    name: str
    body: str


class TokenKey(NamedTuple):
    """What replies are authenticated with. name: of the queue they are sent to, the same with every key."""

    number: int
    name: str
    secret: bytes


class SagaRow(NamedTuple):
    """A head as it is read."""

    id: bytes
    key: str
    plan: int
    status: str
    owner: int | None
    epoch: int
    wake_at: float | None
    created_at: float
    updated_at: float
    stuck: str | None
    reason: str | None
    stalled: str | None
    input_hash: bytes
    assigned: str | None = None
    note: str | None = None
    fingerprint: str | None = None
    step: str | None = None


class Loaded(NamedTuple):
    """A saga with its journal rows, in order."""

    head: SagaRow
    rows: tuple[bytes, ...]


class NewMail(NamedTuple):
    """A mail to a saga. `message`: the sender's id for it; the same id counts once."""

    key: str
    message: str
    kind: str
    body: bytes


class MailRow(NamedTuple):
    """A mail as it is read. `answer` is None until it was answered, and `detail` until it was taken."""

    id: int
    saga: bytes
    message: str
    kind: str
    body: bytes
    created_at: float
    answer: str | None
    detail: str | None
    answered_at: float | None

    @property
    def is_taken(self) -> bool:
        """Whether a decision knows of it."""
        return self.answer is not None or self.detail is not None


class Peek(NamedTuple):
    """A cheap look at the store. due: an unowned saga is due. mail: some is not taken. gone: a worker's
    lease has run out, or one that is retired still owns sagas. ends: when the next lease runs out, if
    it is not renewed."""

    due: bool
    mail: bool
    gone: bool = False
    ends: float | None = None


class Filter(NamedTuple):
    """Which sagas to list: newest first, `limit` of them, those older than `before`."""

    statuses: tuple[str, ...] = ()
    plans: tuple[int, ...] | None = None
    stuck: bool = False
    before: bytes | None = None
    limit: int = 50

    @property
    def statement(self) -> str:
        """The statement that finds them; what is open or in trouble is found however many have ended."""
        if self.stuck:
            return "find_trouble"
        return "find_open" if self.statuses and set(self.statuses) <= set(OPEN) else "find"


class Ended(NamedTuple):
    """Of one stretch of sagas those that have ended. last: where the next stretch begins, None where there is none."""

    sagas: tuple[bytes, ...]
    last: bytes | None


class Health(NamedTuple):
    """One line of `amends doctor`. level: ok, warning or error."""

    level: str
    what: str
    detail: str


def id_bound(instant: float) -> bytes:
    """Internal ids begin with when they were made: what ended before an instant has no id that is later than this."""
    milliseconds = int((instant + CLOCK_SECONDS) * 1000)
    return milliseconds.to_bytes(6, "big") + bytes(10) if 0 <= milliseconds < 1 << 48 else AFTER_ALL


def mail_of(row: Iterable[Any]) -> MailRow:
    """A mail of what a statement gave: its body is text there."""
    number, saga, message, kind, body, *rest = row
    return MailRow(number, saga, message, kind, body.encode(), *rest)
