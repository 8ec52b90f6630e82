"""One client process of the chaos of services.

What it is: `python services_client.py NAME SEED`. It starts orders of all moods, the same id twice, cancels some, waits
for some, and writes down what it was told, until it is asked to stop. Where sagas are choreographed it is a process of
the service that starts them, and does so in transactions of its own, some of which it rolls back.
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
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import asyncpg
import services_shop as shop
from services_books import PLACE

from amends import Saga
from amends.errors import AmendsError, NotAnswered, NotRunning, StoreError, StoreUnavailable, TooLate

MOODS = ("good",) * 10 + ("declined",) * 3 + ("returned",) * 3 + ("sold out", "flaky", "slow", "slow charge")
AT_ONCE = 12  # sagas of this client that have not been seen to end
PAUSE_SECONDS = 0.25
OUTCOME_SECONDS = 8.0
ROLLED_BACK = 0.1  # of the transactions that start a choreographed saga
Waits = Callable[[], Awaitable[Any]]
AWAY = (
    StoreError,
    NotAnswered,
    TimeoutError,
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # where the connection broke while a transaction began
)


class Desk(Protocol):
    """Where sagas are started."""

    sagas: Sequence[Saga[Any, Any]]
    cancels: float  # of those that it starts

    def open(self) -> Any:
        """Be there, for the length of a block."""

    async def start(self, saga: Saga[Any, Any], order: shop.Order, saga_id: str, *, commit: bool = True) -> Waits:
        """Start one; what waits for its outcome."""

    async def cancel(self, saga_id: str) -> None:
        """Have one cancelled. Raises TooLate."""


class Orchestrated:
    """At an orchestrator."""

    sagas: Sequence[Saga[Any, Any]] = shop.SAGAS
    cancels = 0.1

    def open(self) -> Any:
        """As a client of its database."""
        return shop.orchestrator.client()

    async def start(self, saga: Saga[Any, Any], order: shop.Order, saga_id: str, *, commit: bool = True) -> Waits:
        """There are no transactions here."""
        handle = await shop.orchestrator.start(saga, order, id=saga_id)
        return lambda: handle.outcome(timeout=OUTCOME_SECONDS)

    async def cancel(self, saga_id: str) -> None:
        """By mail."""
        await shop.orchestrator.cancel(saga_id, reason="chaos")


class Choreographed:
    """At their home, of which this is a process."""

    sagas: Sequence[Saga[Any, Any]] = shop.CHOREOGRAPHED
    cancels = 0.2  # many are never answered, as both sides are harmed

    def __init__(self) -> None:
        self._pool: Any = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None, None]:
        """Work as the others of its service do."""
        async with shop.orders_app:
            url = shop._here().databases["orders"]
            async with asyncpg.create_pool(url, min_size=0, max_size=4, command_timeout=20) as self._pool:
                yield

    async def start(self, saga: Saga[Any, Any], order: shop.Order, saga_id: str, *, commit: bool = True) -> Waits:
        """With a row of its own: both are there, or none."""
        async with self._pool.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(PLACE, saga_id, order.cents)
            await shop.orders_app.start(saga, order, within=connection, id=saga_id)
            await (transaction.commit() if commit else transaction.rollback())
        return lambda: shop.orders_app.outcome(saga, saga_id, timeout=OUTCOME_SECONDS)

    async def cancel(self, saga_id: str) -> None:
        """Whoever holds it says so."""
        async with asyncio.timeout(OUTCOME_SECONDS):
            await shop.orders_app.cancel(saga_id, reason="chaos")


class Client:
    """What one process does."""

    def __init__(self, name: str, seed: int, desk: Desk) -> None:
        self.name = f"{name}-{os.getpid()}"  # one that was killed is followed by another
        self.dice = random.Random(seed)
        self._desk = desk
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
        async with self._desk.open():
            await asyncio.gather(*(self._orders() for _ in range(AT_ONCE)))

    async def _orders(self) -> None:
        while not self._stop.is_set():
            with suppress(*AWAY):
                await self._order()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self.dice.uniform(0.0, PAUSE_SECONDS))

    async def _order(self) -> None:
        self._begun += 1
        saga_id = f"{self.name}-{self._begun}"
        saga = self.dice.choice(self._desk.sagas)
        order = shop.Order(self.dice.randrange(1, 5000), self.dice.choice(MOODS))
        if isinstance(self._desk, Choreographed) and self.dice.random() < ROLLED_BACK:
            self.note("rolled back", saga_id)
            await self._desk.start(saga, order, saga_id, commit=False)
            return
        self.note("asked", saga_id)
        outcome = await self._desk.start(saga, order, saga_id)
        self.note("started", saga_id, cents=order.cents)
        if self.dice.random() < 0.1:
            await self._desk.start(saga, order, saga_id)
            self.note("started", saga_id, cents=order.cents)
        if self.dice.random() < self._desk.cancels:
            await asyncio.sleep(self.dice.random())
            try:
                await self._desk.cancel(saga_id)
                self.note("cancelled", saga_id)
            except TooLate:
                self.note("too late", saga_id)
        self.note("outcome", saga_id, status=type(await outcome()).__name__.lower())


async def main() -> None:
    """Work, and write down what nobody should be told. Who comes, or goes, while the database is away is told so, and
    followed by another."""
    desk: Desk = Choreographed() if os.environ.get("SHOP_STYLE") == "choreographed" else Orchestrated()
    client = Client(sys.argv[1], int(sys.argv[2]), desk)
    try:
        await client.work()
    except StoreUnavailable as error:
        client.note("told", "", text=str(error)[:200])
    except (NotRunning, AmendsError) as error:
        client.note("ugly", "", text=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    asyncio.run(main())
