"""A worker's duty of bulk operations: to take up what nobody works at, and to see to what was left of those that ended.

Guarantees: two short looks now and then where there is none; whatever goes wrong with one, the others go on.
Must not: hold up sagas; what comes of a bulk operation is mail, as from anybody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from itertools import count
from typing import TYPE_CHECKING, Any

from amends.decide.bulk import ENDED, HELD
from amends.errors import StoreError
from amends.run.bulk import Asker, Runner
from amends.run.bulk_left import settle
from amends.run.sweeping import sweeping

if TYPE_CHECKING:
    from amends.run.worker import Worker

AT_ONCE = 4  # bulk operations of one worker
LOOKS_APART = 5.0  # how many polls of a worker lie between two looks
_log = logging.getLogger("amends.bulk")


class Bulking:
    """A worker's duty: it takes what nobody works at, a few at a time, so that a long one holds no short one up."""

    def __init__(self, session: Asker, name: Callable[[], str], pause: Callable[[], Awaitable[object]]) -> None:
        self._session = session
        self._name = name
        self._pause = pause
        self._task: asyncio.Task[None] | None = None
        self._works: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to look, in a while."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="amends-bulk")

    async def stop(self) -> None:
        """Look no more, and let go of what is in hand. What was asked stays asked."""
        task, self._task = self._task, None
        if task is None:
            return
        ending = {task, *self._works}
        for one in ending:
            one.cancel()
        await asyncio.wait(ending)

    async def sweep(self) -> bool:
        """Begin to work at one, if there is any; whether there was. Raises StoreError."""
        if len(self._works) >= AT_ONCE:
            return False
        name, lease = self._name(), self._session.config.settings.lease_seconds
        bulks = self._session.store.bulks
        if (row := await bulks.take(HELD, name, lease)) is not None:
            self._begin(row.key, Runner(self._session, row, name).run())
        elif (row := await bulks.take_left(ENDED, name, lease)) is not None:
            self._begin(row.key, settle(self._session, row, name))
        return row is not None

    def _begin(self, key: str, job: Coroutine[Any, Any, None]) -> None:
        work = asyncio.get_running_loop().create_task(_guarded(key, job), name="amends-bulk-work")
        self._works.add(work)
        work.add_done_callback(self._works.discard)

    async def _run(self) -> None:
        await self._pause()
        await sweeping(self, self._pause, "bulk operations", _log)


async def _guarded(key: str, job: Coroutine[Any, Any, None]) -> None:
    try:
        await job
    except StoreError as error:
        _log.warning("the bulk operation %s is left for later: %s", key, error)
    except Exception:  # noqa: BLE001  # it is taken up again, here or elsewhere
        _log.exception("the bulk operation %s is left for later: this is a bug in amends", key)


def bulking_of(session: Asker, worker: Worker) -> Bulking:
    """The duty of a worker, under names that nobody else has: a registration's number is never given twice."""
    turns = count(1)

    async def pause() -> None:
        await asyncio.sleep(LOOKS_APART * worker.settings.poll_seconds * (0.8 + worker.worker % 5 / 10))

    return Bulking(session, lambda: f"worker {worker.worker}, {next(turns)}", pause)
