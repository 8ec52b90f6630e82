"""A shop with sagas in every state, run by a real orchestrator, with its dashboard beside it.

Guarantees: what goes wrong is switched on and off by the test; everything that is started is stopped.
Must not: know how a page looks.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

import uvicorn
from starlette.applications import Starlette

from amends import Orchestrator, Park, Reject, Retry, Saga, for_each, parallel, pivot, step, wait_for
from amends.asgi import Person, Role, web
from amends.operate.operations import Operations

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
FAULTS: set[str] = set()


@dataclass(frozen=True)
class Order:
    sku: str
    cents: int = 4200
    note: str = ""


@dataclass(frozen=True)
class Stock:
    number: int


@dataclass(frozen=True)
class Payment:
    receipt: str


@dataclass(frozen=True)
class Shipment:
    code: str


@dataclass(frozen=True)
class Trip:
    person: str
    hotels: list[str]


@dataclass(frozen=True)
class Approval:
    granted: bool


@step(retry=Retry(attempts=2, first_delay=0.01))
async def reserve_stock(order: Order) -> Stock:
    return Stock(7)


@reserve_stock.compensation(retry=Retry(attempts=2, first_delay=0.01))
async def release_stock(stock: Stock | None) -> None:
    if "warehouse" in FAULTS:
        raise ConnectionError("the warehouse does not answer: connection refused by 10.0.3.17:8080")


@step(retry=Retry(attempts=2, first_delay=0.01))
async def charge_card(order: Order, stock: Stock) -> Payment:
    if order.sku == "declined":
        raise Reject("the card was declined")
    if order.note:
        raise Park(order.note)
    if "bank" in FAULTS:
        raise Park(f"the bank refuses our key: 401 for charge {order.cents}")
    return Payment("R-1001")


@charge_card.compensation
async def refund(payment: Payment | None) -> None: ...


@step(retry=Retry(attempts=None, first_delay=30.0))
async def ship(payment: Payment) -> Shipment:
    if "lorry" in FAULTS:
        raise TimeoutError("no lorry was free")
    return Shipment("S-77")


@step
async def send_receipt(payment: Payment) -> None: ...


@step
async def book_hotel(hotel: str) -> int:
    return len(hotel)


@book_hotel.compensation
async def cancel_hotel(hotel: str, number: int | None) -> None: ...


@step
async def book_flight(trip: Trip) -> Payment:
    return Payment("F-1")


@book_flight.compensation
async def cancel_flight(payment: Payment | None) -> None: ...


@step(retry=Retry(attempts=50, first_delay=20.0))
async def pack(order: Order) -> None:
    if "hands" in FAULTS:
        raise TimeoutError("nobody had a hand free")


@pack.compensation(retry=Retry(attempts=50, first_delay=20.0))
async def unpack() -> None: ...


def hotels(trip: Trip) -> list[str]:
    """Where the trip sleeps."""
    return trip.hotels


approval = wait_for("approval", Approval, reject_if=lambda answer: not answer.granted, timeout=86_400.0)
place_order = Saga(
    "place-order",
    reserve_stock,
    charge_card,
    pivot,
    parallel(ship, send_receipt),
    input=Order,
    output=ship,
    version="2",
)
book_trip = Saga("book-trip", book_flight, for_each(book_hotel, over=hotels), approval, input=Trip)
pack_gift = Saga("pack-gift", pack, input=Order)


class Scene(NamedTuple):
    """The shop at work. url: of its dashboard; tokens: by role."""

    orchestrator: Orchestrator
    app: Starlette
    tokens: dict[str, str]
    url: str = ""

    async def park(self, count: int, prefix: str = "order") -> list[str]:
        """Orders that are parked by the same failure."""
        FAULTS.add("bank")
        ids = [f"{prefix}-{number}" for number in range(1, count + 1)]
        for number, id_ in enumerate(ids):
            await self.orchestrator.run(place_order, Order("tea", 1000 + number), id=id_)
        FAULTS.discard("bank")
        return ids

    async def fill(self) -> None:
        """Something of everything."""
        run, start = self.orchestrator.run, self.orchestrator.start
        for number in range(1, 13):
            await run(place_order, Order("tea"), id=f"done-{number}")
        for number in range(1, 5):
            await run(place_order, Order("declined"), id=f"undone-{number}")
        await self.park(9)
        FAULTS.add("warehouse")
        for number in range(1, 4):
            await run(place_order, Order("declined"), id=f"refund-{number}")
        await run(place_order, Order("tea", note=HOSTILE), id=f"hostile-{HOSTILE[:20]}")
        FAULTS.discard("warehouse")
        await start(book_trip, Trip("Ada", ["Athens", "Berlin", "Cairo"]), id="trip-1")
        await start(book_trip, Trip("Grace", ["Delhi"]), id="trip-2")
        FAULTS.update({"lorry", "hands"})
        await start(place_order, Order("sofa"), id="slow-1")
        await start(pack_gift, Order("vase"), id="gift-1")

    async def settle(self) -> None:
        """Until those that wait do wait."""
        desk = Operations(self.orchestrator.session)
        for id_, step_ in (("trip-1", "approval"), ("trip-2", "approval"), ("slow-1", "ship"), ("gift-1", "pack")):
            while not any(s.address == step_ and s.status == "waiting" for s in (await desk.show(id_)).steps):
                await asyncio.sleep(0.01)


@asynccontextmanager
async def scene(database: str) -> AsyncGenerator[Scene, None]:
    """The shop, at work on a database."""
    FAULTS.clear()
    orchestrator = Orchestrator(database, sagas=[place_order, book_trip, pack_gift])
    tokens = {name: secrets.token_urlsafe(24) for name in ("admin", "operator", "viewer")}
    people = {
        tokens["admin"]: Person("Ada", Role.ADMIN, payloads=True),
        tokens["operator"]: Person("Olga", Role.OPERATOR, payloads=True),
        tokens["viewer"]: Person("Victor", Role.VIEWER),
    }
    async with orchestrator:
        yield Scene(orchestrator, web(orchestrator, tokens=people, title="shop"), tokens)
    FAULTS.clear()


@asynccontextmanager
async def served(found: Scene) -> AsyncGenerator[Scene, None]:
    """Its dashboard on a port of this machine."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(found.app, log_level="warning", lifespan="on", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            yield found._replace(url=f"http://127.0.0.1:{listening.getsockname()[1]}")
        finally:
            server.should_exit = True
            await task
