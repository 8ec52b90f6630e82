"""What is typed well of participants: the decorated function is returned as it is, with its own type."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any, assert_type

from sqlalchemy.ext.asyncio import AsyncConnection
from typed_shop import Order, Reservation, ReserveStock, Shop

from amends import Context, Flow, Participant, Resource, Retry, Service, Settings
from amends.decide.flows import Expectation

stock = Service("stock")
take = stock.command("take", ReserveStock, reply=Reservation)
drop = stock.command("drop", ReserveStock)
taken = stock.event("taken", Order, key=lambda order: order.sku)
short = stock.event("short", ReserveStock, rejection=True)
returned = stock.event("returned", Reservation, compensates=taken, begins=True)
line = assert_type(taken.leads_to(short, returned, within=timedelta(minutes=2)), Expectation)
flow = Flow("stock", line, short.leads_to(returned, within=30))
app = Participant(stock, database="sqlite:///stock.db", settings=Settings(handlers=5))


@app.handles(take, batch=20, timeout=5)
async def do_take(command: ReserveStock, tx: AsyncConnection, shop: Resource[Shop]) -> Reservation:
    return await shop.reserve(command.sku, key="key")


@app.compensates(take)
async def undo_take(command: ReserveStock, reservation: Reservation, tx: AsyncConnection, ctx: Context) -> None: ...


@app.handles(drop, rejects=(ValueError,))
def do_drop(command: ReserveStock, tx: sqlite3.Connection) -> None: ...


@app.compensates(drop)
def undo_drop(command: ReserveStock, tx: sqlite3.Connection) -> None: ...


@app.on(taken, retry=Retry(attempts=3))
async def hear(event: Order, tx: AsyncConnection, ctx: Context) -> Order | None:
    assert_type((ctx.correlation, ctx.causation), tuple[str, str])
    return event


async def functions_stay_functions(
    command: ReserveStock, tx: AsyncConnection, file: sqlite3.Connection, ctx: Context
) -> None:
    """A plain call is a plain call, and a test may make it."""
    assert_type(await do_take(command, tx, Shop()), Reservation)
    waiting = assert_type(do_take(command, tx, Shop()), Coroutine[Any, Any, Reservation])
    assert_type(await waiting, Reservation)
    assert_type(await hear(Order("tea"), tx, ctx), Order | None)
    do_drop(command, file)
    undo_drop(command, file)
    undone: Callable[..., Coroutine[Any, Any, None]] = undo_take
    assert_type(undone, Callable[..., Coroutine[Any, Any, None]])


async def at_work(tx: AsyncConnection, file: sqlite3.Connection) -> None:
    """Entered like an orchestrator."""
    async with app as entered:
        assert_type(entered, Participant)
        assert_type(entered.trouble, str)
        assert_type(entered.figures.handled, int)
    async with app.lifespan():
        told = assert_type(app.publish(taken, Order("tea"), within=file), Awaitable[None])
        await told
        await app.publish(taken, Order("tea"), within=tx, correlation="order-1")
