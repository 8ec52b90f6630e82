"""A worker of the little shop on PostgreSQL, as a process.

    LITTLE_DB=/some/dir/sagas.db LITTLE_URL=postgresql://… python postgres_worker.py     # until SIGTERM

Says `ready` and its registration; LITTLE_LEASE is its lease. The book of calls lies beside LITTLE_DB.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from little import SAGAS

from amends import Orchestrator, Settings


def shop(
    url: str, *, lease_seconds: float = 15.0, poll_seconds: float = 0.2, rest_seconds: float = 5.0
) -> Orchestrator:
    """The orchestrator on a database."""
    settings = Settings(lease_seconds=lease_seconds, poll_seconds=poll_seconds, rest_seconds=rest_seconds)
    return Orchestrator(url, sagas=SAGAS, settings=settings, migrate=True)


async def work() -> None:
    """Work until SIGTERM, then drain."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    lease = float(os.environ.get("LITTLE_LEASE", "15"))
    async with shop(os.environ["LITTLE_URL"], lease_seconds=lease) as orchestrator:
        worker = orchestrator.session.worker
        assert worker is not None
        sys.stdout.write(f"ready {worker.worker}\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(work())
