"""The order saga of three services: what each is asked for, and what it does: one row in a database of its own.

Guarantees: the bare contender sends the same bodies and writes the same rows.
Must not: know a broker.
"""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from amends import Participant, Saga, Service
from bench.order import Order, Payment, Reservation, Shipment

SERVICES = ("inventory", "payment", "shipping")
TABLE = "CREATE TABLE IF NOT EXISTS done (id text NOT NULL, what text NOT NULL, many bigint NOT NULL)"
INSERT_MANY = "INSERT INTO done (id, what, many) SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])"
INSERT = "INSERT INTO done (id, what, many) VALUES ($1, $2, $3)"
UNDO = "INSERT INTO done (id, what, many) VALUES ($1, 'undone', 0)"  # no saga here goes back: the count would tell
COUNT = "SELECT count(*) FROM done"
Connection = asyncpg.Connection


@dataclass(frozen=True)
class ReserveStock:
    """Asked of the inventory."""

    customer: str
    sku: str
    quantity: int


@dataclass(frozen=True)
class ChargeCard:
    """Asked of the payment service."""

    customer: str
    reservation: str
    cents: int


@dataclass(frozen=True)
class ShipGoods:
    """Asked of the shipper."""

    customer: str
    payment: str
    parcels: int


inventory, payment, shipping = map(Service, SERVICES)
reserve_stock = inventory.command("reserve-stock", ReserveStock, reply=Reservation)
charge_card = payment.command("charge-card", ChargeCard, reply=Payment)
ship_goods = shipping.command("ship-goods", ShipGoods, reply=Shipment)


@reserve_stock.request
def reserve(order: Order) -> ReserveStock:
    """The first step."""
    return ReserveStock(order.customer, order.lines[0].sku, order.lines[0].quantity)


@charge_card.request
def charge(order: Order, reservation: Reservation) -> ChargeCard:
    """The second."""
    return ChargeCard(order.customer, reservation.id, order.cents)


@ship_goods.request
def ship(order: Order, payment: Payment) -> ShipGoods:
    """The third."""
    return ShipGoods(order.customer, payment.id, 1)


SAGAS = {  # by how many of its services take part
    1: Saga("reserve", reserve, input=Order, output=reserve),
    3: Saga("place-order", reserve, charge, ship, input=Order, output=ship),
}


def participant(service: str, database: str, broker: str, batch: int) -> Participant:
    """One of the services, as a user would write it. batch: commands in one transaction, at most."""
    called = {one.name: one for one in (inventory, payment, shipping)}[service]
    app = Participant(called, database=database, broker=broker, sagas=list(SAGAS.values()), migrate=True)
    if called is inventory:

        @app.handles(reserve_stock, batch=batch)
        async def reserved(command: ReserveStock, tx: Connection) -> Reservation:
            await tx.execute(INSERT, command.customer, command.sku, command.quantity)
            return Reservation("r-000017")

        @app.compensates(reserve_stock)
        async def released(command: ReserveStock, reservation: Reservation, tx: Connection) -> None:
            await tx.execute(UNDO, command.customer)

    elif called is payment:

        @app.handles(charge_card, batch=batch)
        async def charged(command: ChargeCard, tx: Connection) -> Payment:
            await tx.execute(INSERT, command.customer, command.reservation, command.cents)
            return Payment("p-000017", command.cents)

        @app.compensates(charge_card)
        async def refunded(command: ChargeCard, payment: Payment, tx: Connection) -> None:
            await tx.execute(UNDO, command.customer)

    else:

        @app.handles(ship_goods, batch=batch)
        async def shipped(command: ShipGoods, tx: Connection) -> Shipment:
            await tx.execute(INSERT, command.customer, command.payment, command.parcels)
            return Shipment("t-000017")

        @app.compensates(ship_goods)
        async def called_back(command: ShipGoods, shipment: Shipment, tx: Connection) -> None:
            await tx.execute(UNDO, command.customer)

    return app
