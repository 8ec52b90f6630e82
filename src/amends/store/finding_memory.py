"""Finding sagas in memory.

Guarantees: all that `finding.py` says, but for the cost of a look.
Must not: be used where anything may be lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from amends.store.finding import Due, GroupRow, Place, Stretch, Tally, Wanted, fits, full, in_trouble
from amends.store.rows import OPEN, SagaRow

if TYPE_CHECKING:
    from amends.store.memory_database import MemoryDatabase


class MemoryFinder:
    """Looking at the sagas of a `MemoryDatabase`."""

    def __init__(self, database: Callable[[], MemoryDatabase]) -> None:
        self._database = database

    async def search(self, wanted: Wanted, look: int) -> Stretch:
        sagas = (self._database().sagas if wanted.among == "all" else self._database().open).values()
        there = sorted((row for row in sagas if _between(wanted, row)), key=lambda row: row.id, reverse=True)
        stretch = there[:look]
        end = Place(stretch[-1].id, stretch[-1].key) if len(stretch) == look else None
        rows = tuple([row for row in stretch if fits(wanted, row)][: wanted.limit])
        return Stretch(rows, full(rows, wanted.limit) or end)

    async def groups(self, wanted: Wanted, limit: int) -> list[GroupRow]:
        found: dict[str, list[SagaRow]] = {}
        for row in self._database().open.values():
            if row.fingerprint is not None and _between(wanted, row) and fits(wanted, row):
                found.setdefault(row.fingerprint, []).append(row)
        groups = [
            GroupRow(
                fingerprint,
                len(rows),
                min(row.updated_at for row in rows),
                max(row.updated_at for row in rows),
                max(row.id for row in rows),
            )
            for fingerprint, rows in found.items()
        ]
        return sorted(groups, key=lambda group: (-group.sagas, group.fingerprint))[:limit]

    async def heads(self, sagas: Sequence[bytes]) -> list[SagaRow]:
        there = self._database().sagas
        return [there[saga] for saga in sagas if saga in there]

    async def beginnings(self, sagas: Sequence[bytes]) -> dict[bytes, bytes]:
        journal = self._database().journal
        return {saga: journal[saga][0][1] for saga in sagas if journal.get(saga)}

    async def ended_per_minute(self, since: float, look: int) -> Tally:
        rows = [row for row in self._database().sagas.values() if row.status not in OPEN]
        return _tally(((row.status, row.updated_at) for row in rows), since, look)

    async def started_per_minute(self, since: float, look: int) -> Tally:
        return _tally((("started", row.created_at) for row in self._database().sagas.values()), since, look)

    async def parked_per_minute(self, since: float, look: int) -> Tally:
        rows = [row for row in self._database().open.values() if row.status == "parked" and row.fingerprint]
        return _tally((("parked", row.updated_at) for row in rows), since, look)

    async def troubled(self) -> dict[str, int]:
        return dict(Counter(_trouble(row) for row in self._database().open.values() if in_trouble(row)))

    async def due(self, before: float, look: int) -> Due:
        rows = [row for row in self._database().open.values() if row.owner is None and row.wake_at is not None]
        due = sorted(row.wake_at or 0.0 for row in rows if (row.wake_at or 0.0) < before)
        return Due(len(due[:look]), due[0] if due else None)

    async def owned_by(self) -> dict[int, int]:
        return dict(Counter(row.owner for row in self._database().open.values() if row.owner is not None))


def _trouble(row: SagaRow) -> str:
    return "stalled" if row.stalled is not None else "parked" if row.status == "parked" else "stuck"


def _between(wanted: Wanted, row: SagaRow) -> bool:
    return (wanted.before is None or row.id < wanted.before) and (wanted.behind is None or row.id > wanted.behind)


def _tally(events: Iterable[tuple[str, float]], since: float, look: int) -> Tally:
    newest = sorted((event for event in events if event[1] >= since), key=lambda event: event[1], reverse=True)[:look]
    more = len(newest) >= look
    counts = Counter((word, int((at - since) / 60)) for word, at in newest)
    return Tally(counts, newest[-1][1] if more and newest else since, more)
