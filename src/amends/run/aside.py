"""What a service asks of its database beside its handlers: questions, which wait for no handler.

Guarantees: at most so many at once; one that is given up holds its place, and its thread, for as long as it runs.
Must not: use the loop's own threads, in which names are looked up too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from amends.run.threads import Threads
from amends.store.effects_postgres import complete

T = TypeVar("T")


class Aside:
    """Of one database. size: how many questions it is asked at once."""

    def __init__(self, size: int) -> None:
        self._places = asyncio.Semaphore(size)
        self._threads = Threads(size)

    async def awaited(self, job: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Ask on the loop."""
        async with self._places:
            return await job()

    async def in_thread(self, job: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Ask in a thread, through a coroutine that never waits."""
        await self._places.acquire()
        loop = asyncio.get_running_loop()

        def leave(_: Future[Any]) -> None:
            with suppress(RuntimeError):  # the loop is closed, and nobody asks any more
                loop.call_soon_threadsafe(self._places.release)

        try:
            running = self._threads.submit(lambda: complete(job()))
        except BaseException:
            self._places.release()
            raise
        running.add_done_callback(leave)
        result: T = await asyncio.wrap_future(running)
        return result
