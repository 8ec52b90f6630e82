"""Finding sagas in a SQLite file, among very many.

Guarantees: all that `finding.py` says; statements are short, so that a commit never waits long for a reader.
Must not: be needed by the hot path.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from amends.store.finding import Due, GroupRow, Place, Stretch, Tally, Wanted, full, just_below, tally
from amends.store.rows import AFTER_ALL, SagaRow
from amends.store.sql import statements

SQL = statements("sqlite_finding")
Job = Callable[[sqlite3.Connection], Any]
_TO_THE_END = AFTER_ALL + b"\xff"  # later than any internal id


class SqliteFinder:
    """Looking at the sagas of one namespace of a file. read: runs a job that only reads. namespace: its number."""

    def __init__(self, read: Callable[[Job], Awaitable[Any]], namespace: Callable[[], int]) -> None:
        self._read = read
        self._namespace = namespace

    async def search(self, wanted: Wanted, look: int) -> Stretch:
        ns = self._namespace()

        def job(connection: sqlite3.Connection) -> Stretch:
            if wanted.among in ("wrong", "trouble"):
                name = "search_fingerprint" if wanted.fingerprints else f"search_{wanted.among}"
                rows = _rows(connection.execute(SQL[name], _values(ns, wanted)))
                return Stretch(rows, full(rows, wanted.limit))
            end = _end(connection, ns, wanted, look)
            if wanted.among == "open":
                rows = _rows(connection.execute(SQL["search_open"], (*_values(ns, wanted), look)))
            else:
                narrowed = wanted if end is None else wanted._replace(behind=just_below(end.id))
                rows = _rows(connection.execute(SQL["search_all"], _values(ns, narrowed)))
            return Stretch(rows, full(rows, wanted.limit) or end)

        found: Stretch = await self._read(job)
        return found

    async def groups(self, wanted: Wanted, limit: int) -> list[GroupRow]:
        plain = Wanted(statuses=wanted.statuses, plans=wanted.plans)
        if wanted._replace(before=None, behind=None, limit=plain.limit) == plain:
            values = _values(self._namespace(), plain)
            rows = await self._all("groups", values[0], *values[3:5], limit)
        else:
            rows = await self._all("groups_narrow", *_values(self._namespace(), wanted._replace(limit=limit)))
        return [GroupRow(*row) for row in rows]

    async def heads(self, sagas: Sequence[bytes]) -> list[SagaRow]:
        ns = self._namespace()

        def job(connection: sqlite3.Connection) -> list[SagaRow]:
            found = (connection.execute(SQL["head_by_id"], (ns, saga)).fetchone() for saga in sagas)
            return [SagaRow(*row) for row in found if row is not None]

        heads: list[SagaRow] = await self._read(job)
        return heads

    async def beginnings(self, sagas: Sequence[bytes]) -> dict[bytes, bytes]:
        ns = self._namespace()

        def job(connection: sqlite3.Connection) -> dict[bytes, bytes]:
            found = {saga: connection.execute(SQL["beginning"], (ns, saga)).fetchone() for saga in sagas}
            return {saga: row[0].encode() for saga, row in found.items() if row is not None}

        rows: dict[bytes, bytes] = await self._read(job)
        return rows

    async def ended_per_minute(self, since: float, look: int) -> Tally:
        return tally(await self._all("ended_per_minute", self._namespace(), since, look), since, look)

    async def started_per_minute(self, since: float, look: int) -> Tally:
        values = (self._namespace(), since, look, Wanted(started_after=since).lower)
        return tally(await self._all("started_per_minute", *values), since, look)

    async def parked_per_minute(self, since: float, look: int) -> Tally:
        return tally(await self._all("parked_per_minute", self._namespace(), since, look), since, look)

    async def troubled(self) -> dict[str, int]:
        return {row[0]: row[1] for row in await self._all("troubled", self._namespace())}

    async def due(self, before: float, look: int) -> Due:
        return Due(*(await self._all("due_since", self._namespace(), before, look))[0])

    async def owned_by(self) -> dict[int, int]:
        return {row[0]: row[1] for row in await self._all("owned_by_each", self._namespace())}

    async def _all(self, name: str, *values: object) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = await self._read(lambda connection: list(connection.execute(SQL[name], values)))
        return found


def _end(connection: sqlite3.Connection, ns: int, wanted: Wanted, look: int) -> Place | None:
    """The saga that a stretch of `look` ends at; None where fewer are left."""
    values: tuple[object, ...] = (*_values(ns, wanted)[:3], look)
    if wanted.among == "open":
        values = (*values, *_values(ns, wanted)[3:5])
    row = connection.execute(SQL[f"end_of_{wanted.among}"], values).fetchone()
    return None if row is None else Place(*row)


def _values(ns: int, wanted: Wanted) -> tuple[object, ...]:
    """The parameters that all searches share, in their order."""
    upper = wanted.upper
    return (
        ns,
        _TO_THE_END if upper == AFTER_ALL else upper,
        wanted.lower,
        json.dumps(wanted.statuses) if wanted.statuses else None,
        None if wanted.plans is None else json.dumps(wanted.plans),
        json.dumps(wanted.fingerprints) if wanted.fingerprints else None,
        json.dumps(wanted.steps) if wanted.steps else None,
        wanted.prefix or None,
        wanted.assigned,
        int(wanted.trouble),
        wanted.started_after,
        wanted.started_before,
        wanted.changed_before,
        wanted.limit,
    )


def _rows(found: Iterable[tuple[Any, ...]]) -> tuple[SagaRow, ...]:
    return tuple(SagaRow(*row) for row in found)
