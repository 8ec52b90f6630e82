"""A worker's lease: how long its registration lasts by its own clock, and whether it did without a gap.

Guarantees: it counts from before it was asked for, so others see it end later, never earlier; no wall
clock is asked.
Must not: retire anybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amends.observe import events as o
from amends.store.base import Retired

if TYPE_CHECKING:
    from amends.run.worker import Worker


class Lease:
    """Of one worker, registration after registration. Where the store has no leases it always holds."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._until = 0.0
        self._steady_since = 0.0

    def begin(self, asked: float) -> None:
        """A registration, from when it was asked for."""
        self._until = asked + self._worker.settings.lease_seconds
        self._steady_since = asked
        worker = self._worker
        if worker.hub.on:
            worker.hub.tell(o.WorkerRegistered(worker.worker, worker.now(), worker.settings.lease_seconds))

    def end(self) -> None:
        """The registration is gone."""
        if self._worker.hub.on:
            self._worker.hub.tell(o.WorkerRetired(self._worker.worker, self._worker.now()))
        self._until = 0.0

    def holds(self) -> bool:
        """Whether an attempt may still start under this registration."""
        return self._worker.loop.time() < self._until or not self._worker.store.leases

    def is_steady(self) -> bool:
        """Whether it was held without a gap for a whole lease: after an outage everyone looks dead."""
        return self._worker.loop.time() - self._steady_since >= self._worker.settings.lease_seconds

    def until_renewal(self) -> float:
        """Seconds until it should be renewed."""
        return max(self._until - self._worker.settings.lease_seconds * 2 / 3 - self._worker.loop.time(), 0.0)

    async def keep(self) -> None:
        """Renew it, if a third of it is over. Raises Retired, StoreUnavailable."""
        worker = self._worker
        if worker.hub.on:
            worker.hub.tell(o.WorkerLooked(worker.worker, worker.now(), len(worker.lives)))
        if self.until_renewal() <= 0.0:
            await self.renew()

    async def renew(self) -> None:
        """Renew it now, which waits for all that is on its way under this registration. Raises Retired,
        StoreUnavailable."""
        worker = self._worker
        if not worker.store.leases:
            return
        asked, before = worker.loop.time(), self._until
        if not await worker.store.renew(worker.worker, worker.info()):
            raise Retired(f"worker {worker.worker} was retired")
        self._until = asked + worker.settings.lease_seconds
        if asked >= before:
            self._steady_since = asked  # a gap makes it a new beginning
        if worker.hub.on:
            worker.hub.tell(o.LeaseRenewed(worker.worker, worker.now()))
        worker.looked(True)  # so a turn with much to take over is seen to get on
        worker.start_held()
