"""Orders over HTTP: start one, ask for its outcome, answer its question, list them all.

One process that does everything: `uvicorn fastapi_app:app`. Several web processes beside one
worker: `amends worker fastapi_app:orchestrator`, and `uvicorn fastapi_app:web --workers 4`.
Run a conversation with it: python examples/fastapi_app.py
"""

import asyncio
from dataclasses import asdict, dataclass
from datetime import timedelta

import httpx
from fastapi import FastAPI, HTTPException

from amends import Compensated, Completed, Orchestrator, Parked, Saga, pivot, step, wait_for
from amends.errors import Refused, TooLate, UnknownSaga
from amends.operate.operations import Operations


@dataclass(frozen=True)
class Order:
    sku: str
    cents: int


@dataclass(frozen=True)
class Offer:
    cents: int


@dataclass(frozen=True)
class Answer:
    accepted: bool


# The saga.


@step(readonly=True)
async def make_offer(order: Order) -> Offer:
    return Offer(order.cents * 9 // 10)


answer = wait_for("answer", Answer, timeout=timedelta(days=7), reject_if=lambda given: not given.accepted)


@step
async def ship(order: Order, offer: Offer) -> str:
    return f"{order.sku} is on its way, for {offer.cents / 100:.2f}"


sell = Saga("sell", make_offer, answer, pivot, ship, input=Order, output=ship)
orchestrator = Orchestrator("sqlite:///sales.db", sagas=[sell])

# The endpoints.

app = FastAPI(lifespan=orchestrator.lifespan)
web = FastAPI(lifespan=orchestrator.client_lifespan)
web.router.routes = app.router.routes  # the same endpoints, in a process that runs no sagas


@app.post("/orders/{order_id}", status_code=202)
async def place(order_id: str, order: Order) -> dict[str, str]:
    handle = await orchestrator.start(sell, order, id=order_id)
    return {"id": handle.saga_id}


@app.get("/orders/{order_id}")
async def outcome(order_id: str, wait_seconds: float = 0.0) -> dict[str, str]:
    try:
        match await orchestrator.handle(sell, order_id).outcome(timeout=min(wait_seconds, 30.0)):
            case Completed(result):
                return {"status": "completed", "result": result}
            case Compensated(reason):
                return {"status": "compensated", "reason": reason}
            case Parked(reason):
                return {"status": "parked", "reason": reason}
    except TimeoutError:
        return {"status": "running"}
    except UnknownSaga:
        raise HTTPException(404, f"there is no order {order_id}") from None


@app.post("/orders/{order_id}/answer")
async def say(order_id: str, given: Answer) -> dict[str, str]:
    try:
        await orchestrator.signal(order_id, answer, given)
    except UnknownSaga:
        raise HTTPException(404, f"there is no order {order_id}") from None
    except (TooLate, Refused) as error:
        raise HTTPException(409, str(error)) from None
    return {"answer": "accepted"}


@app.get("/orders")
async def orders(status: str | None = None) -> list[dict[str, str]]:
    wanted = () if status is None else (status,)
    page = await Operations(orchestrator.session).find(statuses=wanted, sagas=["sell"])
    return [{"id": saga.id, "status": saga.status} for saga in page.sagas]


# A conversation, without a server.


async def converse(client: httpx.AsyncClient, order_id: str, given: Answer) -> None:
    def show(response: httpx.Response) -> None:
        print(f"{response.request.method} {response.request.url.path}: {response.status_code} {response.text}")

    show(await client.post(f"/orders/{order_id}", json=asdict(Order("book", 2_900))))
    show(await client.get(f"/orders/{order_id}"))
    show(await client.post(f"/orders/{order_id}/answer", json=asdict(given)))
    show(await client.get(f"/orders/{order_id}", params={"wait_seconds": 10}))
    show(await client.post(f"/orders/{order_id}/answer", json=asdict(given)))


async def main() -> None:
    transport = httpx.ASGITransport(app)
    async with orchestrator.lifespan(app), httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        await converse(client, "order-1", Answer(accepted=True))
        await converse(client, "order-2", Answer(accepted=False))
        print((await client.get("/orders")).text)


if __name__ == "__main__":
    asyncio.run(main())
