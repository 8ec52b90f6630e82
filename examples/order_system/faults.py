"""The fault script: what happens to the system while customers place orders.

Guarantees: what it takes away comes back; every fault is told with how many sagas moved when it came, and the next one
comes only after the system has ended some more of them, in bounded time.
Must not: look at what comes of it.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from amends.errors import StoreUnavailable

from .fleet import Fleet, Process
from .sagas import Sagas

PAUSE_SECONDS = 5.0  # longer than a consumer may be silent: others get what it had in hand
AWAY_SECONDS = 1.0  # how long the broker is gone
PROGRESS = 3  # sagas that end between two faults
PROGRESS_SECONDS = 60.0
LOOK_SECONDS = 0.1
CUT = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""

Fault = Callable[[], Coroutine[Any, Any, None]]


@dataclass
class Faults:
    """What is done to a fleet. done: each fault, with the sagas that it met. troubles: after which nothing moved."""

    fleet: Fleet
    sagas: Sagas
    done: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    troubles: list[str] = field(default_factory=list[str])

    async def happen(self) -> None:
        """All of them, one after the other."""
        async for name, fault in self._faults():
            moving, ended = await self._busy(name)
            self.done.append((name, moving))
            await fault()
            await self._progress(name, ended)

    async def _faults(self) -> AsyncIterator[tuple[str, Fault]]:
        for process in self.fleet.processes.values():
            yield f"kill -9 of {process.name}", self._killing(process)
        if self.fleet.servers.broker is not None:
            yield "kill -9 of the broker, and a restart", self._kill_the_broker
        yield f"SIGSTOP of inventory for {PAUSE_SECONDS:g} s", self._pause_inventory
        for service, url in self.fleet.servers.databases.items():
            yield f"all connections to the database of {service} cut", self._cutting(url)

    async def _count(self) -> tuple[int, int]:
        """How many sagas move, and how many have ended."""
        while True:
            with suppress(StoreUnavailable, asyncpg.PostgresError, OSError):  # our own was cut, too
                return await self.sagas.count()
            await asyncio.sleep(LOOK_SECONDS)

    async def _busy(self, name: str) -> tuple[int, int]:
        """The same, once there is something that a fault can meet."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PROGRESS_SECONDS):
                while (found := await self._count())[0] == 0:
                    await asyncio.sleep(LOOK_SECONDS)
                return found
        self.troubles.append(f"{name}: it met no saga, so it proves nothing")
        return await self._count()

    async def _progress(self, name: str, before: int) -> None:
        try:
            async with asyncio.timeout(PROGRESS_SECONDS):
                while (await self._count())[1] < before + PROGRESS:
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            self.troubles.append(f"{name}: {PROGRESS_SECONDS:g} s later not {PROGRESS} more sagas had ended")

    # What happens

    def _killing(self, process: Process) -> Fault:
        async def kill() -> None:
            self.fleet.kill(process)

        return kill

    async def _kill_the_broker(self) -> None:
        broker = self.fleet.servers.broker
        if broker is not None:
            await asyncio.to_thread(broker.kill)
            await asyncio.sleep(AWAY_SECONDS)
            await asyncio.to_thread(broker.start)

    async def _pause_inventory(self) -> None:
        process = self.fleet.where("inventory")
        self.fleet.signal(process, signal.SIGSTOP)
        try:
            await asyncio.sleep(PAUSE_SECONDS)
        finally:
            self.fleet.signal(process, signal.SIGCONT)

    def _cutting(self, url: str) -> Fault:
        async def cut() -> None:
            connection = await asyncpg.connect(url)
            try:
                await connection.execute(CUT)
            finally:
                await connection.close()

        return cut
