"""The order service's way in: starts sagas and tells how they stand. It needs the database, and no broker.

    uvicorn examples.order_system.web:web

Must not: run a step; any number of such processes stand beside the workers.
"""

from __future__ import annotations

from fastapi import FastAPI, HTTPException

from amends import Compensated, Completed, Parked
from amends.errors import IdConflict, StoreUnavailable, TooLate, UnknownSaga

from .orders import Order, orchestrator, place_order

web = FastAPI(lifespan=orchestrator.client_lifespan)


@web.post("/orders", status_code=202)
async def place(order: Order) -> dict[str, str]:
    """Once this answers, the order is on disk. Asked again with the same order, it is the same order."""
    try:
        handle = await orchestrator.start(place_order, order, id=order.id)
    except IdConflict as error:
        raise HTTPException(409, str(error)) from None
    except StoreUnavailable as error:
        raise HTTPException(503, str(error)) from None
    return {"id": handle.saga_id}


@web.get("/orders/{order_id}")
async def outcome(order_id: str, wait_seconds: float = 0.0) -> dict[str, str]:
    try:
        match await orchestrator.handle(place_order, order_id).outcome(timeout=min(wait_seconds, 30.0)):
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


@web.post("/orders/{order_id}/cancel", status_code=202)
async def cancel(order_id: str) -> dict[str, str]:
    try:
        await orchestrator.cancel(order_id, reason="the customer changed their mind")
    except UnknownSaga:
        raise HTTPException(404, f"there is no order {order_id}") from None
    except TooLate as error:
        raise HTTPException(409, str(error)) from None
    return {"id": order_id}
