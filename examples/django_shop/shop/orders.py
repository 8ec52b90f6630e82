"""Placing an order: what views and Celery tasks have in common."""

from django.db import connection, transaction

from amends import Compensated, Completed, Parked

from .models import Order, Voucher
from .sagas import PlacedOrder, orchestrator, place_order

sagas = orchestrator.blocking()  # nothing runs yet; one in each process, also where servers fork


def place(sku: str, quantity: int, cents: int, voucher: str | None = None) -> Order:
    """The order's row, its voucher and its saga: all three or none. Raises IntegrityError for a used voucher."""
    with transaction.atomic():
        order = Order.objects.create(sku=sku, quantity=quantity, cents=cents)
        placed = PlacedOrder(order.pk, sku, quantity, cents)
        sagas.start(place_order, placed, id=saga_id(order.pk), within=connection)
        if voucher is not None:
            Voucher.objects.create(code=voucher, order=order)
    return order


def result(number: int, seconds: float) -> str:
    """How an order went, or `in progress` where that takes longer. Raises UnknownSaga."""
    try:
        outcome = sagas.handle(place_order, saga_id(number)).outcome(timeout=seconds)
    except TimeoutError:
        return "in progress"
    match outcome:
        case Completed():
            return "on its way"
        case Compensated(reason):
            return f"undone: {reason}"
        case Parked(reason):
            return f"somebody looks at it: {reason}"


def saga_id(number: int) -> str:
    """The id of an order's saga."""
    return f"order-{number}"
