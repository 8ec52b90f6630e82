"""A service as a process of its own, to be killed: `python participant_process.py <broker> <database>`.

Its handler kills the process itself for a command of the sku `poison`. It says `listening`, and a line for each call.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass

import asyncpg

from amends import Context, Participant, Service


@dataclass(frozen=True)
class ReserveStock:
    """A command."""

    sku: str
    many: int = 1


@dataclass(frozen=True)
class Reservation:
    """Its reply."""

    id: str


async def serve(broker: str, database: str) -> None:
    """Work until killed."""
    inventory = Service("inventory")
    reserve_stock = inventory.command("reserve-stock", ReserveStock, reply=Reservation)
    app = Participant(inventory, database=database, broker=broker, migrate=True)

    @app.handles(reserve_stock)
    async def reserve(command: ReserveStock, tx: asyncpg.Connection, ctx: Context) -> Reservation:
        print("reserve", ctx.saga_id, flush=True)  # noqa: T201  # what the test waits for
        await tx.execute("INSERT INTO moved (sku, many) VALUES ($1, $2)", command.sku, command.many)
        if command.sku == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        return Reservation(command.sku)

    @app.compensates(reserve_stock)
    async def release(command: ReserveStock, reservation: Reservation, tx: asyncpg.Connection) -> None:
        await tx.execute("INSERT INTO moved (sku, many) VALUES ($1, $2)", command.sku, -command.many)

    async with app:
        await app.session.listening()
        print("listening", flush=True)  # noqa: T201
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
