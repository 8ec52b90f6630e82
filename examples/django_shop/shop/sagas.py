"""The saga of an order, and the orchestrator. A worker runs it: `amends worker shop.sagas:orchestrator`."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from django.conf import settings
from django.db import close_old_connections, transaction
from django.db.models import F

from amends import Context, Orchestrator, Reject, Saga, pivot, step

from .models import Order, Reservation, Stock


@dataclass(frozen=True)
class PlacedOrder:
    number: int
    sku: str
    quantity: int
    cents: int


@contextmanager
def database() -> Generator[None]:
    """A step runs in a thread of the worker's, where Django has a connection that nobody looks after."""
    close_old_connections()
    try:
        with transaction.atomic():
            yield
    finally:
        close_old_connections()


@step
def reserve_stock(order: PlacedOrder, ctx: Context) -> None:
    with database():
        _, new = Reservation.objects.get_or_create(key=ctx.key, defaults={"sku": order.sku, "quantity": order.quantity})
        there = Stock.objects.filter(sku=order.sku, left__gte=order.quantity)
        if new and not there.update(left=F("left") - order.quantity):
            raise Reject(f"there are not {order.quantity} of {order.sku} left")  # what was written is rolled back


@reserve_stock.compensation
def put_back(order: PlacedOrder, ctx: Context) -> None:
    with database():
        taken, _ = Reservation.objects.filter(key=ctx.action_key).delete()
        if taken:
            Stock.objects.filter(sku=order.sku).update(left=F("left") + order.quantity)


@step
def charge_card(order: PlacedOrder, ctx: Context) -> str:
    """Stands for a request to the bank's service, with `ctx.key` as its idempotency key."""
    if order.cents > 100_000:
        raise Reject("the card is declined")
    return f"receipt-{order.number}"


@charge_card.compensation
def refund(receipt: str | None, ctx: Context) -> None:
    """Stands for another request to it, about `ctx.action_key`."""


@step
def confirm(order: PlacedOrder) -> None:
    with database():
        Order.objects.filter(pk=order.number).update(status="confirmed")


place_order = Saga("place-order", reserve_stock, charge_card, pivot, confirm, input=PlacedOrder)
orchestrator = Orchestrator(settings.DATABASE_URL, sagas=[place_order])
