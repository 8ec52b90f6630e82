"""The order service: it keeps the orders, runs their sagas, and files a receipt for all money that moves.

    amends worker examples.order_system.orders:orchestrator examples.order_system.orders:app

Must not: know how inventory and payment do what they are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from amends import Orchestrator, Participant, Retry, Saga, parallel, pivot, step

from . import contracts as c
from .places import BROKER_URL, ORDERS_DATABASE, SETTINGS

TABLES = """
CREATE TABLE IF NOT EXISTS order_log (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL, cents integer NOT NULL, what text NOT NULL
);
CREATE TABLE IF NOT EXISTS receipt (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, order_id text NOT NULL, receipt text NOT NULL,
    cents integer NOT NULL
);
"""
LOG = "INSERT INTO order_log (id, cents, what) VALUES ($1, $2, $3)"
PATIENT = Retry(attempts=20, first_delay=0.2, cap=2.0)
REPLY_SECONDS = 5.0  # after so long without a reply the command is sent again


@dataclass(frozen=True)
class Order:
    id: str
    sku: str
    quantity: int
    cents: int
    card: str


# The saga: two steps in this service's own database, three in others'.


@step
async def open_order(order: Order, tx: asyncpg.Connection) -> None:
    await tx.execute(LOG, order.id, order.cents, "opened")


@open_order.compensation
async def cancel_order(order: Order, tx: asyncpg.Connection) -> None:
    await tx.execute(LOG, order.id, order.cents, "cancelled")


@c.reserve_stock.request(name="reserve_stock", retry=PATIENT, timeout=REPLY_SECONDS)
def ask_for_stock(order: Order) -> c.ReserveStock:
    return c.ReserveStock(order.id, order.sku, order.quantity)


@c.charge_card.request(name="charge_card", retry=PATIENT, timeout=REPLY_SECONDS)
def ask_for_payment(order: Order) -> c.ChargeCard:
    return c.ChargeCard(order.id, order.card, order.cents)


@c.ship_goods.request(name="ship_goods", timeout=REPLY_SECONDS)
def ask_for_shipment(order: Order, reservation: c.Reservation) -> c.ShipGoods:
    return c.ShipGoods(order.id, reservation.id)


@step
async def confirm_order(order: Order, tx: asyncpg.Connection) -> None:
    await tx.execute(LOG, order.id, order.cents, "confirmed")


place_order = Saga(
    "place-order",
    open_order,
    parallel(ask_for_stock, ask_for_payment),
    pivot,
    parallel(ask_for_shipment, confirm_order),
    input=Order,
    output=ask_for_shipment,
)
orchestrator = Orchestrator(ORDERS_DATABASE, sagas=[place_order], broker=BROKER_URL, settings=SETTINGS, migrate=True)

# What this service hears of the others.

app = Participant(c.orders, database=ORDERS_DATABASE, broker=BROKER_URL, migrate=True)


@app.on(c.money_moved)
async def file_receipt(moved: c.MoneyMoved, tx: asyncpg.Connection) -> None:
    file = "INSERT INTO receipt (order_id, receipt, cents) VALUES ($1, $2, $3)"
    await tx.execute(file, moved.order, moved.receipt, moved.cents)
