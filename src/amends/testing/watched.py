"""The simulation's store, which watches what passes.

Guarantees: whatever a worker does that has lost its registration is seen at once; what a worker
knew of the others' deaths, when it looked, is remembered.
Must not: change what the store does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from amends.store.base import Fate, Loaded, WorkerInfo, WorkerRow, Write
from amends.store.memory import MemoryDatabase, MemoryStore


@dataclass
class Witness:
    """What was seen in one run.

    looks: by worker, when it looked at the others, and which of them had left or survived.
    """

    looks: dict[int, list[tuple[float, frozenset[int]]]] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)

    def knew(self, worker: int, at: float) -> frozenset[int]:
        """Who had not died, as a worker knew it at an instant."""
        before = [left for instant, left in self.looks.get(worker, []) if instant <= at]
        return before[-1] if before else frozenset()


class WatchedStore(MemoryStore):
    """A connection of one simulated process."""

    def __init__(self, database: MemoryDatabase, witness: Witness) -> None:
        super().__init__(database)
        self._witness = witness
        self._worker = 0

    async def register(self, info: WorkerInfo) -> int:
        self._worker = await super().register(info)
        return self._worker

    async def renew(self, worker: int, info: WorkerInfo) -> bool:
        gone = self._is_gone(worker)
        renewed = await super().renew(worker, info)
        self._see(gone and renewed, f"worker {worker} has lost its registration, and renewed it")
        return renewed

    async def workers(self) -> list[WorkerRow]:
        rows = await super().workers()
        left = frozenset(row.id for row in rows if row.survived or row.left_at is not None)
        self._witness.looks.setdefault(self._worker, []).append((self.now(), left))
        return rows

    async def commit(self, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        gone = self._is_gone(worker)
        fates = await super().commit(worker, writes)
        self._see(gone, f"worker {worker} has lost its registration, and wrote")
        return fates

    async def release(self, worker: int, sagas: Sequence[tuple[bytes, float | None]]) -> None:
        gone = self._is_gone(worker)
        await super().release(worker, sagas)
        self._see(gone, f"worker {worker} has lost its registration, and let sagas go")

    async def adopt(self, worker: int, gone: int, limit: int) -> list[Loaded]:
        lost = self._is_gone(worker)
        found = await super().adopt(worker, gone, limit)
        self._see(lost, f"worker {worker} has lost its registration, and took sagas over")
        self._see(bool(found) and not self._is_gone(gone), f"sagas were taken over from {gone}, which was not retired")
        return found

    def _is_gone(self, worker: int | None) -> bool:
        return worker is not None and self._db.workers[worker].retired_at is not None

    def _see(self, happened: bool, what: str) -> None:
        if happened:
            self._witness.breaches.append(what)
