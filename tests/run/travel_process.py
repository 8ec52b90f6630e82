"""A service of the choreographed order as a process: `python travel_process.py <broker> <database> <service>`.

It says `listening` once it hears from the broker.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from travels import Ground, Town

from amends.run import homes


async def serve(broker: str, database: str, service: str) -> None:
    """Work until killed."""
    homes.patience = lambda plan: 2.0  # so that what is lost is soon revived
    seen = set[str]()

    def says(what: str, order: str) -> None:
        if (what, order) == ("reserve", "poison"):
            os._exit(137)
        if order == "flaky" and what not in seen:
            seen.add(what)
            raise ValueError("once, in each life")

    town = Town(Ground(Path(), database), says, broker=broker)
    async with town.open(service):
        print("listening", flush=True)  # noqa: T201  # what the test waits for
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
