"""What a store keeps of bulk operations: one row each, their targets, and a log of what happened to them.

The words. Whoever works at a bulk operation is its *runner*: a name drawn anew for each time that one takes it, with a
lease. What the runner writes is written only as long as that name stands in the row; so two that take each other for
dead never count one result twice.

Guarantees that every implementation gives, and the conformance suite checks:
- What a call has returned from is durable, and, but for `forget`, written as a whole.
- `move` changes the row only from the version that was read; each version has one line in the log.
- A lease is over by the store's clock, and by nothing else.
Must not: know what a state means, what a result counts as, or what is in a body.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

FORGET_ROWS = 1000  # targets that one transaction deletes


class NewBulk(NamedTuple):
    """A bulk operation that does not exist yet. body: what is to be done. line: the first of its log."""

    key: str
    state: str
    body: bytes
    line: bytes


class BulkRow(NamedTuple):
    """One as it is read. version: of the last line of its log. lease_until: of the runner; None where nobody has it."""

    key: str
    state: str
    body: bytes
    version: int
    total: int
    done: int
    refused: int
    failed: int
    created_at: float
    changed_at: float
    runner: str | None
    lease_until: float | None


class NewTarget(NamedTuple):
    """One saga that is to be acted on. n: its number, from 1. version: that it had when it was written down."""

    n: int
    saga: str
    version: int


class TargetRow(NamedTuple):
    """One as it is read. word: what became of it; empty where nothing has yet."""

    n: int
    saga: str
    version: int
    word: str
    detail: str
    at: float | None


class TargetResult(NamedTuple):
    """What became of a target."""

    n: int
    word: str
    detail: str


class LogRow(NamedTuple):
    """One line of the log."""

    version: int
    at: float
    line: bytes


class Counts(NamedTuple):
    """How far it is, as the runner has counted."""

    done: int
    refused: int
    failed: int


class Bulks(Protocol):
    """The bulk operations of one namespace. All methods may raise StoreUnavailable."""

    async def add(self, new: NewBulk, runner: str, lease_seconds: float) -> BulkRow:
        """Add one, held by a runner. One that is there under this key is given as it is."""
        ...

    async def fill(self, key: str, state: str, runner: str, targets: Sequence[NewTarget], lease_seconds: float) -> bool:
        """Add targets, and extend the lease. False, and nothing, where it is in another state or another runner's."""
        ...

    async def get(self, key: str) -> BulkRow | None:
        """One by its key."""
        ...

    async def newest(self, before: str | None, limit: int) -> list[BulkRow]:
        """The newest first; those older than the one with the key `before`."""
        ...

    async def move(self, key: str, version: int, state: str, line: bytes, total: int | None = None) -> bool:
        """Change the state, with a line in the log. False where the version is another by now. total: of its targets,
        where they are counted now."""
        ...

    async def take(
        self, states: Collection[str], runner: str, lease_seconds: float, key: str | None = None
    ) -> BulkRow | None:
        """Become the runner of the oldest in one of these states, which are those in which one is worked at, that
        nobody has, or whose lease is over. key: of this one alone, whichever states those are. None where there is
        none."""
        ...

    async def take_left(self, states: Collection[str], runner: str, lease_seconds: float) -> BulkRow | None:
        """Become the runner of the oldest in one of these states whose runner has not let go, and whose lease is over.
        None where there is none."""
        ...

    async def keep(self, key: str, runner: str, lease_seconds: float) -> bool:
        """Extend the lease; with 0 seconds, let go. False where it is another runner's."""
        ...

    async def record(
        self, key: str, runner: str, results: Sequence[TargetResult], counts: Counts, lease_seconds: float
    ) -> bool:
        """Write down what became of targets, and how far it is with them, and extend the lease. False, and nothing,
        where it is another runner's."""
        ...

    async def targets(self, key: str, after: int, limit: int, words: Collection[str] | None = None) -> list[TargetRow]:
        """Its targets behind the number `after`, in order. words: only those of which this is known; an empty one
        stands for nothing yet."""
        ...

    async def log(self, key: str) -> list[LogRow]:
        """What happened to it, in order."""
        ...

    async def forget(self, states: Collection[str], before: float, limit: int) -> int:
        """Forget those in one of these states to which nothing has happened since an instant, the oldest first, with
        their targets and logs. Gives how many. It is no one transaction: targets go first, at most `FORGET_ROWS` at
        once, and the row goes last; so whatever comes in between, it is forgotten the next time."""
        ...
