"""The order saga: five steps in three services, each with its compensation or behind the pivot.

Guarantees: an order is paid and shipped, or nothing of it stands.
Must not: know a database, a network or a failure of either.
"""

from __future__ import annotations

from dataclasses import dataclass

from amends import Context, Park, Resource, Retry, Saga, Secret, pivot, step
from amends.operate.demo.services import CourierRefuses, Declined, Inventory, Orders, Payments, SoldOut, Withdrawn


@dataclass(frozen=True)
class Order:
    """What a customer sends."""

    id: str
    customer: str
    sku: str
    quantity: int
    cents: int
    card: Secret[str]
    courier: str


@dataclass(frozen=True)
class Shipment:
    """What the customer gets."""

    reference: str


PATIENT = Retry(attempts=4, first_delay=0.2)


@step(retry=PATIENT, timeout=3)
async def open_order(order: Order, orders: Resource[Orders], ctx: Context) -> None:
    await orders.open(order.id, order.customer, order.cents, key=ctx.key)


@open_order.compensation
async def cancel_order(order: Order, orders: Resource[Orders], ctx: Context) -> None:
    await orders.cancel(order.id, key=ctx.key, action_key=ctx.action_key)


@step(retry=PATIENT, timeout=3, rejects=(SoldOut,))
async def reserve_stock(order: Order, inventory: Resource[Inventory], ctx: Context) -> None:
    await inventory.reserve(order.id, order.sku, order.quantity, key=ctx.key)


@reserve_stock.compensation
async def release_stock(order: Order, inventory: Resource[Inventory], ctx: Context) -> None:
    await inventory.release(order.id, key=ctx.key, action_key=ctx.action_key)


@step(retry=Retry(attempts=3, first_delay=0.2), timeout=1.2, rejects=(Declined,))
async def charge_card(order: Order, payments: Resource[Payments], ctx: Context) -> None:
    await payments.charge(order.id, order.card, order.cents, key=ctx.key)


@charge_card.compensation
async def refund_card(order: Order, payments: Resource[Payments], ctx: Context) -> None:
    await payments.refund(order.id, key=ctx.key, action_key=ctx.action_key)


@step(retry=Retry(attempts=10, first_delay=0.2), timeout=3, rejects=(Withdrawn,))
async def confirm_order(order: Order, orders: Resource[Orders], ctx: Context) -> None:
    await orders.confirm(order.id, key=ctx.key)


@step(retry=Retry(first_delay=0.2, cap=1.0), timeout=3)
async def ship(order: Order, inventory: Resource[Inventory], ctx: Context) -> Shipment:
    try:
        return Shipment(await inventory.ship(order.id, order.courier, key=ctx.key))
    except CourierRefuses as refusal:
        raise Park(str(refusal)) from refusal  # for a person: no retry mends credentials


place_order: Saga[Order, Shipment] = Saga(
    "place-order", open_order, reserve_stock, charge_card, pivot(confirm_order), ship, input=Order, output=ship
)
