"""Writing a batch into PostgreSQL: one statement, and what to make of it where not all came through.

Guarantees: `base.py`'s for `commit`. What is not written as a whole is looked for by its operation
numbers, by a statement that begins after: then it is known what stands in the way, and what was
written before by the same hand.
Must not: wait for a user's transaction: what such a one holds up is given back as HELD.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from amends.store.base import Fate, Retired, Write
from amends.store.postgres_batch import Batch, starts
from amends.store.postgres_clock import ServerClock
from amends.store.postgres_errors import LockNotHad, ValuesRefused
from amends.store.postgres_line import Line

_log = logging.getLogger("amends.store")


class BatchWriter:
    """Writes batches of one namespace over one line."""

    def __init__(self, line: Line, namespace: int, clock: ServerClock) -> None:
        self._line = line
        self._namespace = namespace
        self._clock = clock

    async def write(self, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        """Write all, in order; of what has to wait for somebody, nothing. Raises Retired, StoreError."""
        try:
            return await self._write(worker, writes)
        except LockNotHad:
            return await self._split(worker, writes)
        except ValuesRefused as error:
            return await self._isolate(worker, writes, error)

    async def _write(self, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        if worker is None:
            columns = starts(writes)
            sagas = sent = len(columns[0])
            rows = await self._line.fetch("start", self._namespace, self._clock.now(), *columns)
            written, instant = rows[0]
            self._clock.heard(instant)
        else:
            batch = Batch(writes)
            sagas, sent = batch.sagas, batch.rows
            rows = await self._line.fetch("commit", self._namespace, worker, self._clock.now(), *batch.columns)
            alive, written = rows[0]
            if not alive:
                raise Retired(f"worker {worker} is not registered any more")
        if written == sagas and sent == len(writes):  # the usual end: nothing lost, and nothing left out
            return [Fate.WRITTEN] * len(writes)
        return await self._settle(worker, writes)

    async def _settle(self, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        """What became of each write, by what is there."""
        columns = [write.saga for write in writes], [write.seq for write in writes]
        rows = await self._line.fetch("journal_ops", self._namespace, *columns)
        there = {(saga, seq): op for saga, seq, op in rows}
        written: set[bytes] = set()
        fates: list[Fate] = []
        again: list[int] = []
        for place, write in enumerate(writes):
            op = there.get((write.saga, write.seq))
            if op == write.op:
                written.add(write.saga)
                fates.append(Fate.WRITTEN)
            elif op is None and write.saga in written:
                again.append(place)  # those before it came through earlier, in a batch without it
                fates.append(Fate.LOST)
            else:
                fates.append(Fate.LOST if write.new is None or op is not None else Fate.EXISTS)
        if again:
            rest = await self._write(worker, [writes[place] for place in again])
            for place, fate in zip(again, rest, strict=True):
                fates[place] = fate
        return fates

    async def _split(self, worker: int | None, writes: Sequence[Write]) -> list[Fate]:
        """Something waits for a lock. What it may be about is given back, and all the others go on without it. Raises
        StoreError where it is about the worker's own row: somebody is about to retire it."""
        sagas = {write.saga for write in writes}
        if len(sagas) == 1:
            return [Fate.HELD] * len(writes)
        new = {write.saga for write in writes if write.new is not None}  # each waits where a user's has its key
        held = await self._locked(sagas - new) or new or {write.saga for write in writes if write.answers}
        if held == sagas:
            return [Fate.HELD] * len(writes)
        if not held:
            return await self._write(worker, writes)  # it may be gone by now
        _log.info("a transaction of somebody's holds up %d of %d sagas; they are written apart", len(held), len(sagas))
        fates = iter(await self.write(worker, [write for write in writes if write.saga not in held]))
        return [Fate.HELD if write.saga in held else next(fates) for write in writes]

    async def _isolate(self, worker: int | None, writes: Sequence[Write], error: ValuesRefused) -> list[Fate]:
        """Something in here is refused for good: find the saga, by halves; all the others go on without it."""
        sagas = sorted({write.saga for write in writes})
        if len(sagas) == 1:
            _log.error("a decision of saga %s cannot be written: %s", sagas[0].hex(), error)
            return [Fate.REFUSED] * len(writes)
        half = set(sagas[: len(sagas) // 2])
        one = iter(await self.write(worker, [write for write in writes if write.saga in half]))
        other = iter(await self.write(worker, [write for write in writes if write.saga not in half]))
        return [next(one if write.saga in half else other) for write in writes]

    async def _locked(self, sagas: set[bytes]) -> set[bytes]:
        """Those whose heads somebody holds."""
        if not sagas:
            return sagas
        return sagas - {row[0] for row in await self._line.fetch("heads_free", self._namespace, sorted(sagas))}
