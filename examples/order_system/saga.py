"""The saga of an order: five parts of three services, one after the other. It is run by an orchestrator, or by nobody.

Must not: import a service.
"""

from __future__ import annotations

from dataclasses import dataclass

from amends import Retry, Saga, pivot

from . import contracts as c

PATIENT = Retry(attempts=20, first_delay=0.2, cap=2.0)
REPLY_SECONDS = 5.0  # after so long without a reply an orchestrator sends the command again


@dataclass(frozen=True)
class Order:
    id: str
    sku: str
    quantity: int
    cents: int
    card: str


@c.open_order.request(name="open_order", retry=PATIENT, timeout=REPLY_SECONDS)
def ask_for_the_order(order: Order) -> c.OpenOrder:
    return c.OpenOrder(order.id, order.cents)


@c.reserve_stock.request(name="reserve_stock", retry=PATIENT, timeout=REPLY_SECONDS)
def ask_for_stock(order: Order) -> c.ReserveStock:
    return c.ReserveStock(order.id, order.sku, order.quantity)


@c.charge_card.request(name="charge_card", retry=PATIENT, timeout=REPLY_SECONDS)
def ask_for_payment(order: Order) -> c.ChargeCard:
    return c.ChargeCard(order.id, order.card, order.cents)


@c.ship_goods.request(name="ship_goods", timeout=REPLY_SECONDS)
def ask_for_shipment(order: Order, reservation: c.Reservation) -> c.ShipGoods:
    return c.ShipGoods(order.id, reservation.id)


@c.confirm_order.request(name="confirm_order", timeout=REPLY_SECONDS)
def ask_for_the_confirmation(order: Order) -> c.ConfirmOrder:
    return c.ConfirmOrder(order.id, order.cents)


place_order = Saga(
    "place-order",
    ask_for_the_order,
    ask_for_payment,
    ask_for_stock,
    pivot,
    ask_for_shipment,
    ask_for_the_confirmation,
    input=Order,
    output=ask_for_shipment,
)
