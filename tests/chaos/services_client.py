"""One client process of the chaos of services.

What it is: `python services_client.py NAME SEED`. It starts orders of all moods, the same id twice, cancels some, waits
for some, and writes down what it was told, until it is asked to stop.
Guarantees: a line is written before a start is asked for, and after it was acknowledged.
Must not: look at anything but what it is told.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from contextlib import suppress
from typing import Any

import services_shop as shop

from amends.errors import AmendsError, NotRunning, StoreError, TooLate

MOODS = ("good",) * 10 + ("declined",) * 3 + ("returned",) * 3 + ("sold out", "flaky", "slow", "slow charge")
AT_ONCE = 12  # sagas of this client that have not been seen to end
PAUSE_SECONDS = 0.25


class Client:
    """What one process does."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.dice = random.Random(seed)
        place = shop._here()
        self._log = os.open(place.books / f"client-{name}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._begun = 0
        self._stop = asyncio.Event()

    def note(self, what: str, saga_id: str, **rest: Any) -> None:
        """Write down."""
        os.write(self._log, (json.dumps({"what": what, "id": saga_id, **rest}) + "\n").encode())

    async def work(self) -> None:
        """Until SIGTERM."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        async with shop.orchestrator.client():
            await asyncio.gather(*(self._orders() for _ in range(AT_ONCE)))

    async def _orders(self) -> None:
        while not self._stop.is_set():
            with suppress(StoreError, TimeoutError):
                await self._order()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self.dice.uniform(0.0, PAUSE_SECONDS))

    async def _order(self) -> None:
        self._begun += 1
        saga_id = f"{self.name}-{self._begun}"
        saga = self.dice.choice(shop.SAGAS)
        order = shop.Order(self.dice.randrange(1, 5000), self.dice.choice(MOODS))
        self.note("asked", saga_id)
        handle = await shop.orchestrator.start(saga, order, id=saga_id)
        self.note("started", saga_id, cents=order.cents)
        if self.dice.random() < 0.1:
            await shop.orchestrator.start(saga, order, id=saga_id)
            self.note("started", saga_id, cents=order.cents)
        if self.dice.random() < 0.1:
            await asyncio.sleep(self.dice.random())
            with suppress(TooLate):
                await shop.orchestrator.cancel(saga_id, reason="chaos")
                self.note("cancelled", saga_id)
        outcome = await handle.outcome(timeout=8.0)
        self.note("outcome", saga_id, status=type(outcome).__name__.lower())


async def main() -> None:
    """Work, and write down what nobody should be told."""
    client = Client(sys.argv[1], int(sys.argv[2]))
    try:
        await client.work()
    except (NotRunning, AmendsError) as error:
        client.note("ugly", "", text=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    asyncio.run(main())
