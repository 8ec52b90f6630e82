"""absurd: a task of three steps, claimed and run by whoever spawned one.

Its own worker polls, four times a second by default. Here nobody waits for a poll: each saga in
flight has a connection of its own, spawns a task, claims one and runs it to its end. That was
its fastest way, in throughput and in latency.

Compensation is written by hand, as for dbos: the task catches the error and runs the undoing steps.

Guarantees: the schema is the one that its command-line tool carries.
Must not: change what absurd promises.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

import psycopg

from bench.order import DOCUMENT, Refused

QUEUE = "orders"


def _install(url: str) -> None:
    schema: str = import_module("absurdctl").BUNDLED_SCHEMA_SQL
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.execute("SELECT to_regnamespace('absurd')").fetchone() == (None,):
            connection.execute(schema.encode())
            connection.execute("SELECT absurd.create_queue(%s)", (QUEUE,))


@asynccontextmanager
async def running(url: str, flow: str, in_flight: int) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """A function that spawns one task, and claims and runs one."""
    _install(url)
    free = [_client(url, flow) for _ in range(in_flight)]
    clients, started = list(free), 0
    await asyncio.gather(*(client._ensure_connected() for client in clients))

    async def run() -> None:
        nonlocal started
        started += 1
        client = free.pop()
        await client.spawn("place-order", DOCUMENT)
        await client.work_batch()
        free.append(client)

    yield run
    while _tasks(url, "pending"):
        await clients[0].work_batch()
    for client in clients:
        await client.close()
    ended = _tasks(url, "completed")
    if ended != started:
        raise RuntimeError(f"{started} tasks were spawned and {ended} completed")


def _tasks(url: str, state: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM absurd.t_orders WHERE state = %s", (state,)).fetchone()
    return 0 if row is None else int(row[0])


def _client(url: str, flow: str) -> Any:
    client: Any = import_module("absurd_sdk").AsyncAbsurd(url, queue_name=QUEUE)

    async def reserve() -> dict[str, Any]:
        return {"id": "r-000017"}

    async def charge() -> dict[str, Any]:
        return {"id": "p-000017", "cents": 26399}

    async def ship() -> dict[str, Any]:
        if flow == "compensated":
            raise Refused("no room in the van")
        return {"tracking": "t-000017"}

    async def undo() -> None:
        pass

    async def place_order(order: dict[str, Any], ctx: Any) -> str:
        await ctx.step("reserve", reserve)
        await ctx.step("charge", charge)
        try:
            await ctx.step("ship", ship)
        except Refused:
            await ctx.step("refund", undo)
            await ctx.step("release", undo)
            return "undone"
        return "shipped"

    client.register_task("place-order")(place_order)
    return client
