"""An order: stock is reserved, the card charged, then the parcel and the receipt go out together.

What goes wrong before the point of no return is undone; what comes after it is tried until it
succeeds. Run it: python examples/order.py
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

from amends import Compensated, Completed, Context, Orchestrator, Parked, Resource, Retry, Saga, parallel, pivot, step


@dataclass(frozen=True)
class Order:
    sku: str
    quantity: int
    cents: int


@dataclass(frozen=True)
class Reservation:
    sku: str
    quantity: int


@dataclass(frozen=True)
class Payment:
    receipt: str


@dataclass(frozen=True)
class Shipment:
    tracking: str


class Declined(Exception):
    """The card says no, and nothing was charged."""


@dataclass
class Shop:
    """A pretended shop: three services in one, which know every key they have seen."""

    stock: dict[str, int] = field(default_factory=lambda: {"book": 10, "piano": 1})
    limit_cents: int = 100_000
    reserved: dict[str, Reservation] = field(default_factory=dict[str, Reservation])
    charged: dict[str, int] = field(default_factory=dict[str, int])
    shipped: dict[str, Shipment] = field(default_factory=dict[str, Shipment])
    mailed: dict[str, str] = field(default_factory=dict[str, str])

    async def reserve(self, sku: str, quantity: int, *, key: str) -> Reservation:
        if key not in self.reserved:
            self.stock[sku] -= quantity
        return self.reserved.setdefault(key, Reservation(sku, quantity))

    async def release(self, *, key: str) -> None:
        if reservation := self.reserved.pop(key, None):
            self.stock[reservation.sku] += reservation.quantity

    async def charge(self, cents: int, *, key: str) -> Payment:
        if cents > self.limit_cents:
            raise Declined(f"{cents / 100:.2f} is over the limit of this card")
        self.charged[key] = cents
        return Payment(f"receipt for {cents / 100:.2f}")

    async def refund(self, *, key: str) -> None:
        self.charged.pop(key, None)

    async def ship(self, sku: str, *, key: str) -> Shipment:
        return self.shipped.setdefault(key, Shipment(f"{sku}-{len(self.shipped) + 1:04}"))

    def mail(self, text: str, *, key: str) -> None:
        self.mailed[key] = text


# The saga.


@step(retry=Retry(attempts=5, first_delay=0.2), timeout=10)
async def reserve_stock(order: Order, shop: Resource[Shop], ctx: Context) -> Reservation:
    return await shop.reserve(order.sku, order.quantity, key=ctx.key)


@reserve_stock.compensation
async def release_stock(shop: Resource[Shop], ctx: Context) -> None:
    await shop.release(key=ctx.action_key)


@step(rejects=(Declined,))
async def charge_card(order: Order, shop: Resource[Shop], ctx: Context) -> Payment:
    return await shop.charge(order.cents, key=ctx.key)


@charge_card.compensation
async def refund(shop: Resource[Shop], ctx: Context) -> None:
    await shop.refund(key=ctx.action_key)


@step
async def ship(order: Order, shop: Resource[Shop], ctx: Context) -> Shipment:
    return await shop.ship(order.sku, key=ctx.key)


@step
def notify(payment: Payment, shop: Resource[Shop], ctx: Context) -> None:  # a sync function runs in a thread
    shop.mail(payment.receipt, key=ctx.key)


place_order = Saga("place-order", reserve_stock, charge_card, pivot, parallel(ship, notify), input=Order, output=ship)

# Where it runs.


def open_shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    print(f"in stock: {shop.stock}, charged: {sum(shop.charged.values()) / 100:.2f}")


orchestrator = Orchestrator("sqlite:///orders.db", sagas=[place_order], resources=[open_shop])


async def main() -> None:
    async with orchestrator:
        for order in (Order("book", 1, 2_900), Order("piano", 1, 900_000)):
            match await orchestrator.run(place_order, order):
                case Completed(shipment):
                    print(f"{order.sku}: completed, on its way as {shipment.tracking}")
                case Compensated(reason):
                    print(f"{order.sku}: compensated, because of {reason}")
                case Parked(reason):
                    print(f"{order.sku}: parked, somebody must look: {reason}")


if __name__ == "__main__":
    asyncio.run(main())
