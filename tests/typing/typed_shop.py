"""The values and steps that the typing tests use, well typed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from amends import Context, Resource, Retry, Service, step


@dataclass(frozen=True)
class Order:
    sku: str
    quantity: int = 1


@dataclass(frozen=True)
class Refund:
    order_id: str


@dataclass(frozen=True)
class Reservation:
    ref: str


@dataclass(frozen=True)
class Payment:
    ref: str


@dataclass(frozen=True)
class Approval:
    granted: bool


class Declined(Exception):
    """The bank said no."""


class Shop:
    """What steps talk to."""

    async def reserve(self, sku: str, *, key: str) -> Reservation:
        return Reservation(sku + key)

    def charge(self, sku: str, *, key: str) -> Payment:
        return Payment(sku + key)


@step
async def reserve(order: Order, shop: Resource[Shop], ctx: Context) -> Reservation:
    return await shop.reserve(order.sku, key=ctx.key)


@reserve.compensation
async def release(reservation: Reservation | None, ctx: Context) -> None: ...


@step(retry=Retry(attempts=5, first_delay=0.2, never=(Declined,)), timeout=timedelta(seconds=10), rejects=(Declined,))
def charge(order: Order, shop: Resource[Shop], ctx: Context) -> Payment:
    return shop.charge(order.sku, key=ctx.key)


@charge.compensation(retry=Retry(attempts=None), timeout=5)
def refund(payment: Payment | None, ctx: Context) -> None: ...


@step(name="ship-it")
async def ship(order: Order) -> None: ...


@step(readonly=True)
def is_big(order: Order) -> bool:
    return order.quantity > 10


@step(readonly=True)
async def parts(order: Order) -> list[str]:
    return [order.sku]


@step(readonly=True)
def pause(order: Order) -> timedelta:
    return timedelta(minutes=order.quantity)


@step
async def erase(part: str, order: Order) -> int:
    return len(part)


@erase.compensation
async def restore(part: str) -> None: ...


@step(readonly=True)
async def weigh(order: Order) -> float:
    return 1.0


def count_refunds(refund: Refund) -> bool:
    return bool(refund.order_id)


@dataclass(frozen=True)
class ReserveStock:
    sku: str


inventory = Service("inventory")
reserve_stock = inventory.command("reserve-stock", ReserveStock, reply=Reservation)
forget_stock = inventory.command("forget-stock", ReserveStock, compensation=False)
is_in_stock = inventory.command("is-in-stock", ReserveStock, reply=bool, readonly=True)
list_stock = inventory.command("list-stock", ReserveStock, reply=list[str], readonly=True)
stock_gone = inventory.event("stock-gone", ReserveStock, key=lambda event: event.sku)


@reserve_stock.request
def ask_for_stock(order: Order) -> ReserveStock:
    return ReserveStock(order.sku)


@reserve_stock.request(name="reserve_part", retry=Retry(attempts=3), timeout=timedelta(seconds=5))
def ask_for_part(part: str, order: Order) -> ReserveStock:
    return ReserveStock(part)


@forget_stock.request
def ask_to_forget(order: Order, reservation: Reservation) -> ReserveStock:
    return ReserveStock(order.sku)


@is_in_stock.request(timeout=1)
def ask_whether(order: Order) -> ReserveStock:
    return ReserveStock(order.sku)


@list_stock.request
def ask_what(order: Order) -> ReserveStock:
    return ReserveStock(order.sku)
