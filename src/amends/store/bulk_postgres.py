"""Bulk operations in a PostgreSQL database.

Guarantees: all that `bulk.py` says; each change but `forget` is one statement that commits by itself.
Must not: be needed by the hot path.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from amends.store.bulk import FORGET_ROWS, BulkRow, Counts, LogRow, NewBulk, NewTarget, TargetResult, TargetRow
from amends.store.postgres_batch import fit

Fetch = Callable[..., Awaitable[Sequence[Any]]]


class PostgresBulks:
    """The bulk operations of one namespace of a database. fetch: the rows of a named statement. namespace: its
    number."""

    def __init__(self, fetch: Fetch, namespace: Callable[[], int]) -> None:
        self._fetch = fetch
        self._namespace = namespace

    async def add(self, new: NewBulk, runner: str, lease_seconds: float) -> BulkRow:
        body, line = new.body.decode(), new.line.decode()
        await self._fetch("bulk_add", self._namespace(), new.key, new.state, body, line, runner, lease_seconds)
        return _row((await self._fetch("bulk_get", self._namespace(), new.key))[0])

    async def fill(self, key: str, state: str, runner: str, targets: Sequence[NewTarget], lease_seconds: float) -> bool:
        numbers, versions = [target.n for target in targets], [target.version for target in targets]
        sagas = [target.saga for target in targets]
        values = (self._namespace(), key, state, runner, lease_seconds, numbers, sagas, versions)
        return bool((await self._fetch("bulk_fill", *values))[0][0])

    async def get(self, key: str) -> BulkRow | None:
        rows = await self._fetch("bulk_get", self._namespace(), key)
        return _row(rows[0]) if rows else None

    async def newest(self, before: str | None, limit: int) -> list[BulkRow]:
        return [_row(row) for row in await self._fetch("bulk_newest", self._namespace(), before, limit)]

    async def move(self, key: str, version: int, state: str, line: bytes, total: int | None = None) -> bool:
        values = (self._namespace(), key, version, state, line.decode(), total)
        return bool((await self._fetch("bulk_move", *values))[0][0])

    async def take(
        self, states: Collection[str], runner: str, lease_seconds: float, key: str | None = None
    ) -> BulkRow | None:
        values = (self._namespace(), sorted(states), runner, lease_seconds)
        rows = await (self._fetch("bulk_take", *values) if key is None else self._fetch("bulk_take_one", *values, key))
        return _row(rows[0]) if rows else None

    async def take_left(self, states: Collection[str], runner: str, lease_seconds: float) -> BulkRow | None:
        rows = await self._fetch("bulk_take_left", self._namespace(), sorted(states), runner, lease_seconds)
        return _row(rows[0]) if rows else None

    async def keep(self, key: str, runner: str, lease_seconds: float) -> bool:
        if lease_seconds:
            return bool(await self._fetch("bulk_keep", self._namespace(), key, runner, lease_seconds))
        return bool(await self._fetch("bulk_let_go", self._namespace(), key, runner))

    async def record(
        self, key: str, runner: str, results: Sequence[TargetResult], counts: Counts, lease_seconds: float
    ) -> bool:
        columns = (
            [result.n for result in results],
            [result.word for result in results],
            [fit(result.detail) for result in results],
        )
        values = (self._namespace(), key, runner, *counts, lease_seconds, *columns)
        return bool((await self._fetch("bulk_record", *values))[0][0])

    async def targets(self, key: str, after: int, limit: int, words: Collection[str] | None = None) -> list[TargetRow]:
        wanted = None if words is None else sorted(words)
        rows = await self._fetch("bulk_targets", self._namespace(), key, after, limit, wanted)
        return [TargetRow(*row) for row in rows]

    async def log(self, key: str) -> list[LogRow]:
        rows = await self._fetch("bulk_log", self._namespace(), key)
        return [LogRow(version, at, line.encode()) for version, at, line in rows]

    async def forget(self, states: Collection[str], before: float, limit: int) -> int:
        gone = 0
        for number, last in await self._fetch("bulk_old", self._namespace(), sorted(states), before, limit):
            for start in range(0, last, FORGET_ROWS):
                await self._fetch("bulk_forget_targets", number, start, start + FORGET_ROWS)
            gone += len(await self._fetch("bulk_forget", number))
        return gone


def _row(row: Sequence[Any]) -> BulkRow:
    key, state, body, *rest = row
    return BulkRow(key, state, body.encode(), *rest)
