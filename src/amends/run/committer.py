"""The committer: the one way of a worker's decisions into the store.

It coalesces what all sagas decide into one transaction, lets the next batch gather while one
is on its way, and never waits for company: a lone decision sees one commit's latency.

Guarantees: decisions of one saga are written in the order given; a decision is told its fate
exactly once. An error of the store is never a fate: the same batch is sent again until it is
written or lost. Once the committer is closed all that is left is told `LOST`: whoever cares
must look.
Must not: know what it writes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

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
            told(Fate.LOST)
            return
        self._queue.append((write, told))
        if self._pump is None or self._pump.done():
            self._start()

    async def drain(self) -> None:
        """Wait until all that was submitted is written; also where the loop is on its way out
        and has cancelled every task."""
        while self._queue or self._pump is not None:
            pump = self._pump
            if pump is None or pump.done():
                pump = self._start()
            await asyncio.wait([pump])

    def _start(self) -> asyncio.Task[None]:
        self._pump = asyncio.get_running_loop().create_task(self._run(), name="amends-committer")
        return self._pump

    def close(self) -> None:
        """Write nothing more."""
        self._closed = True
        if self._pump is not None:
            self._pump.cancel()
        self._tell_left()

    async def _run(self) -> None:
        batch: list[tuple[Write, Told]] = []
        try:
            while self._queue and not self._closed:
                size = min(len(self._queue), self._batch_writes)
                batch = [self._queue.popleft() for _ in range(size)]
                fates = await self._write([write for write, _ in batch])
                written, batch = batch, []
                for (_, told), fate in zip(written, fates, strict=True):
                    _tell(told, fate)
        except Retired:
            self._closed = True
            self._retired()
        except asyncio.CancelledError:
            self._queue.extendleft(reversed(batch))  # it may be there already; then that is success
            batch = []
            raise
        except BaseException as error:  # noqa: BLE001  # a damaged store ends the worker, with its reason
            self._closed = True
            self._broken(error)
        finally:
            self._pump = None
            if self._closed:
                self._tell_left(batch)

    def _tell_left(self, batch: Sequence[tuple[Write, Told]] = ()) -> None:
        """What is not written now will not be, or nobody knows."""
        left, self._queue = [*batch, *self._queue], deque()
        for _, told in left:
            _tell(told, Fate.LOST)

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


def _tell(told: Told, fate: Fate) -> None:
    """What follows for one saga must not keep the others from hearing theirs."""
    try:
        told(fate)
    except Exception:  # noqa: BLE001  # logged; the next told has nothing to do with it
        _log.exception("a saga could not go on after its decision was %s: this is a bug in amends", fate.value)
