"""The committer: the one way of a worker's decisions into the store.

It coalesces what all sagas decide into one transaction, lets the next batch gather while one
is on its way, and never waits for company: a lone decision sees one commit's latency.

Guarantees: decisions of one saga are written in the order given; a decision is told its fate
exactly once, or never, when the worker was retired or the process ended. An error of the
store is never a fate: the same batch is sent again until it is written or lost.
Must not: know what it writes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from amends import fault
from amends.errors import StoreUnavailable
from amends.store.base import Fate, Retired, Store, Write

Told = Callable[[Fate], None]

RETRY_FIRST_SECONDS = 0.05
RETRY_LAST_SECONDS = 2.0
_log = logging.getLogger("amends.committer")


class Committer:
    """One per worker, or per client. `retired` is called once, when the store says so; `broken`
    with an error that no repetition mends."""

    def __init__(
        self,
        store: Store,
        worker: int | None,
        batch_writes: int,
        *,
        retired: Callable[[], None],
        broken: Callable[[BaseException], None],
    ) -> None:
        self._store = store
        self._worker = worker
        self._batch_writes = batch_writes
        self._retired = retired
        self._broken = broken
        self._queue: deque[tuple[Write, Told]] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._closed = False
        self.trouble: str = ""  # why the store cannot be written, while it cannot

    def submit(self, write: Write, told: Told) -> None:
        """Have a decision written; `told` is called on the loop with its fate."""
        if self._closed:
            return
        self._queue.append((write, told))
        if self._pump is None:
            self._pump = asyncio.get_running_loop().create_task(self._run(), name="amends-committer")

    async def drain(self) -> None:
        """Wait until all that was submitted is written."""
        while self._pump is not None:
            await asyncio.wait([self._pump])

    def close(self) -> None:
        """Write nothing more."""
        self._closed = True
        self._queue.clear()
        if self._pump is not None:
            self._pump.cancel()

    async def _run(self) -> None:
        try:
            while self._queue and not self._closed:
                size = min(len(self._queue), self._batch_writes)
                batch = [self._queue.popleft() for _ in range(size)]
                for (_, told), fate in zip(batch, await self._write([write for write, _ in batch]), strict=True):
                    told(fate)
        except Retired:
            self._closed = True
            self._queue.clear()
            self._retired()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  # a damaged store ends the worker, with its reason
            self._closed = True
            self._broken(error)
        finally:
            self._pump = None

    async def _write(self, writes: list[Write]) -> list[Fate]:
        """One batch, however long the store is away."""
        delay = RETRY_FIRST_SECONDS
        while True:
            fault.point("commit.before")
            try:
                fates = await self._store.commit(self._worker, writes)
            except StoreUnavailable as error:
                if not self.trouble:
                    _log.warning("nothing can be written for now: %s", error)
                self.trouble = str(error)
            else:
                fault.point("commit.after")
                if self.trouble:
                    _log.info("the store can be written again")
                    self.trouble = ""
                return fates
            await asyncio.sleep(delay)
            delay = min(delay * 2, RETRY_LAST_SECONDS)
