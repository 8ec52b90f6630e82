"""dbos on SQLite: a workflow of three steps, called directly, which is its fastest way.

Compensation is what its documentation shows for failing workflows: the workflow catches the
error and runs the undoing steps.

Guarantees: coroutines on the loop, or plain functions on threads, whichever is faster; threads
were, in every measurement.
Must not: change what dbos promises.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.order import DOCUMENT, Refused

VARIANTS = ("async", "threads")


def _config(path: Path, journal: str, in_flight: int) -> dict[str, Any]:
    sqlalchemy: Any = import_module("sqlalchemy")

    def connected(connection: Any, _: Any) -> None:
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute("PRAGMA synchronous = FULL")

    sqlalchemy.event.listen(sqlalchemy.pool.Pool, "connect", connected)
    return {
        "name": "order-bench",
        "system_database_url": f"sqlite:///{path}",
        "application_version": "1",
        "log_level": "ERROR",
        "max_executor_threads": max(in_flight, 20) + 4,
    }


@asynccontextmanager
async def running(
    path: Path, flow: str, variant: str, journal: str, in_flight: int
) -> AsyncIterator[Callable[[], Any]]:
    """A function that runs one workflow to its end: a coroutine function, or a plain one."""
    dbos: Any = import_module("dbos")
    DBOS = dbos.DBOS
    DBOS(config=_config(path, journal, in_flight))
    workflow: Any = _async_workflow(DBOS, flow) if variant == "async" else _plain_workflow(DBOS, flow)
    DBOS.launch()
    wanted = "shipped" if flow == "happy" else "undone"
    started = 0

    async def run_async() -> None:
        nonlocal started
        started += 1
        if await workflow(DOCUMENT) != wanted:
            raise RuntimeError("not what was wanted")

    def run_plain() -> None:
        nonlocal started
        started += 1
        if workflow(DOCUMENT) != wanted:
            raise RuntimeError("not what was wanted")

    yield run_async if variant == "async" else run_plain
    DBOS.destroy()
    with sqlite3.connect(path) as connection:
        query = "SELECT count(*) FROM workflow_status WHERE status = 'SUCCESS'"
        ended = connection.execute(query).fetchone()[0]
    if ended != started:
        raise RuntimeError(f"{started} workflows were started and {ended} ended")


def _async_workflow(DBOS: Any, flow: str) -> Callable[[Any], Awaitable[str]]:
    @DBOS.step()  # type: ignore[untyped-decorator]
    async def reserve(order: dict[str, Any]) -> dict[str, Any]:
        return {"id": "r-000017"}

    @DBOS.step()  # type: ignore[untyped-decorator]
    async def charge(order: dict[str, Any]) -> dict[str, Any]:
        return {"id": "p-000017", "cents": 26399}

    @DBOS.step()  # type: ignore[untyped-decorator]
    async def ship(order: dict[str, Any]) -> dict[str, Any]:
        if flow == "compensated":
            raise Refused("no room in the van")
        return {"tracking": "t-000017"}

    @DBOS.step()  # type: ignore[untyped-decorator]
    async def refund(payment: dict[str, Any]) -> None:
        pass

    @DBOS.step()  # type: ignore[untyped-decorator]
    async def release(reservation: dict[str, Any]) -> None:
        pass

    @DBOS.workflow()  # type: ignore[untyped-decorator]
    async def place_order(order: dict[str, Any]) -> str:
        reservation = await reserve(order)
        payment = await charge(order)
        try:
            await ship(order)
        except Refused:
            await refund(payment)
            await release(reservation)
            return "undone"
        return "shipped"

    found: Callable[[Any], Awaitable[str]] = place_order
    return found


def _plain_workflow(DBOS: Any, flow: str) -> Callable[[Any], str]:
    @DBOS.step()  # type: ignore[untyped-decorator]
    def reserve(order: dict[str, Any]) -> dict[str, Any]:
        return {"id": "r-000017"}

    @DBOS.step()  # type: ignore[untyped-decorator]
    def charge(order: dict[str, Any]) -> dict[str, Any]:
        return {"id": "p-000017", "cents": 26399}

    @DBOS.step()  # type: ignore[untyped-decorator]
    def ship(order: dict[str, Any]) -> dict[str, Any]:
        if flow == "compensated":
            raise Refused("no room in the van")
        return {"tracking": "t-000017"}

    @DBOS.step()  # type: ignore[untyped-decorator]
    def refund(payment: dict[str, Any]) -> None:
        pass

    @DBOS.step()  # type: ignore[untyped-decorator]
    def release(reservation: dict[str, Any]) -> None:
        pass

    @DBOS.workflow()  # type: ignore[untyped-decorator]
    def place_order(order: dict[str, Any]) -> str:
        reservation = reserve(order)
        payment = charge(order)
        try:
            ship(order)
        except Refused:
            refund(payment)
            release(reservation)
            return "undone"
        return "shipped"

    found: Callable[[Any], str] = place_order
    return found
