"""The store: what every place that keeps sagas must do.

The words. A *head* is the row that says where a saga stands for finding it: status, owner,
when to wake. The *journal* is the truth: one row per decision, `(saga, seq)`. *Mail* is what
comes from outside the worker that decides. A *worker* row is a registration; it is retired
once and for all when somebody takes over what it owned.

Guarantees that every implementation gives, and the conformance suite checks:
- What a call has returned from is durable.
- `commit` writes all of one saga's part of a batch or nothing of it, and only if the worker
  is registered and not retired, and only if the saga's rows before it are there and its own
  are not. A row that is there under the same operation number is that same commit, made
  before: success.
- Nobody but `claim` and `adopt` makes a worker the owner of a saga that it did not start.
Must not: know what is in a journal row or in a mail.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Literal, Protocol

from amends.store.bulk import Bulks
from amends.store.finding import Finder
from amends.store.rows import (
    OPEN,
    Ended,
    Fate,
    Filter,
    Head,
    Health,
    Loaded,
    MailAnswer,
    MailRow,
    NewMail,
    NewSaga,
    Peek,
    PlanRow,
    Retired,
    SagaRow,
    TokenKey,
    WorkerInfo,
    WorkerRow,
    Write,
)

TOKEN_KEYS_KEPT = 5  # those that replies on their way may still be made with

__all__ = [
    "OPEN",
    "Ended",
    "Fate",
    "Filter",
    "Head",
    "Health",
    "Joined",
    "JoinedAsync",
    "Loaded",
    "MailAnswer",
    "MailRow",
    "NewMail",
    "NewSaga",
    "Peek",
    "PlanRow",
    "Retired",
    "SagaRow",
    "Store",
    "TokenKey",
    "WorkerInfo",
    "WorkerRow",
    "Write",
]


class Joined(Protocol):
    """A transaction of the user's. What is written here exists if and only if that commits. It is
    written on the thread that calls."""

    awaited: Literal[False]

    def add(self, write: Write) -> SagaRow | None:
        """Add a saga; the one that is there where its key is taken."""
        ...

    def send(self, mail: NewMail) -> bool:
        """Add a mail; False where there is no such saga."""
        ...

    def after_commit(self, tell: Callable[[], object]) -> bool:
        """Have `tell` called, on any thread, about when the transaction commits; False where the
        driver has no hook for that."""
        ...


class JoinedAsync(Protocol):
    """The same of an asynchronous driver. It is written on the loop that calls."""

    awaited: Literal[True]

    async def add(self, write: Write) -> SagaRow | None:
        """As `Joined.add`. Raises NotEnlisted where no transaction is open."""
        ...

    async def send(self, mail: NewMail) -> bool:
        """As `Joined.send`. Raises NotEnlisted where no transaction is open."""
        ...

    def after_commit(self, tell: Callable[[], object]) -> bool:
        """As `Joined.after_commit`, once something was written."""
        ...


class Store(Protocol):
    """One namespace of one database, in one process. All methods but `listen` and `hint` may
    raise StoreUnavailable; then nothing, or nothing that a repeat would not find, was written."""

    leases: bool
    """Whether registrations expire. Without, one worker at a time holds the whole store."""

    bulks: Bulks
    """The bulk operations of the namespace."""

    finder: Finder
    """Its sagas, for people who look among very many."""

    async def open(self, *, work: bool) -> None:
        """Connect and check; a file is migrated too. `work`: this process is going to register a worker.

        Raises WorkerRunning, SchemaMismatch, StoreDamaged, StoreUnavailable.
        """
        ...

    async def close(self) -> None:
        """Let go of everything. May be called twice."""
        ...

    async def schema(self) -> tuple[int, int, int]:
        """The schema's version and its floor, the oldest code that may use it, as they are, and the version that
        this code needs; 0 and 0 where there is none yet. Opens and changes nothing.

        Raises SchemaMismatch, StoreDamaged, StoreUnavailable.
        """
        ...

    async def upgrade(self) -> list[int]:
        """Bring the schema to this code's, open or not; gives the numbers of the migrations that were applied.

        Raises SchemaMismatch, StoreDamaged, StoreUnavailable.
        """
        ...

    def now(self) -> float:
        """The store's clock: seconds since 1970. It never steps back in one process."""
        ...

    # Plans

    async def add_plans(self, plans: Sequence[tuple[str, str, str]]) -> list[int]:
        """Register plans, `(fingerprint, name, body)`; gives their numbers, old or new."""
        ...

    async def plans(self) -> list[PlanRow]:
        """All registered plans."""
        ...

    # Keys of reply tokens

    async def token_keys(self) -> list[TokenKey]:
        """The keys that replies are authenticated with, the newest first; none where none was added."""
        ...

    async def add_token_key(self, name: str, secret: bytes, after: int) -> None:
        """Add a key behind the one numbered `after`, 0 for the first; where one is there by now, nothing is done.
        name: of the queue of replies; the first key's stays. The newest `TOKEN_KEYS_KEPT` are kept."""
        ...

    # Workers

    async def register(self, info: WorkerInfo) -> int:
        """A new worker number, never used before."""
        ...

    async def renew(self, worker: int, info: WorkerInfo) -> bool:
        """Extend the lease; False for a worker that was retired."""
        ...

    async def deregister(self, worker: int, *, survived: bool) -> None:
        """Say that a worker is gone for good without having died: it drained, or, `survived`,
        it found itself retired."""
        ...

    async def retire_expired(self, worker: int) -> list[int]:
        """Retire the workers that are gone, one by one and for good, on behalf of `worker`.
        Gives those that are retired and still own sagas. Without leases all others are gone.
        Raises Retired."""
        ...

    async def workers(self) -> list[WorkerRow]:
        """All registrations that matter: alive, or recorded by open sagas."""
        ...

    # Work

    async def commit(self, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        """Write a batch. `worker` is None for a client, which may only add sagas that nobody
        owns.

        Raises Retired, and ValueError for a client's write that is more than that.
        """
        ...

    async def commit_aside(self, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        """The same for one saga that was HELD, beside the batches that go on without it."""
        ...

    async def peek(self) -> Peek:
        """Whether there may be anything to claim or to answer: one cheap look."""
        ...

    async def claim(self, worker: int, plans: Collection[int], limit: int) -> list[Loaded]:
        """Become the owner of unowned open sagas that are due or have mail, the longest due
        first, then those that only have mail. `plans`: those the worker can run or move.
        Stalled sagas are left alone, unless their plan is in the worker's registration: then
        they come last. Raises Retired."""
        ...

    async def adopt(self, worker: int, gone: int, limit: int) -> list[Loaded]:
        """Become the owner of sagas that a retired worker owned; of none that a living one
        owns. Stalled ones are left alone, unless their plan is in the worker's registration.
        Raises Retired."""
        ...

    async def owned(self, worker: int, held: Collection[bytes]) -> list[Loaded]:
        """What the worker owns beside what it holds: claims and adoptions whose answer was lost."""
        ...

    async def stall(self, worker: int, saga: bytes, reason: str, gone: int | None = None) -> None:
        """Let go of a saga that this worker cannot run, and say why. It is not due any more,
        until `unstall`, so that looking for work does not meet it again and again. `gone`: the
        retired worker it was taken over from, to whom it falls back: whoever can run it must take
        it over too, since what was in flight is not settled. Raises Retired."""
        ...

    async def release(self, worker: int, sagas: Sequence[tuple[bytes, float | None]]) -> None:
        """Let go of sagas of which nothing is in flight; each is due for whoever comes at the
        instant beside it. Raises Retired."""
        ...

    async def unstall(self, plans: Collection[int]) -> int:
        """Have stalled sagas of these plans looked at again: they are due now. Gives how many."""
        ...

    async def rouse(self, plans: Collection[int]) -> int:
        """Have sagas of these plans looked at that run or go back, and only wait: they are due now.
        Gives how many. It is how a changed definition is told at once from one that fits."""
        ...

    async def owned_mail(self, worker: int) -> list[MailRow]:
        """Mail that nobody has taken, for sagas that the worker owns."""
        ...

    async def answer_ended(self, limit: int) -> int:
        """Answer `too late` to mail of ended sagas; gives how many."""
        ...

    # Reading and the outside

    async def send(self, mails: Sequence[NewMail]) -> list[MailRow | None]:
        """Put mails into the mailbox. A mail that was sent before is given as it is; None where there is no saga."""
        ...

    async def sent(self, key: str, message: str) -> MailRow | None:
        """One mail, with its answer if it has one."""
        ...

    def join(self, within: object) -> Joined | JoinedAsync:
        """A user's own transaction, to write into. Raises NotEnlisted for what is none on this very database."""
        ...

    async def mail(self, saga: bytes) -> list[MailRow]:
        """All mail of a saga, oldest first."""
        ...

    async def head(self, key: str) -> SagaRow | None:
        """The saga with this id of the user's."""
        ...

    async def load(self, key: str) -> Loaded | None:
        """A saga with its journal, without owning it."""
        ...

    async def find(self, wanted: Filter) -> list[SagaRow]:
        """Heads, newest first."""
        ...

    async def count(self, *, open_only: bool = False) -> dict[tuple[int, str], int]:
        """How many sagas there are, by plan and status. The open ones alone are counted without
        a look at those that ended."""
        ...

    async def lengths(self, sagas: Sequence[bytes]) -> list[int]:
        """How many rows the journal of each has, 0 where there is none."""
        ...

    async def overdue(self, before: float, limit: int) -> list[SagaRow]:
        """Open sagas that nobody owns and that were due before an instant, the longest due first: by the
        index that finds what is due, however many wait."""
        ...

    async def ended(self, before: float, after: bytes | None, limit: int) -> Ended:
        """Look for what may be forgotten, a stretch of `limit` sagas at a time, in the order of their internal
        ids and behind the saga `after`: those that ended before an instant."""
        ...

    async def prune(self, before: float, sagas: Sequence[bytes]) -> int:
        """Forget sagas, with their journals and mails, in one transaction; only those that ended before
        an instant. Gives how many."""
        ...

    async def check(self) -> list[Health]:
        """What `amends doctor` says about this store."""
        ...

    # Hints: never relied upon, a poll stands behind each

    def listen(self, callback: Callable[[str], None]) -> None:
        """Have `callback` called, on the loop, with "work" when there may be work, and with a
        saga's key when it came to rest or one of its mails was answered."""
        ...

    def hint(self, keys: Sequence[str], *, work: bool) -> None:
        """Wake the worker (`work`), and whoever watches one of these sagas."""
        ...

    def watch(self, key: str) -> None:
        """Ask to be called with this key."""
        ...
