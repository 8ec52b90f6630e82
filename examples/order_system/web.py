"""The order service's way in: starts sagas and tells how they stand.

    uvicorn examples.order_system.web:web

With an orchestrator it is a client, which needs the database and no broker. Without one it is one more process of the
order service: it starts a saga in a transaction of its own, and hears how that ends.

Must not: know more of a saga than its name.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
from fastapi import FastAPI, HTTPException

from amends import Compensated, Completed, Parked, Participant
from amends.errors import IdConflict, StoreUnavailable, TooLate, UnknownSaga

from . import contracts as c
from .orders import app, orchestrator
from .places import BROKER_URL, CHOREOGRAPHED, ORDERS_DATABASE
from .saga import Order, place_order

WHY = "the customer changed their mind"


@asynccontextmanager
async def lifespan(web: FastAPI) -> AsyncGenerator[None, None]:
    if not CHOREOGRAPHED:
        async with orchestrator.client_lifespan(web):
            yield
        return
    async with AsyncExitStack() as stack:
        for participant in (app, *_others()):
            await stack.enter_async_context(participant)
        pool = asyncpg.create_pool(ORDERS_DATABASE, min_size=0, max_size=5)
        web.state.pool = await stack.enter_async_context(pool)
        yield


def _others() -> list[Participant]:
    """Where there is no broker, whoever talks to each other is in one process: this one."""
    if BROKER_URL is not None:
        return []
    from . import inventory, payment

    return [inventory.app, payment.app]


web = FastAPI(lifespan=lifespan)


@web.post("/orders", status_code=202)
async def place(order: Order) -> dict[str, str]:
    """Once this answers, the order is on disk. Asked again with the same order, it is the same order."""
    try:
        return {"id": await _start(order)}
    except IdConflict as error:
        raise HTTPException(409, str(error)) from None
    except (StoreUnavailable, asyncpg.PostgresError, OSError) as error:
        raise HTTPException(503, str(error)) from None


async def _start(order: Order) -> str:
    if not CHOREOGRAPHED:
        return (await orchestrator.start(place_order, order, id=order.id)).saga_id
    async with web.state.pool.acquire() as connection, connection.transaction():
        return await app.start(place_order, order, within=connection, id=order.id)


@web.get("/orders/{order_id}")
async def outcome(order_id: str, wait_seconds: float = 0.0) -> dict[str, str]:
    try:
        match await _outcome(order_id, min(wait_seconds, 30.0)):
            case Completed(shipment):
                return {"status": "completed", "parcel": shipment.parcel}
            case Compensated(reason):
                return {"status": "compensated", "reason": reason}
            case Parked(reason):
                return {"status": "parked", "reason": reason}
    except TimeoutError:
        return {"status": "running"}
    except UnknownSaga:
        raise HTTPException(404, f"there is no order {order_id}") from None


async def _outcome(order_id: str, seconds: float) -> Completed[c.Shipment] | Compensated | Parked:
    if CHOREOGRAPHED:
        return await app.outcome(place_order, order_id, timeout=seconds)
    return await orchestrator.handle(place_order, order_id).outcome(timeout=seconds)


@web.post("/orders/{order_id}/cancel", status_code=202)
async def cancel(order_id: str) -> dict[str, str]:
    try:
        if CHOREOGRAPHED:
            await app.cancel(order_id, reason=WHY)
        else:
            await orchestrator.cancel(order_id, reason=WHY)
    except UnknownSaga:
        raise HTTPException(404, f"there is no order {order_id}") from None
    except TooLate as error:
        raise HTTPException(409, str(error)) from None
    except StoreUnavailable as error:
        raise HTTPException(503, str(error)) from None
    return {"id": order_id}
