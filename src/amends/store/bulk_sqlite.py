"""Bulk operations in a SQLite file.

Guarantees: all that `bulk.py` says; looking for one that nobody works at writes nothing where there is none.
Must not: be needed by the hot path.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, TypeVar

from amends.store.bulk import FORGET_ROWS, BulkRow, Counts, LogRow, NewBulk, NewTarget, TargetResult, TargetRow
from amends.store.sql import statements

T = TypeVar("T")
SQL = statements("sqlite_bulk")
Job = Callable[[sqlite3.Connection], Any]


class SqliteBulks:
    """The bulk operations of one namespace of a file. read, write: run a job in a transaction. namespace: its
    number."""

    def __init__(
        self,
        read: Callable[[Job], Awaitable[Any]],
        write: Callable[[Job], Awaitable[Any]],
        namespace: Callable[[], int],
        now: Callable[[], float],
    ) -> None:
        self._read = read
        self._write = write
        self._namespace = namespace
        self._now = now

    async def add(self, new: NewBulk, runner: str, lease_seconds: float) -> BulkRow:
        ns, now = self._namespace(), self._now()
        values = (ns, new.key, new.state, new.body.decode(), now, runner, now + lease_seconds)

        def job(connection: sqlite3.Connection) -> BulkRow:
            if connection.execute(SQL["bulk_add"], values).rowcount:
                connection.execute(SQL["bulk_log_add"], (ns, new.key, now, new.line.decode()))
            return _row(connection.execute(SQL["bulk_get"], (ns, new.key)).fetchone())

        found: BulkRow = await self._write(job)
        return found

    async def fill(self, key: str, state: str, runner: str, targets: Sequence[NewTarget], lease_seconds: float) -> bool:
        ns, until = self._namespace(), self._now() + lease_seconds

        def job(connection: sqlite3.Connection) -> bool:
            if not connection.execute(SQL["bulk_hold"], (ns, key, state, runner, until)).rowcount:
                return False
            connection.executemany(SQL["bulk_target_add"], [(ns, key, *target) for target in targets])
            return True

        return bool(await self._write(job))

    async def get(self, key: str) -> BulkRow | None:
        rows = await self._rows("bulk_get", self._namespace(), key)
        return _row(rows[0]) if rows else None

    async def newest(self, before: str | None, limit: int) -> list[BulkRow]:
        return [_row(row) for row in await self._rows("bulk_newest", self._namespace(), before, limit)]

    async def move(self, key: str, version: int, state: str, line: bytes, total: int | None = None) -> bool:
        ns, now = self._namespace(), self._now()

        def job(connection: sqlite3.Connection) -> bool:
            moved = connection.execute(SQL["bulk_move"], (ns, key, version, state, now, total)).rowcount
            if moved:
                connection.execute(SQL["bulk_log_add"], (ns, key, now, line.decode()))
            return bool(moved)

        return bool(await self._write(job))

    async def take(
        self, states: Collection[str], runner: str, lease_seconds: float, key: str | None = None
    ) -> BulkRow | None:
        ns, wanted = self._namespace(), json.dumps(sorted(states))
        if key is not None:
            return await self._own("bulk_free_one", lambda: (ns, wanted, self._now(), key), runner, lease_seconds)
        return await self._own("bulk_free", lambda: (ns, wanted, self._now()), runner, lease_seconds)

    async def take_left(self, states: Collection[str], runner: str, lease_seconds: float) -> BulkRow | None:
        ns, wanted = self._namespace(), json.dumps(sorted(states))
        return await self._own("bulk_left", lambda: (ns, wanted, self._now()), runner, lease_seconds)

    async def _own(
        self, found_by: str, values: Callable[[], tuple[object, ...]], runner: str, lease_seconds: float
    ) -> BulkRow | None:
        """Take the one that a statement finds."""
        ns = self._namespace()

        def look(connection: sqlite3.Connection) -> str | None:
            row = connection.execute(SQL[found_by], values()).fetchone()
            return None if row is None else str(row[0])

        def own(connection: sqlite3.Connection) -> BulkRow | None:
            found = look(connection)
            if found is None:
                return None
            connection.execute(SQL["bulk_own"], (ns, found, runner, self._now() + lease_seconds))
            return _row(connection.execute(SQL["bulk_get"], (ns, found)).fetchone())

        if await self._read(look) is None:
            return None
        taken: BulkRow | None = await self._write(own)
        return taken

    async def keep(self, key: str, runner: str, lease_seconds: float) -> bool:
        ns = self._namespace()
        if lease_seconds:
            return bool(await self._change("bulk_keep", ns, key, runner, self._now() + lease_seconds))
        return bool(await self._change("bulk_let_go", ns, key, runner))

    async def record(
        self, key: str, runner: str, results: Sequence[TargetResult], counts: Counts, lease_seconds: float
    ) -> bool:
        ns, now = self._namespace(), self._now()

        def job(connection: sqlite3.Connection) -> bool:
            values = (ns, key, runner, *counts, now, now + lease_seconds)
            if not connection.execute(SQL["bulk_count"], values).rowcount:
                return False
            connection.executemany(SQL["bulk_record"], [(ns, key, *result, now) for result in results])
            return True

        return bool(await self._write(job))

    async def targets(self, key: str, after: int, limit: int, words: Collection[str] | None = None) -> list[TargetRow]:
        wanted = None if words is None else json.dumps(sorted(words))
        rows = await self._rows("bulk_targets", self._namespace(), key, after, limit, wanted)
        return [TargetRow(*row) for row in rows]

    async def log(self, key: str) -> list[LogRow]:
        rows = await self._rows("bulk_log", self._namespace(), key)
        return [LogRow(version, at, line.encode()) for version, at, line in rows]

    async def forget(self, states: Collection[str], before: float, limit: int) -> int:
        gone = 0
        for number, last in await self._rows("bulk_old", self._namespace(), json.dumps(sorted(states)), before, limit):
            for start in range(0, last, FORGET_ROWS):
                await self._change("bulk_forget_targets", number, start, start + FORGET_ROWS)
            gone += await self._forget_row(number)
        return gone

    async def _forget_row(self, number: int) -> int:
        def job(connection: sqlite3.Connection) -> int:
            connection.execute(SQL["bulk_forget_log"], (number,))
            return connection.execute(SQL["bulk_forget"], (number,)).rowcount

        return int(await self._write(job))

    async def _rows(self, name: str, *values: object) -> list[tuple[Any, ...]]:
        def job(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
            return connection.execute(SQL[name], values).fetchall()

        rows: list[tuple[Any, ...]] = await self._read(job)
        return rows

    async def _change(self, name: str, *values: object) -> int:
        return int(await self._write(lambda connection: connection.execute(SQL[name], values).rowcount))


def _row(row: Sequence[Any]) -> BulkRow:
    return BulkRow(row[0], row[1], row[2].encode(), *row[3:])
