"""Reads that take long keep a worker neither from its lease nor from its work."""

from __future__ import annotations

import asyncio

import pytest
from postgres_scene import HERE, Gate, Order, on, user

from amends import Completed
from amends.store.postgres_line import SQL

SLOW = "SELECT 1, 'x', count(*) FROM (SELECT pg_sleep(15)) AS slow WHERE $1 > 0"


def test_reads_that_take_long_keep_a_worker_neither_from_its_lease_nor_from_its_work(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SQL, "count", SLOW)

    async def main() -> None:
        gate = Gate()
        beside = on(postgres_url, gate.saga)
        async with on(postgres_url, gate.saga, lease_seconds=3.0) as orchestrator, user(postgres_url) as somebody:
            worker = orchestrator.session.worker
            assert worker is not None
            number, store = worker.worker, orchestrator.session.store
            reads = [asyncio.create_task(store.count()) for _ in range(20)]
            await somebody.until(f"SELECT count(*) > 2 FROM {HERE} AND wait_event = 'PgSleep'")
            expires = "SELECT expires_at FROM amends.worker WHERE id = $1"
            first = await somebody.value(expires, number)
            async with beside.client() as client:
                assert await asyncio.wait_for(client.run(gate.saga, Order()), 10) == Completed(None)
            await somebody.until(f"SELECT ({expires}) > $2::float8 + 3", number, first)
            asleep = await somebody.value(f"SELECT count(*) FROM {HERE} AND wait_event = 'PgSleep'")
            assert asleep > 2, "the reads are still on their way"
            assert worker.worker == number
            for read in reads:
                read.cancel()

    asyncio.run(main())
