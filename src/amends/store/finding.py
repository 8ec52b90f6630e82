"""Finding sagas among very many, and counting what happens: what a store does for people who look.

Guarantees that every implementation gives, and the conformance suite checks:
- A look costs what it may find, or a stretch that the caller bounds, however many sagas have ended.
- What is looked for is a value in a parameter, whatever stands in it; nothing of another namespace is ever found.
Must not: know what a journal row says, or what counts as trouble.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from amends.store.rows import AFTER_ALL, CLOCK_SECONDS, OPEN, SagaRow, id_bound

BEFORE_ALL = bytes(16)


class Wanted(NamedTuple):
    """Which heads are looked for, newest first: `limit` of them at most. What is None or empty narrows nothing.

    prefix: how the user's id begins. assigned: empty for nobody. trouble: with a stuck step, parked or stalled.
    before, behind: internal ids, only those older and newer than that.
    """

    statuses: tuple[str, ...] = ()
    plans: tuple[int, ...] | None = None
    fingerprints: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    prefix: str = ""
    assigned: str | None = None
    trouble: bool = False
    started_after: float | None = None
    started_before: float | None = None
    changed_before: float | None = None
    before: bytes | None = None
    behind: bytes | None = None
    limit: int = 50

    @property
    def among(self) -> str:
        """The smallest part of the sagas in which all of them are: with something wrong, in trouble, open, or all."""
        if not self.statuses or not set(self.statuses) <= set(OPEN):
            return "all"
        if self.fingerprints or self.steps:
            return "wrong"
        return "trouble" if self.trouble else "open"

    @property
    def upper(self) -> bytes:
        """An internal id that all of them are below: ids begin with when they were made."""
        bound = AFTER_ALL if self.started_before is None else id_bound(self.started_before)
        return bound if self.before is None else min(bound, self.before)

    @property
    def lower(self) -> bytes:
        """An internal id that all of them are above."""
        at = None if self.started_after is None else self.started_after - 2 * CLOCK_SECONDS
        bound = BEFORE_ALL if at is None or at < -CLOCK_SECONDS else id_bound(at)
        return bound if self.behind is None else max(bound, self.behind)


class Place(NamedTuple):
    """Where a look has ended: behind this saga the next one begins."""

    id: bytes
    key: str


class Stretch(NamedTuple):
    """What a look has found. last: None where there is nothing behind it that fits."""

    rows: tuple[SagaRow, ...]
    last: Place | None


class GroupRow(NamedTuple):
    """Open sagas with one fingerprint. first_at, last_at: of their changes. newest: an internal id."""

    fingerprint: str
    sagas: int
    first_at: float
    last_at: float
    newest: bytes


class Tally(NamedTuple):
    """How many per minute since an instant, the first minute is 0. since: the instant from which on all are counted,
    a later one where there were more than were looked at. more: there were."""

    counts: Mapping[tuple[str, int], int]
    since: float
    more: bool


class Due(NamedTuple):
    """Sagas that were due and nobody owns. oldest: when the first was, None where there is none."""

    sagas: int
    oldest: float | None


class Finder(Protocol):
    """Looking at the sagas of one namespace. All methods may raise StoreUnavailable."""

    async def search(self, wanted: Wanted, look: int) -> Stretch:
        """Heads that fit, newest first, among the next `look` at least of those that may."""
        ...

    async def groups(self, wanted: Wanted, limit: int) -> list[GroupRow]:
        """The open sagas that fit and of which something went wrong, by fingerprint: the largest groups first. Of
        `wanted` the ends of the list do not count."""
        ...

    async def heads(self, sagas: Sequence[bytes]) -> list[SagaRow]:
        """The heads of some sagas, by their internal ids, in any order; of those that are there."""
        ...

    async def beginnings(self, sagas: Sequence[bytes]) -> dict[bytes, bytes]:
        """The first journal row of some sagas."""
        ...

    async def ended_per_minute(self, since: float, look: int) -> Tally:
        """What has ended since an instant, by status and minute: the newest `look`."""
        ...

    async def started_per_minute(self, since: float, look: int) -> Tally:
        """What has begun since an instant, as `started`, by minute: the newest `look`."""
        ...

    async def parked_per_minute(self, since: float, look: int) -> Tally:
        """What was parked since an instant and still is, as `parked`, by minute: `look` of them."""
        ...

    async def troubled(self) -> dict[str, int]:
        """How many open sagas are `stalled`, how many of the others are `parked`, and in how many of the rest a step is
        `stuck`."""
        ...

    async def due(self, before: float, look: int) -> Due:
        """What nobody owns and was due before an instant; no more than `look` are counted."""
        ...

    async def owned_by(self) -> dict[int, int]:
        """How many open sagas each worker owns that owns any."""
        ...


def tally(rows: Iterable[Sequence[Any]], since: float, look: int) -> Tally:
    """What rows of word, minute, count and first instant come to, of at most `look` that were looked at."""
    found = list(rows)
    more = sum(row[2] for row in found) >= look
    first = min((row[3] for row in found), default=since) if more else since
    return Tally({(row[0], int(row[1])): int(row[2]) for row in found}, first, more)


def full(rows: Sequence[SagaRow], limit: int) -> Place | None:
    """Where to go on behind as many rows as were asked for; None where there are fewer."""
    return Place(rows[-1].id, rows[-1].key) if rows and len(rows) == limit else None


def just_below(saga: bytes) -> bytes:
    """The greatest id below an internal id."""
    return max(int.from_bytes(saga, "big") - 1, 0).to_bytes(16, "big")


def fits(wanted: Wanted, row: SagaRow) -> bool:
    """Whether a head is one that is looked for, wherever in the list it stands."""
    return (
        (not wanted.statuses or row.status in wanted.statuses)
        and (wanted.plans is None or row.plan in wanted.plans)
        and (not wanted.fingerprints or row.fingerprint in wanted.fingerprints)
        and (not wanted.steps or row.step in wanted.steps)
        and row.key.startswith(wanted.prefix)
        and (wanted.assigned is None or (row.assigned or "") == wanted.assigned)
        and (not wanted.trouble or in_trouble(row))
        and (wanted.started_after is None or row.created_at >= wanted.started_after)
        and (wanted.started_before is None or row.created_at < wanted.started_before)
        and (wanted.changed_before is None or row.updated_at < wanted.changed_before)
    )


def in_trouble(row: SagaRow) -> bool:
    """Whether a head has a stuck step, is parked or stalled."""
    return row.stuck is not None or row.stalled is not None
