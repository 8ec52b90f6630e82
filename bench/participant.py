"""How many commands a participant handles in a second, on one core: `python -m bench.participant --help`.

Commands come through the transport within the process, so that no broker is measured; replies are taken and
counted. What is printed: commands a second by the wall clock; by the processor time of this process, which is what one
core of its own would give; and by the same without what sending the commands takes, which is measured by itself.

Guarantees: every command has one effect in the database, or it fails.
Must not: be compared with figures of another machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
import uuid
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from amends import Participant, Service, Settings
from amends.decide.events import Phase
from amends.decide.wire import Command, command_message
from amends.transport.base import Delivery, Send
from amends.transport.local import LocalTransport
from amends.transport.names import commands_of, replies_of
from services.postgres import Postgres

TABLE = "CREATE TABLE moved (sku text NOT NULL, many integer NOT NULL)"
INSERT = "INSERT INTO moved (sku, many) VALUES ({}, {})"


@dataclass(frozen=True)
class ReserveStock:
    """A command."""

    sku: str
    many: int


@dataclass(frozen=True)
class Reservation:
    """Its reply."""

    id: str


def participant(url: str, kind: str, batch: int) -> Participant:
    """A service with one command."""
    service = Service("inventory")
    reserve_stock = service.command("reserve-stock", ReserveStock, reply=Reservation, compensation=False)
    app = Participant(service, database=url, migrate=True, settings=Settings(handlers=200))
    if kind == "asyncpg":

        @app.handles(reserve_stock, batch=batch)
        async def by_asyncpg(command: ReserveStock, tx: asyncpg.Connection) -> Reservation:
            await tx.execute(INSERT.format("$1", "$2"), command.sku, command.many)
            return Reservation(command.sku)

    else:

        @app.handles(reserve_stock, batch=batch)
        async def by_sqlalchemy(command: ReserveStock, tx: AsyncConnection) -> Reservation:
            await tx.execute(text(INSERT.format(":sku", ":many")), {"sku": command.sku, "many": command.many})
            return Reservation(command.sku)

    return app


class Sender:
    """Sends commands, a window of them at a time, and counts replies."""

    def __init__(self, window: int) -> None:
        self.transport = LocalTransport()
        self.left = 0
        self.done = asyncio.Event()
        self._window = asyncio.Semaphore(window)

    async def open(self) -> None:
        """Listen for replies."""
        await self.transport.open()
        await self.transport.listen(replies_of("bench"), "bench", self._replies, in_flight=10_000)

    def _replies(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            if delivery.message is None or delivery.message.attributes["amendsoutcome"] != "succeeded":
                raise SystemExit(f"a command failed: {delivery.message}")
            asyncio.ensure_future(delivery.ack())  # noqa: RUF006
            self._over()

    async def listen_alone(self) -> None:
        """Take the commands too, and do nothing about them."""

        def take(deliveries: Sequence[Delivery]) -> None:
            for delivery in deliveries:
                asyncio.ensure_future(delivery.ack())  # noqa: RUF006
                self._over()

        await self.transport.open()
        await self.transport.listen(commands_of("inventory"), "inventory", take, in_flight=10_000)

    def _over(self) -> None:
        self._window.release()
        self.left -= 1
        if self.left == 0:
            self.done.set()

    async def send(self, count: int) -> None:
        """Send so many commands, and wait for their replies."""
        self.left = count
        self.done.clear()
        to = commands_of("inventory")
        for number in range(count):
            await self._window.acquire()
            command = Command(
                "inventory.reserve-stock",
                "default",
                uuid.uuid4().bytes,
                f"order-{number}",
                "reserve",
                Phase.ACTION,
                b'{"sku":"a","many":2}',
                "token",
                "bench.replies",
                time.time(),
            )
            await self.transport.publish([Send(to, command_message(command, f"{number:x}", "/bench"))])
        await self.done.wait()


async def sending(count: int, window: int) -> float:
    """The seconds of processor time that sending a command takes."""
    sender = Sender(window)
    await sender.listen_alone()
    await sender.send(count // 10)
    processor = time.process_time()
    await sender.send(count)
    processor = time.process_time() - processor
    await sender.transport.close()
    return processor / count


async def measure(url: str, kind: str, batch: int, count: int, window: int) -> tuple[float, float, float]:
    """Commands a second, by the wall clock, by processor time, and by that without the sending."""
    each = await sending(count, window)
    connection: Any = await asyncpg.connect(url)
    await connection.execute(TABLE)
    async with participant(url, kind, batch) as app:
        await app.session.listening()
        sender = Sender(window)
        await sender.open()
        await sender.send(count // 10)
        wall, processor = time.perf_counter(), time.process_time()
        await sender.send(count)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        await sender.transport.close()
    assert await connection.fetchval("SELECT count(*) FROM moved") == count + count // 10
    await connection.close()
    return count / wall, count / processor, count / (processor - each * count)


def run(job: Coroutine[Any, Any, tuple[float, float, float]]) -> tuple[float, float, float]:
    """On uvloop where it is installed, as `amends worker` does."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.run(job)
    return uvloop.run(job)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Commands that a participant handles in a second.")
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--window", type=int, default=200, help="commands on their way at once")
    parser.add_argument("--kind", choices=("asyncpg", "sqlalchemy"), action="append")
    parser.add_argument("--batch", type=int, action="append")
    given = parser.parse_args()
    titles = f"{'commands/s':>11} {'per core':>9} {'without sending':>16}"
    print(f"{'transaction':12} {'batch':>5} {titles}   (load {os.getloadavg()[0]:.1f})")
    with Postgres() as server:
        for kind in given.kind or ["asyncpg", "sqlalchemy"]:
            for batch in given.batch or [1, 50]:
                url = server.create_database()
                wall, core, apart = run(measure(url, kind, batch, given.count, given.window))
                print(f"{kind:12} {batch:5} {wall:11,.0f} {core:9,.0f} {apart:16,.0f}", flush=True)


if __name__ == "__main__":
    main()
