"""Finding sagas in a PostgreSQL database, among very many.

Guarantees: all that `finding.py` says; each look is one statement, or two.
Must not: be needed by the hot path.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from amends.store.finding import Due, GroupRow, Place, Stretch, Tally, Wanted, full, just_below, tally
from amends.store.postgres_batch import fit
from amends.store.rows import SagaRow

Fetch = Callable[..., Awaitable[Sequence[Any]]]


class PostgresFinder:
    """Looking at the sagas of one namespace of a database. fetch: the rows of a named statement. namespace: its
    number."""

    def __init__(self, fetch: Fetch, namespace: Callable[[], int]) -> None:
        self._fetch = fetch
        self._namespace = namespace

    async def search(self, wanted: Wanted, look: int) -> Stretch:
        narrowed, end = wanted, None
        if wanted.among == "all":
            values = (self._namespace(), wanted.upper, wanted.lower, look)
            ends = await self._fetch("end_of_all", *values)
            if ends:
                end = Place(*ends[0])
                narrowed = wanted._replace(behind=just_below(end.id))
        found = await self._fetch(f"search_{wanted.among}", *_values(self._namespace(), narrowed))
        rows = tuple(SagaRow(*row) for row in found)
        return Stretch(rows, full(rows, wanted.limit) or end)

    async def groups(self, wanted: Wanted, limit: int) -> list[GroupRow]:
        rows = await self._fetch("groups", *_values(self._namespace(), wanted._replace(limit=limit)))
        return [GroupRow._make((*row[:4], bytes.fromhex(row[4].replace("-", "")))) for row in rows]

    async def heads(self, sagas: Sequence[bytes]) -> list[SagaRow]:
        return [SagaRow(*row) for row in await self._fetch("heads_by_id", self._namespace(), list(sagas))]

    async def beginnings(self, sagas: Sequence[bytes]) -> dict[bytes, bytes]:
        rows = await self._fetch("beginnings", self._namespace(), list(sagas))
        return {row[0]: row[1].encode() for row in rows}

    async def ended_per_minute(self, since: float, look: int) -> Tally:
        return tally(await self._fetch("ended_per_minute", self._namespace(), since, look), since, look)

    async def started_per_minute(self, since: float, look: int) -> Tally:
        values = (self._namespace(), since, look, Wanted(started_after=since).lower)
        return tally(await self._fetch("started_per_minute", *values), since, look)

    async def parked_per_minute(self, since: float, look: int) -> Tally:
        return tally(await self._fetch("parked_per_minute", self._namespace(), since, look), since, look)

    async def troubled(self) -> dict[str, int]:
        return {row[0]: row[1] for row in await self._fetch("troubled", self._namespace())}

    async def due(self, before: float, look: int) -> Due:
        return Due(*(await self._fetch("due_since", self._namespace(), before, look))[0])

    async def owned_by(self) -> dict[int, int]:
        return {row[0]: row[1] for row in await self._fetch("owned_by_each", self._namespace())}


def _values(ns: int, wanted: Wanted) -> tuple[object, ...]:
    """The parameters that all searches share, in their order. What the server's texts cannot hold fits none of them."""
    return (
        ns,
        wanted.upper,
        wanted.lower,
        [fit(status) for status in wanted.statuses] or None,
        None if wanted.plans is None else list(wanted.plans),
        [fit(one) for one in wanted.fingerprints] or None,
        [fit(step) for step in wanted.steps] or None,
        fit(wanted.prefix) or None,
        fit(wanted.assigned),
        wanted.trouble,
        wanted.started_after,
        wanted.started_before,
        wanted.changed_before,
        wanted.limit,
    )
