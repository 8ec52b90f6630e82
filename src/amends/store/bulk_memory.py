"""Bulk operations in memory.

Guarantees: all that `bulk.py` says, as long as the process lives.
Must not: be used where anything may be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from amends.store.bulk import BulkRow, Counts, LogRow, NewBulk, NewTarget, TargetResult, TargetRow


@dataclass
class Kept:
    """One bulk operation."""

    row: BulkRow
    targets: dict[int, TargetRow] = field(default_factory=dict)
    log: list[LogRow] = field(default_factory=list)


class MemoryBulks:
    """The bulk operations of one namespace. kept: by key, the oldest first; several stores share them."""

    def __init__(self, kept: Callable[[], dict[str, Kept]], now: Callable[[], float]) -> None:
        self._kept = kept
        self._now = now

    async def add(self, new: NewBulk, runner: str, lease_seconds: float) -> BulkRow:
        now = self._now()
        row = BulkRow(new.key, new.state, new.body, 1, 0, 0, 0, 0, now, now, runner, now + lease_seconds)
        return self._kept().setdefault(new.key, Kept(row, log=[LogRow(1, now, new.line)])).row

    async def fill(self, key: str, state: str, runner: str, targets: Sequence[NewTarget], lease_seconds: float) -> bool:
        one = self._kept().get(key)
        if one is None or (one.row.state, one.row.runner) != (state, runner):
            return False
        one.row = one.row._replace(lease_until=self._now() + lease_seconds)
        for target in targets:
            one.targets.setdefault(target.n, TargetRow(*target, "", "", None))
        return True

    async def get(self, key: str) -> BulkRow | None:
        one = self._kept().get(key)
        return None if one is None else one.row

    async def newest(self, before: str | None, limit: int) -> list[BulkRow]:
        rows = [one.row for one in self._kept().values()]
        if before is not None:
            keys = [row.key for row in rows]
            rows = rows[: keys.index(before)] if before in keys else []
        return rows[::-1][:limit]

    async def move(self, key: str, version: int, state: str, line: bytes, total: int | None = None) -> bool:
        one = self._kept().get(key)
        if one is None or one.row.version != version:
            return False
        now, count = self._now(), one.row.total if total is None else total
        one.row = one.row._replace(state=state, version=version + 1, changed_at=now, total=count)
        one.log.append(LogRow(version + 1, now, line))
        return True

    async def take(
        self, states: Collection[str], runner: str, lease_seconds: float, key: str | None = None
    ) -> BulkRow | None:
        now = self._now()
        for one in self._kept().values():
            row = one.row
            free = row.runner is None or row.lease_until is None or row.lease_until < now
            if free and row.state in states and key in (None, row.key):
                one.row = row._replace(runner=runner, lease_until=now + lease_seconds)
                return one.row
        return None

    async def take_left(self, states: Collection[str], runner: str, lease_seconds: float) -> BulkRow | None:
        now = self._now()
        for one in self._kept().values():
            row = one.row
            if row.runner is not None and row.lease_until is not None and row.lease_until < now and row.state in states:
                one.row = row._replace(runner=runner, lease_until=now + lease_seconds)
                return one.row
        return None

    async def keep(self, key: str, runner: str, lease_seconds: float) -> bool:
        one = self._kept().get(key)
        if one is None or one.row.runner != runner:
            return False
        until = self._now() + lease_seconds if lease_seconds else None
        one.row = one.row._replace(lease_until=until, runner=runner if lease_seconds else None)
        return True

    async def record(
        self, key: str, runner: str, results: Sequence[TargetResult], counts: Counts, lease_seconds: float
    ) -> bool:
        if not await self.keep(key, runner, lease_seconds):
            return False
        one, now = self._kept()[key], self._now()
        one.row = one.row._replace(**counts._asdict(), changed_at=now)
        for n, word, detail in results:
            one.targets[n] = one.targets[n]._replace(word=word, detail=detail, at=now)
        return True

    async def targets(self, key: str, after: int, limit: int, words: Collection[str] | None = None) -> list[TargetRow]:
        one = self._kept().get(key)
        rows = [] if one is None else sorted(one.targets.values())
        return [row for row in rows if row.n > after and (words is None or row.word in words)][:limit]

    async def log(self, key: str) -> list[LogRow]:
        one = self._kept().get(key)
        return [] if one is None else list(one.log)

    async def forget(self, states: Collection[str], before: float, limit: int) -> int:
        rows = [one.row for one in self._kept().values()]
        old = [row.key for row in rows if row.state in states and row.changed_at < before][:limit]
        for key in old:
            del self._kept()[key]
        return len(old)
