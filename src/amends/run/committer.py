"""The committer: the one way of a worker's decisions into the store.

It coalesces what all sagas decide into one transaction, lets the next batch gather while one
is on its way, and never waits for company: a lone decision sees one commit's latency. A saga that
a lock of somebody else's holds up is written aside, alone, while all others go on.

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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context, copy_context

from amends import fault
from amends.errors import StoreUnavailable
from amends.observe.events import BatchWritten, WriteFailed
from amends.observe.hub import OFF, Hub
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
        hub: Hub = OFF,
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
        self._held: dict[bytes, deque[tuple[Write, Told]]] = {}  # by saga; what follows goes there too
        self._held_keys: set[str] = set()  # those of new sagas: who starts the same one waits behind it
        self._aside: asyncio.Task[None] | None = None
        self._closed = False
        self._hub = hub
        # What somebody has set who submits, or who observes, is not to be seen in what is written for others.
        self._context: Context = copy_context()
        self.trouble: str = ""  # why the store cannot be written, while it cannot

    def submit(self, write: Write, told: Told) -> None:
        """Have a decision written; `told` is called on the loop with its fate."""
        if self._closed:
            told(Fate.LOST)
            return
        if self._held and (write.saga in self._held or (write.new is not None and write.new.key in self._held_keys)):
            self._held.setdefault(write.saga, deque()).append((write, told))
            return
        self._queue.append((write, told))
        if self._pump is None or self._pump.done():
            self._start()

    def is_held(self, saga: bytes) -> bool:
        """Whether a lock of somebody else's is in the way of what was submitted of it."""
        return saga in self._held

    async def drain(self) -> None:
        """Wait until all that was submitted is written; also where the loop is on its way out
        and has cancelled every task."""
        while self._queue or self._pump is not None or self._held:
            pump = self._pump
            if self._queue and (pump is None or pump.done()):
                pump = self._start()
            if self._held and (self._aside is None or self._aside.done()):
                self._start_aside()
            await asyncio.wait([task for task in (pump, self._aside) if task is not None])

    def _start(self) -> asyncio.Task[None]:
        self._pump = asyncio.get_running_loop().create_task(self._run(), name="amends-committer", context=self._context)
        return self._pump

    def close(self) -> None:
        """Write nothing more."""
        self._closed = True
        for task in (self._pump, self._aside):
            if task is not None:
                task.cancel()
        self._tell_left()

    async def _run(self) -> None:
        batch: list[tuple[Write, Told]] = []
        try:
            with self._until_the_end():
                while self._queue and not self._closed:
                    size = min(len(self._queue), self._batch_writes)
                    batch = [self._queue.popleft() for _ in range(size)]
                    fates = await self._write([write for write, _ in batch])
                    written, batch = batch, []
                    if Fate.HELD in fates:
                        self._hold([entry for entry, fate in zip(written, fates, strict=True) if fate is Fate.HELD])
                    for (_, told), fate in zip(written, fates, strict=True):
                        if fate is not Fate.HELD:
                            _tell(told, fate)
        except asyncio.CancelledError:
            self._queue.extendleft(reversed(batch))  # it may be there already; then that is success
            batch = []
            raise
        finally:
            self._pump = None
            if self._closed:
                self._tell_left(batch)

    def _hold(self, entries: Sequence[tuple[Write, Told]]) -> None:
        """Write these aside, and what is to follow of their sagas after them."""
        sagas = {write.saga for write, _ in entries}
        following = [entry for entry in self._queue if entry[0].saga in sagas]
        self._queue = deque(entry for entry in self._queue if entry[0].saga not in sagas)
        for entry in (*entries, *following):
            self._held.setdefault(entry[0].saga, deque()).append(entry)
            if entry[0].new is not None:
                self._held_keys.add(entry[0].new.key)
        if self._aside is None or self._aside.done():
            self._start_aside()

    def _start_aside(self) -> None:
        loop = asyncio.get_running_loop()
        self._aside = loop.create_task(self._run_aside(), name="amends-committer-aside", context=self._context)

    async def _run_aside(self) -> None:
        """One saga after the other, round and round: each waits a moment for its lock."""
        try:
            with self._until_the_end():
                while self._held and not self._closed:
                    saga = next(iter(self._held))
                    waiting = self._held[saga]
                    batch = list(waiting)
                    fates = await self._write([write for write, _ in batch], aside=True)
                    for (_, told), fate in zip(batch, fates, strict=True):
                        if fate is not Fate.HELD:
                            waiting.popleft()
                            _tell(told, fate)
                    self._held.pop(saga, None)
                    if waiting and not self._closed:
                        self._held[saga] = waiting  # behind the others
                self._held_keys.clear()
        finally:
            self._aside = None
            if self._closed:
                self._tell_left()

    @contextmanager
    def _until_the_end(self) -> Iterator[None]:
        """Around writing: what nothing can be written after closes the committer, and is told to whoever made it."""
        try:
            yield
        except Retired:
            self._closed = True
            self._retired()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  # a damaged store ends the worker, with its reason
            self._closed = True
            self._broken(error)

    def _tell_left(self, batch: Sequence[tuple[Write, Told]] = ()) -> None:
        """What is not written now will not be, or nobody knows."""
        held = [entry for waiting in self._held.values() for entry in waiting]
        left, self._queue, self._held = [*batch, *held, *self._queue], deque(), {}
        for _, told in left:
            _tell(told, Fate.LOST)

    async def _write(self, writes: list[Write], *, aside: bool = False) -> list[Fate]:
        """One batch, however long the store is away."""
        delay = RETRY_FIRST_SECONDS
        while True:
            fault.point("commit.before")
            began = self._now() if self._hub.on else 0.0
            try:
                commit = self._store.commit_aside if aside else self._store.commit
                fates = await commit(self._worker, writes)
            except StoreUnavailable as error:
                if not self.trouble:
                    _log.warning("nothing can be written for now: %s", error)
                self.trouble = str(error)
                if self._hub.on:
                    self._hub.tell(WriteFailed(self._worker or 0, self._store.now()))
            else:
                fault.point("commit.after")
                if self._hub.on:
                    self._tell_written(fates.count(Fate.WRITTEN), began)
                if self.trouble:
                    _log.info("the store can be written again")
                    self.trouble = ""
                return fates
            await asyncio.sleep(delay)
            delay = min(delay * 2, RETRY_LAST_SECONDS)

    def _tell_written(self, writes: int, began: float) -> None:
        if writes:
            self._hub.tell(BatchWritten(self._worker or 0, self._store.now(), writes, self._now() - began))

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _tell(told: Told, fate: Fate) -> None:
    """What follows for one saga must not keep the others from hearing theirs."""
    try:
        told(fate)
    except (Exception, asyncio.CancelledError):  # noqa: BLE001  # logged; the next told has nothing to do with it
        _log.exception("a saga could not go on after its decision was %s: this is a bug in amends", fate.value)
