"""One run of the whole system: set up, load, faults under load, the end, and the checker's word.

Guarantees: every process that it starts is ended; every phase has its time; what the checker reads no longer moves.
Must not: start a server.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from amends.errors import StoreUnavailable

from . import inventory, orders, payment
from .books import read_books
from .checker import Totals, Trouble, check, totals
from .faults import Faults
from .fleet import Fleet
from .load import Customers
from .sagas import Sagas, sagas_of
from .servers import Servers

TABLES = {"orders": orders.TABLES, "inventory": inventory.TABLES, "payment": payment.TABLES}
END_SECONDS = 120.0  # within that every saga ends, once nothing is broken any more
LAST_ORDERS = 10  # go through when all is over: the system works, and what was before them at the broker has come
LOOK_SECONDS = 0.2
SHOWN = 5


@dataclass(frozen=True)
class Size:
    """orders: placed before anything goes wrong. rate: a second. most: placed during the faults, at most."""

    orders: int = 100
    rate: float = 20.0
    most: int = 2000
    faults: bool = True
    seed: int = 1


@dataclass
class Report:
    """What came of it. shown: `amends show` of the orders that are in trouble."""

    statuses: Counter[str] = field(default_factory=Counter[str])
    faults: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    lives: dict[str, int] = field(default_factory=dict[str, int])
    totals: Totals | None = None
    cancelled: int = 0
    receipts: int = 0
    troubles: list[Trouble] = field(default_factory=list[Trouble])
    shown: list[str] = field(default_factory=list[str])
    seconds: float = 0.0


async def migrate(databases: dict[str, str]) -> None:
    """The services' own tables. Those of amends come with `migrate=True`."""
    for name, url in databases.items():
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(TABLES[name])
        finally:
            await connection.close()


async def run(servers: Servers, size: Size, directory: Path, tell: Callable[[str], object] = print) -> Report:
    """The whole story. directory: for logs."""
    began = time.monotonic()
    await migrate(servers.databases)
    fleet = Fleet(servers, directory)
    try:
        for process in fleet.processes.values():
            fleet.start(process)
        await fleet.ready()
        tell(f"{len(fleet.processes)} processes are ready: {', '.join(fleet.processes)}")
        overseer = asyncio.create_task(fleet.oversee())
        try:
            async with sagas_of(servers) as sagas:
                report = await _run(fleet, sagas, size, tell)
        finally:
            overseer.cancel()
            with suppress(asyncio.CancelledError):
                await overseer
        report.troubles += [Trouble("", what) for what in (*fleet.ended, *await asyncio.to_thread(fleet.stop))]
        report.lives = {process.name: process.lives for process in fleet.processes.values()}
    finally:
        fleet.close()
    report.seconds = time.monotonic() - began
    return report


async def _run(fleet: Fleet, sagas: Sagas, size: Size, tell: Callable[[str], object]) -> Report:
    customers = Customers(fleet.url, size.seed, size.rate)
    tell(f"load: {size.orders} orders, {size.rate:g} a second")
    await customers.come(size.orders)
    faults = Faults(fleet, sagas)
    if size.faults:
        tell("faults, while customers place orders")
        over = asyncio.Event()
        more = asyncio.create_task(customers.come(size.most, over))
        try:
            await faults.happen()
        finally:
            over.set()
        await more
    await fleet.ready()
    await customers.come(LAST_ORDERS)
    began = time.monotonic()
    hung = await _all_ended(sagas)
    tell(f"every saga has ended, {time.monotonic() - began:.1f} s after the last order")
    databases = fleet.servers.databases
    await _receipts_filed(databases)
    tell(f"every event has been handled, {time.monotonic() - began:.1f} s after it")
    books, said = await read_books(databases), await sagas.said()
    troubles = check(books, said, customers.placed, customers.cancelled)
    troubles += [Trouble("", what) for what in (*hung, *faults.troubles)]
    names = dict.fromkeys(trouble.order for trouble in troubles if trouble.order)
    return Report(
        statuses=Counter(one.status for one in said),
        faults=faults.done,
        totals=totals(books, said),
        cancelled=len(customers.cancelled),
        receipts=len(books.receipts),
        troubles=troubles,
        shown=[await sagas.show(name) for name in list(names)[:SHOWN]],
    )


async def _all_ended(sagas: Sagas) -> list[str]:
    """Wait until no saga moves; what to say if that takes too long."""
    try:
        async with asyncio.timeout(END_SECONDS):
            while True:
                with suppress(StoreUnavailable):
                    if (await sagas.count())[0] == 0:
                        return []
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        return [f"{END_SECONDS:g} s after the last fault there are sagas that have not ended"]


async def _receipts_filed(databases: dict[str, str]) -> None:
    """Wait until all events have come; the checker says what is missing if that takes too long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(END_SECONDS):
            while True:
                books = await read_books(databases)
                if len(books.receipts) >= len(books.money):
                    return
                await asyncio.sleep(LOOK_SECONDS)
