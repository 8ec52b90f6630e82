"""Forgetting sagas that ended long ago: by a worker that has a `retention_seconds`, or when somebody says so.

A saga goes with its journal and mail, and with it what its steps' transactions left in their inbox. That
goes first: whatever is interrupted in between is found and done again. An inbox row is what keeps a late
action of a frozen process from taking effect after its compensation, so none goes before its horizon; a
saga that has a younger one is kept as long. Attempts do not live half as long (`transactions.py`).

Guarantees: bounded batches, each a transaction of its own, with a rest after each; stopped anywhere, it
leaves whole sagas.
Must not: forget an open saga, or hold up work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from amends.decide.bulk import ENDED
from amends.errors import StoreError
from amends.run.transactions import INBOX_SECONDS, Transactions
from amends.store.base import Store

if TYPE_CHECKING:
    from amends.run.worker import Worker

LOOK_ROWS = 5000  # sagas that one statement looks through
BATCH = 500  # sagas that one transaction forgets
LOOK_SECONDS = 300.0  # how often a worker looks, about: several do not all look at once
REST_SHARE = 3.0  # it rests for so many times as long as a batch took
REST_SECONDS = 0.05  # and at least so long
_log = logging.getLogger("amends.retention")
Forget = Callable[[Sequence[bytes]], Awaitable[Collection[bytes]]]


class Batch(NamedTuple):
    """What became of one batch. kept: of those, what has to wait for the horizon of its inbox rows."""

    pruned: int
    kept: int


async def batches(
    store: Store, before: float, forget: Forget | None, size: int = BATCH, limit: int | None = None
) -> AsyncGenerator[Batch, None]:
    """Forget what ended before an instant, oldest first, `limit` at most, a batch whenever one is asked for. forget:
    what is done first about their inbox; it gives those that must be kept. Raises StoreError."""
    after: bytes | None = None
    left = inf if limit is None else limit
    while True:
        found = await store.ended(before, after, LOOK_ROWS)
        waiting = list(found.sagas)
        while waiting and left > 0:
            some = waiting[: int(min(size, left))]
            del waiting[: len(some)]
            kept = await forget(some) if forget is not None else ()
            batch = Batch(await store.prune(before, [saga for saga in some if saga not in kept]), len(kept))
            left -= batch.pruned
            yield batch
        if found.last is None or left <= 0:
            return
        after = found.last


async def count_ended(store: Store, before: float) -> int:
    """How many sagas ended before an instant."""
    count, after = 0, None
    while True:
        found = await store.ended(before, after, LOOK_ROWS)
        count, after = count + len(found.sagas), found.last
        if after is None:
            return count


async def forget_bulks(store: Store, before: float) -> None:
    """Forget the bulk operations that ended before an instant, each in a transaction of its own. Raises StoreError."""
    while await store.bulks.forget(ENDED, before, 1):
        pass


def forgetting(inbox: Transactions | None, namespace: str) -> Forget | None:
    """What is to be done about an inbox before its sagas go."""
    return None if inbox is None else lambda sagas: inbox.forget(namespace, sagas, INBOX_SECONDS)


class Retention:
    """The task of one worker that forgets, if it is to."""

    def __init__(self, worker: Worker, inbox: Transactions | None) -> None:
        self._worker = worker
        self._inbox = forgetting(inbox, worker.namespace)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, if anything is ever to be forgotten."""
        keep = self._worker.settings.retention_seconds
        if keep is not None:
            self._task = asyncio.get_running_loop().create_task(self._run(keep), name="amends-retention")

    async def stop(self) -> None:
        """Forget no more. What is on its way is done or not."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self, keep: float) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS * (0.5 + self._worker.share()))
            try:
                await self._turn(self._worker.store.now() - keep)
            except StoreError as error:
                _log.warning("sagas that ended long ago are not forgotten yet: %s", error)
            except Exception:  # noqa: BLE001  # next time, perhaps; nothing depends on it
                _log.exception("forgetting sagas failed: this is a bug in amends")

    async def _forget(self, sagas: Sequence[bytes]) -> Collection[bytes]:
        """What is to be done before sagas go: services are told, so that they may forget them too, and the inbox is
        cleared. Gives those that must be kept for now."""
        if not await self._worker.has_told(sagas):
            return sagas
        return () if self._inbox is None else await self._inbox(sagas)

    async def _turn(self, before: float) -> None:
        loop, total = asyncio.get_running_loop(), 0
        async with aclosing(batches(self._worker.store, before, self._forget)) as forgotten:
            began = loop.time()
            async for batch in forgotten:
                total += batch.pruned
                await asyncio.sleep(max(REST_SECONDS, REST_SHARE * (loop.time() - began)))
                began = loop.time()
        await forget_bulks(self._worker.store, before)
        if total:
            _log.info("%d sagas that ended long ago are forgotten", total)
