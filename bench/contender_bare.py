"""The bare group-commit loop: what durability alone costs in Python on SQLite.

One coroutine per saga waits for a future per outcome; one pump writes all that waits as one
transaction on a writer thread. One journal row of the size that amends writes per outcome,
and a head row at the start and at the end. No retries, no timeouts, no guards, no recovery.

Guarantees: no step runs before the outcome it follows is on disk; the same journal mode and
`synchronous=FULL` as amends.
Must not: do anything that a saga engine would need.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from amends.run.chance import Chance
from amends.store.clock import Clock
from bench.order import ORDER, PAYMENT, RESERVATION, SHIPMENT, Order

Run = Callable[[], Awaitable[object]]
Row = tuple[bytes, int, bytes, str | None]  # saga, sequence, journal row, the head's status where it changes

SCHEMA = """
CREATE TABLE head (id BLOB PRIMARY KEY, status TEXT NOT NULL, created_at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX head_open ON head (status) WHERE status = 'running';
CREATE TABLE journal (saga BLOB, seq INTEGER, row TEXT NOT NULL, PRIMARY KEY (saga, seq)) WITHOUT ROWID;
"""


class Pump:
    """All rows that wait, one transaction."""

    def __init__(self, path: Path, journal: str) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._loop = asyncio.get_running_loop()
        self._queue: list[tuple[Row, asyncio.Future[None]]] = []
        self._busy = False
        self._connection = self._thread.submit(_connect, path, journal).result()

    def write(self, saga: bytes, seq: int, row: bytes, status: str | None = None) -> asyncio.Future[None]:
        """A future that is done once the row is on disk."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._queue.append(((saga, seq, row, status), future))
        if not self._busy:
            self._flush()
        return future

    def close(self) -> None:
        """Close the file."""
        self._thread.submit(self._connection.close).result()
        self._thread.shutdown()

    def _flush(self) -> None:
        batch, self._queue = self._queue, []
        self._busy = True
        written = self._thread.submit(self._commit, [row for row, _ in batch])
        written.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._told, batch))

    def _told(self, batch: list[tuple[Row, asyncio.Future[None]]]) -> None:
        for _, future in batch:
            future.set_result(None)
        self._loop.call_soon(self._next)  # behind those who were just told: what they write now goes along

    def _next(self) -> None:
        self._busy = False
        if self._queue:
            self._flush()

    def _commit(self, rows: list[Row]) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        starts = [(saga, status) for saga, seq, _, status in rows if seq == 0]
        ends = [(status, saga) for saga, seq, _, status in rows if seq and status is not None]
        if starts:
            connection.executemany("INSERT INTO head VALUES (?, ?, 0.0)", starts)
        journal = [(saga, seq, row.decode()) for saga, seq, row, _ in rows]
        connection.executemany("INSERT INTO journal VALUES (?, ?, ?)", journal)
        if ends:
            connection.executemany("UPDATE head SET status = ? WHERE id = ?", ends)
        connection.execute("COMMIT")


def _connect(path: Path, journal: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA journal_mode = {journal}")
    connection.execute("PRAGMA synchronous = FULL")
    for statement in SCHEMA.strip().split("\n"):
        connection.execute(statement)
    return connection


async def reserve(order: Order) -> object:
    """Reserve."""
    return RESERVATION


async def charge(order: Order) -> object:
    """Charge."""
    return PAYMENT


async def ship(order: Order) -> object:
    """Ship."""
    return SHIPMENT


async def undo(order: Order) -> None:
    """Undo something."""


FORWARD = ((1, "reserve_stock", "charge_card", reserve), (2, "charge_card", "ship", charge))


class Writes(Protocol):
    """Whatever brings rows to the disk."""

    def write(self, saga: bytes, seq: int, row: bytes, status: str | None = None) -> asyncio.Future[None]:
        """A future that is done once the row is on disk."""
        ...


def runner(pump: Writes, flow: str) -> Run:
    """A function that runs one saga to its end over a pump."""
    chance, clock = Chance(), Clock()
    encode = msgspec.json.Encoder().encode

    async def run() -> None:
        saga = chance.uuid7(clock.now())
        order = msgspec.Raw(encode(ORDER))
        issued = ["issued", "reserve_stock", "action"]
        await pump.write(saga, 0, encode((clock.now(), 1, [["started", order, None], issued])), "running")
        for seq, name, follower, step in FORWARD:
            events = [["succeeded", name, await step(ORDER)], ["issued", follower, "action"]]
            await pump.write(saga, seq, encode((clock.now(), 1, events)))
        if flow == "happy":
            last = [["succeeded", "ship", await ship(ORDER)], ["completed"]]
            await pump.write(saga, 3, encode((clock.now(), 1, last)), "completed")
            return
        why = "Refused: no room in the van"
        back = [["rejected", "ship", why], ["turned_back", "rejected", "ship", why], ["issued", "charge_card", "undo"]]
        await pump.write(saga, 3, encode((clock.now(), 1, back)), "compensating")
        await undo(ORDER)
        undone = [["undone", "charge_card"], ["issued", "reserve_stock", "undo"]]
        await pump.write(saga, 4, encode((clock.now(), 1, undone)))
        await undo(ORDER)
        end = [["undone", "reserve_stock"], ["compensated"]]
        await pump.write(saga, 5, encode((clock.now(), 1, end)), "compensated")

    return run


@asynccontextmanager
async def running(path: Path, flow: str, journal: str) -> AsyncIterator[Run]:
    """A function that runs one saga to its end."""
    pump = Pump(path, journal)
    one, started = runner(pump, flow), 0

    async def run() -> None:
        nonlocal started
        started += 1
        await one()

    yield run
    pump.close()
    wanted = "completed" if flow == "happy" else "compensated"
    with sqlite3.connect(path) as connection:
        ended = connection.execute("SELECT count(*) FROM head WHERE status = ?", (wanted,)).fetchone()[0]
    if ended != started:
        raise RuntimeError(f"{started} sagas were started and {ended} ended")
