"""dbos: a workflow of three steps, called directly, which is its fastest way.

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

import psycopg

from bench.order import DOCUMENT, Refused

VARIANTS = ("async", "threads")
POOL_DEFAULT, POOL_MANY = 20, 50


def _config(url: str, journal: str, in_flight: int) -> dict[str, Any]:
    config: dict[str, Any] = {
        "name": "order-bench",
        "system_database_url": url,
        "application_version": "1",
        "log_level": "ERROR",
        "max_executor_threads": max(in_flight, 20) + 4,
    }
    if url.startswith("sqlite"):
        _keep_journal(journal)
    elif in_flight > POOL_DEFAULT:
        config["sys_db_pool_size"] = POOL_MANY  # a tenth faster at 100 in flight than the default or a line for each
    return config


def _keep_journal(mode: str) -> None:
    sqlalchemy: Any = import_module("sqlalchemy")

    def connected(connection: Any, _: Any) -> None:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("PRAGMA synchronous = FULL")

    sqlalchemy.event.listen(sqlalchemy.pool.Pool, "connect", connected)


@asynccontextmanager
async def running(url: str, flow: str, variant: str, journal: str, in_flight: int) -> AsyncIterator[Callable[[], Any]]:
    """A function that runs one workflow to its end: a coroutine function, or a plain one."""
    dbos: Any = import_module("dbos")
    DBOS = dbos.DBOS
    DBOS(config=_config(url, journal, in_flight))
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
    ended = _succeeded(url)
    if ended != started:
        raise RuntimeError(f"{started} workflows were started and {ended} ended")


def _succeeded(url: str) -> int:
    """How many workflows the database says have succeeded."""
    if url.startswith("sqlite"):
        with sqlite3.connect(Path(url.removeprefix("sqlite:///"))) as file:
            row = file.execute("SELECT count(*) FROM workflow_status WHERE status = 'SUCCESS'").fetchone()
    else:
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'").fetchone()
    return 0 if row is None else int(row[0])


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
