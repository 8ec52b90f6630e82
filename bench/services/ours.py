"""amends with services, as a user would write it: default settings, one worker, a process for each participant.

Guarantees: none but those of amends.
Must not: use anything that is not public, but for counting.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg

from amends import Completed, Orchestrator, Participant, Service
from bench.order import ORDER
from bench.services import shop

HOME = Service("orders")  # where choreographed sagas begin


def url_of(broker: str, prefix: str) -> str:
    """The broker's URL, with names of one's own."""
    return f"{broker}{'&' if '?' in broker else '?'}prefix={prefix.rstrip('.')}"


@asynccontextmanager
async def participating(
    service: str, database: str, broker: str, prefix: str, batch: int
) -> AsyncIterator[Callable[[], int]]:
    """A service at work. Gives a function that counts its replies."""
    connection = await asyncpg.connect(database)
    await connection.execute(shop.TABLE)
    await connection.close()
    async with shop.participant(service, database, url_of(broker, prefix), batch) as app:
        await app.session.listening()
        yield lambda: app.session.work.sender.sent


@asynccontextmanager
async def orchestrating(
    database: str, broker: str, prefix: str, steps: int
) -> AsyncIterator[tuple[Callable[[], Awaitable[str]], Callable[[], int]]]:
    """A function that runs one saga to its end, and one that counts the messages sent."""
    saga = shop.SAGAS[steps]
    async with Orchestrator(database, sagas=[saga], broker=url_of(broker, prefix), migrate=True) as orchestrator:

        async def run() -> str:
            outcome = await orchestrator.run(saga, ORDER)
            return "completed" if isinstance(outcome, Completed) else type(outcome).__name__.lower()

        def sent() -> int:
            worker = orchestrator.session.worker
            sender = None if worker is None else worker._remote._sender  # counting alone
            return 0 if sender is None else sender.sent

        yield run, sent


@asynccontextmanager
async def choreographing(
    database: str, broker: str, prefix: str, steps: int
) -> AsyncIterator[tuple[Callable[[], Awaitable[str]], Callable[[], int]]]:
    """The same with nobody in the middle: the saga is started at its home, in a transaction of one's own."""
    saga = shop.SAGAS[steps]
    app = Participant(HOME, database=database, broker=url_of(broker, prefix), sagas=[saga], migrate=True)
    async with app, asyncpg.create_pool(database) as pool:
        await app.session.listening()

        async def run() -> str:
            async with pool.acquire() as connection, connection.transaction():
                key = await app.start(saga, ORDER, within=connection)
            outcome = await app.outcome(saga, key)
            return "completed" if isinstance(outcome, Completed) else type(outcome).__name__.lower()

        yield run, lambda: app.session.work.sender.sent
