"""amends, as a user would write it.

Guarantees: checks at the end that the store has every saga ended.
Must not: use anything that is not public, but for counting.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from amends import Compensated, Completed, Orchestrator, Saga, step
from amends.store import sqlite_file
from bench.order import ORDER, PAYMENT, RESERVATION, SHIPMENT, Order, Payment, Refused, Reservation, Shipment

Run = Callable[[], Awaitable[object]]


@step
async def reserve_stock(order: Order) -> Reservation:
    """Reserve."""
    return RESERVATION


@reserve_stock.compensation
async def release_stock(reservation: Reservation | None) -> None:
    """Release."""


@step
async def charge_card(order: Order, reservation: Reservation) -> Payment:
    """Charge."""
    return PAYMENT


@charge_card.compensation
async def refund(payment: Payment | None) -> None:
    """Refund."""


@step(rejects=(Refused,))
async def ship(order: Order, payment: Payment) -> Shipment:
    """Ship."""
    return SHIPMENT


@ship.compensation
async def call_back(shipment: Shipment | None) -> None:
    """Call the parcel back."""


@step(rejects=(Refused,))
async def refuse_to_ship(order: Order, payment: Payment) -> Shipment:
    """The shipper says no."""
    raise Refused("no room in the van")


@refuse_to_ship.compensation
async def nothing_to_call_back(shipment: Shipment | None) -> None:
    """Never called."""


SAGAS = {
    "happy": Saga("place-order", reserve_stock, charge_card, ship, input=Order, output=ship),
    "compensated": Saga("refused-order", reserve_stock, charge_card, refuse_to_ship, input=Order),
}


@asynccontextmanager
async def running(url: str, flow: str, journal: str = "", *, alone: bool = True) -> AsyncIterator[Run]:
    """A function that runs one saga to its end. alone: nobody else works on this database."""
    if journal:
        sqlite_file.library_is_fixed = lambda version=None: journal == "wal"  # as on a library of the other kind
    saga = SAGAS[flow]
    wanted = Completed if flow == "happy" else Compensated
    started = 0
    async with Orchestrator(url, sagas=[saga], migrate=True) as orchestrator:
        before = await _ended(orchestrator, wanted.__name__.lower())

        async def run() -> None:
            nonlocal started
            started += 1
            outcome = await orchestrator.run(saga, ORDER)
            if not isinstance(outcome, wanted):
                raise RuntimeError(f"{outcome} is not what was wanted")

        yield run
        ended = await _ended(orchestrator, wanted.__name__.lower()) - before
        if ended != started and (alone or ended < started):
            raise RuntimeError(f"{started} sagas were started, and {ended} have ended as they should")


async def _ended(orchestrator: Orchestrator, status: str) -> int:
    counts = await orchestrator.session.store.count()
    return sum(count for (_, found), count in counts.items() if found == status)
