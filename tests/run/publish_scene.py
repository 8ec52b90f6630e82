"""A service that tells of orders on a real PostgreSQL, and somebody who hears of them: for tests of `within=`.

Guarantees: all waiting is bounded.
Must not: know the library that a user tells with.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import psycopg
import pytest
from participant_scene import until

from amends import Participant, Service
from services.databases import Databases

SECONDS = 60.0


@dataclass(frozen=True)
class Placed:
    """An event."""

    order: str


class Shop:
    """A service that tells of orders, and somebody who hears of them, in one process."""

    def __init__(self, url: str) -> None:
        self.url = url
        service = Service("shop")
        self.placed = service.event("placed", Placed, key=lambda event: event.order)
        self.app = Participant(service, database=url)
        self.heard: list[str] = []
        self.listener = Participant(Service("listener"), database=url)

        @self.listener.on(self.placed)
        async def note(event: Placed, tx: asyncpg.Connection) -> None:
            self.heard.append(event.order)

    async def tell(self, order: str, within: object) -> None:
        """Tell an event, as a user does; a synchronous connection needs no `await`, and bears it."""
        await self.app.publish(self.placed, Placed(order), within=within)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None, None]:
        async with self.listener, self.app:
            await self.listener.session.listening()
            yield

    async def hears(self, *orders: str) -> None:
        """All of these were heard, once each, and nothing is left in the outbox."""
        await until(lambda: len(self.heard) >= len(orders) and self.unsettled == 0, "the events were heard")
        assert sorted(self.heard) == sorted(orders)

    @property
    def outbox(self) -> int:
        return self.count("SELECT count(*) FROM amends.outbox")

    @property
    def unsettled(self) -> int:
        return self.count("SELECT count(*) FROM amends.outbox WHERE settled IS NULL")

    @property
    def invoices(self) -> int:
        return self.count("SELECT count(*) FROM public.invoice")

    def count(self, question: str) -> int:
        with psycopg.connect(self.url) as connection:
            row = connection.execute(question.encode()).fetchone()
            assert row is not None
            return int(row[0])


@pytest.fixture(scope="module")
def database(postgres_databases: Databases) -> Iterator[str]:
    """A database of a service, with a table of the user's."""
    url = postgres_databases.create()
    asyncio.run(_prepare(url))
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE public.invoice (id text)")
    yield url
    postgres_databases.drop(url)


async def _prepare(url: str) -> None:
    async with Participant(Service("shop"), database=url, migrate=True):
        return


@pytest.fixture
def shop(database: str) -> Shop:
    with psycopg.connect(database) as connection:
        connection.execute("TRUNCATE public.invoice, amends.outbox, amends.inbox_event")
    return Shop(database)
