"""A worker's duty of bulk operations: to take up what nobody works at.

Guarantees: one short look now and then where there is none; whatever goes wrong with one, the others go on.
Must not: hold up sagas; what comes of a bulk operation is mail, as from anybody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import count
from typing import TYPE_CHECKING

from amends.decide.bulk import HELD
from amends.errors import StoreError
from amends.run.bulk import Asker, Runner
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
        name = self._name()
        row = await self._session.store.bulks.take(HELD, name, self._session.config.settings.lease_seconds)
        if row is None:
            return False
        job = self._work(Runner(self._session, row, name))
        work = asyncio.get_running_loop().create_task(job, name="amends-bulk-work")
        self._works.add(work)
        work.add_done_callback(self._works.discard)
        return True

    async def _work(self, runner: Runner) -> None:
        try:
            await runner.run()
        except StoreError as error:
            _log.warning("the bulk operation %s is left for later: %s", runner.row.key, error)
        except Exception:  # noqa: BLE001  # it is taken up again, here or elsewhere
            _log.exception("the bulk operation %s is left for later: this is a bug in amends", runner.row.key)

    async def _run(self) -> None:
        await self._pause()
        await sweeping(self, self._pause, "bulk operations", _log)


def bulking_of(session: Asker, worker: Worker) -> Bulking:
    """The duty of a worker, under names that nobody else has: a registration's number is never given twice."""
    turns = count(1)

    async def pause() -> None:
        await asyncio.sleep(LOOKS_APART * worker.settings.poll_seconds * (0.8 + worker.worker % 5 / 10))

    return Bulking(session, lambda: f"worker {worker.worker}, {next(turns)}", pause)
