"""The bare group-commit loop on PostgreSQL: what durability alone costs in Python with asyncpg.

The tables and indexes are amends' own, and so are the rows: a journal row per outcome, a head row
at the start, changed where a saga turns back and at the end. One pump writes all that waits as one
prepared statement that commits by itself. No retries, no timeouts, no guards, no recovery.

Guarantees: no step runs before the outcome it follows is on disk; the session's settings are
those of amends.
Must not: do anything that a saga engine would need.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import asyncpg

from amends.run.chance import id_text
from amends.store.postgres_line import connect
from amends.store.postgres_place import COMMIT_SETTINGS, SETTINGS, place_of
from amends.store.sql import migrations
from bench.contender_bare import Row, Run, runner

HASH = bytes(16)
WRITE = """
WITH added AS (
    INSERT INTO amends.saga (ns, plan, id, key, status, epoch, owner, created_at, updated_at, input_hash)
    SELECT 1, 1, n.id, n.key, n.status, 1, 1, 0, 0, n.input_hash
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[]) AS n (id, key, status, input_hash)
), changed AS (
    UPDATE amends.saga s SET status = c.status, owner = c.owner, updated_at = 1
    FROM unnest($5::uuid[], $6::text[], $7::bigint[], $12::int[]) AS c (saga, status, owner, ns)
    WHERE s.ns = c.ns AND s.id = c.saga -- with a literal number, a plan made on empty tables scans the index
)
INSERT INTO amends.journal (ns, seq, saga, op, row)
SELECT 1, r.seq, r.saga, r.op, r.row
FROM unnest($8::uuid[], $9::int[], $10::bigint[], $11::text[]) AS r (saga, seq, op, row)
"""
Connection = Any


class Pump:
    """All rows that wait, one statement."""

    def __init__(self, connection: Connection, statement: Any) -> None:
        self._connection = connection
        self._statement = statement
        self._loop = asyncio.get_running_loop()
        self._queue: list[tuple[Row, asyncio.Future[None]]] = []
        self._operations = count()
        self._busy: asyncio.Task[None] | None = None

    def write(self, saga: bytes, seq: int, row: bytes, status: str | None = None) -> asyncio.Future[None]:
        """A future that is done once the row is on disk."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._queue.append(((saga, seq, row, status), future))
        if self._busy is None:
            self._busy = self._loop.create_task(self._pump())
        return future

    async def _pump(self) -> None:
        while self._queue:
            batch, self._queue = self._queue, []
            await self._statement.fetch(*self._columns([row for row, _ in batch]))
            for _, future in batch:
                future.set_result(None)
            await asyncio.sleep(0)  # those who were just told come first: what they write now goes along
        self._busy = None

    def _columns(self, rows: list[Row]) -> list[list[object]]:
        rows.sort(key=lambda row: row[0])
        starts = [(saga, status) for saga, seq, _, status in rows if seq == 0]
        heads = [(saga, status) for saga, seq, _, status in rows if seq and status is not None]
        return [
            [saga for saga, _ in starts],
            [id_text(saga) for saga, _ in starts],
            [status for _, status in starts],
            [HASH] * len(starts),
            [saga for saga, _ in heads],
            [status for _, status in heads],
            [1 if status == "compensating" else None for _, status in heads],
            [saga for saga, _, _, _ in rows],
            [seq for _, seq, _, _ in rows],
            [next(self._operations) for _ in rows],
            [row.decode() for _, _, row, _ in rows],
            [1] * len(heads),
        ]


async def _ready(url: str) -> Connection:
    """A connection to a database with amends' tables."""
    options = place_of(url).options(name="bare", settings={**SETTINGS, **COMMIT_SETTINGS})
    connection = await connect(options, pooled=False)
    if await connection.fetchval("SELECT to_regclass('amends.saga')") is None:
        for _, script in migrations("postgres"):
            await connection.execute(script)
    return connection


@asynccontextmanager
async def running(url: str, flow: str) -> AsyncIterator[Run]:
    """A function that runs one saga to its end."""
    connection = await _ready(url)
    try:
        one, started = runner(Pump(connection, await connection.prepare(WRITE)), flow), 0

        async def run() -> None:
            nonlocal started
            started += 1
            await one()

        yield run
        wanted = "completed" if flow == "happy" else "compensated"
        ended = await connection.fetchval("SELECT count(*) FROM amends.saga WHERE status = $1", wanted)
        if ended != started:
            raise RuntimeError(f"{started} sagas were started and {ended} ended")
    finally:
        await connection.close()


async def commit(url: str, times: int = 300) -> list[float]:
    """How long one row in one commit takes on such a connection, in milliseconds, each."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS probe (id bigint PRIMARY KEY, row text NOT NULL)")
        await connection.execute("TRUNCATE probe")
        statement = await connection.prepare("INSERT INTO probe VALUES ($1, $2)")
        took, row, loop = [], "x" * 260, asyncio.get_running_loop()
        for number in range(times):
            since = loop.time()
            await statement.fetch(number, row)
            took.append((loop.time() - since) * 1e3)
        return took
    finally:
        await connection.close()
