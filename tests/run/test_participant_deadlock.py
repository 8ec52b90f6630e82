"""A batch that is the victim of a real deadlock is done one by one, and nothing of it is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
from participant_scene import POSTGRES_TX, Place, Stock, action, at_work, reserving

from amends.decide.wire import Word

PATIENCE_SECONDS = 30.0
TAKE = "UPDATE shelf SET taken = taken + 1 WHERE sku = $1"
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'"


async def waiting(watcher: asyncpg.Connection[Any], pid: int) -> None:
    """Until a session waits for a lock."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await watcher.fetchval(WAITS, pid):
            await asyncio.sleep(0.01)


async def cross(other: asyncpg.Connection[Any], ready: asyncio.Event, crossed: asyncio.Event) -> None:
    """Take the piano, and then the lamp."""
    async with other.transaction():
        await other.execute("SET LOCAL deadlock_timeout = '60s'")  # the batch is who finds the deadlock
        await other.execute(TAKE, "piano")
        ready.set()
        await crossed.wait()
        await other.execute(TAKE, "lamp")


def test_a_batch_that_is_the_victim_of_a_deadlock_is_done_one_by_one(postgres_url: str) -> None:
    place = Place("postgres", postgres_url, POSTGRES_TX)
    stock = Stock(place)
    place.sql("CREATE TABLE shelf (sku text PRIMARY KEY, taken integer NOT NULL DEFAULT 0)")
    place.sql("INSERT INTO shelf (sku) VALUES ('lamp'), ('piano')")
    calls: list[str] = []
    lost: list[str] = []
    crossed = asyncio.Event()

    async def reserve(command: Any, tx: Any) -> Any:
        calls.append(command.sku)
        await tx.execute("SET LOCAL lock_timeout = 0")  # or that is quicker than the server's look for deadlocks
        try:
            await tx.execute(TAKE, command.sku)
        except asyncpg.DeadlockDetectedError:
            lost.append(command.sku)
            raise
        if command.sku == "lamp" and calls == ["lamp"]:
            crossed.set()
            watcher = await asyncpg.connect(postgres_url)
            await waiting(watcher, other.get_server_pid())  # it has the piano, and wants the lamp
            await watcher.close()
        return stock.reserve.replied.type(command.sku)  # type: ignore[operator]

    app = reserving(stock, reserve)
    other: Any = None
    ready = asyncio.Event()

    async def main() -> None:
        nonlocal other
        other = await asyncpg.connect(postgres_url)
        async with at_work(stock, app) as peer:
            crossing = asyncio.create_task(cross(other, ready, crossed))
            await ready.wait()
            lamp = action(b'{"sku":"lamp"}', saga=bytes([1]) * 16, key="lamp")
            piano = action(b'{"sku":"piano"}', saga=bytes([2]) * 16, key="piano")
            await peer.send(lamp, piano)
            replies = [await peer.reply() for _ in range(2)]
            await crossing
        await other.close()
        assert {reply.key: reply.word for reply in replies} == {"lamp": Word.SUCCEEDED, "piano": Word.SUCCEEDED}

    asyncio.run(main())
    assert calls[:2] == ["lamp", "piano"]
    assert sorted(calls[2:]) == ["lamp", "piano"]
    assert dict(place.sql("SELECT sku, taken FROM shelf")) == {"lamp": 2, "piano": 2}
    assert lost == ["piano"]
