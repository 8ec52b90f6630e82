"""amends with services, as a user would write it: default settings, one worker, a process for each participant.

Guarantees: none but those of amends.
Must not: use anything that is not public, but for counting.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg

from amends import Completed, Orchestrator
from bench.order import ORDER
from bench.services import shop


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
