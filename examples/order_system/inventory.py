"""The inventory service: what is on the shelf, what is put aside, what has left the house.

    amends worker examples.order_system.inventory:app

Must not: know what the other services do.
"""

from __future__ import annotations

import asyncpg

from amends import Context, Participant, Reject

from . import contracts as c
from .places import BROKER_URL, INVENTORY_DATABASE
from .saga import place_order  # its own part is all it does; where there is no orchestrator it passes the rest on

TABLES = """
CREATE TABLE IF NOT EXISTS stock (sku text PRIMARY KEY, initial integer NOT NULL, available integer NOT NULL);
CREATE TABLE IF NOT EXISTS stock_log (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, order_id text NOT NULL, sku text NOT NULL,
    quantity integer NOT NULL, what text NOT NULL, reservation text NOT NULL
);
INSERT INTO stock VALUES
    ('book', 100000, 100000), ('lamp', 100000, 100000), ('chair', 100000, 100000), ('piano', 5, 5)
ON CONFLICT DO NOTHING;
"""
TAKE = "UPDATE stock SET available = available - $2 WHERE sku = $1 AND available >= $2"
PUT_BACK = "UPDATE stock SET available = available + $2 WHERE sku = $1"
LOG = "INSERT INTO stock_log (order_id, sku, quantity, what, reservation) VALUES ($1, $2, $3, $4, $5)"
FOUND = "SELECT sku, quantity FROM stock_log WHERE reservation = $1 AND what = 'reserved'"

app = Participant(c.inventory, database=INVENTORY_DATABASE, broker=BROKER_URL, sagas=[place_order], migrate=True)


@app.handles(c.reserve_stock)
async def reserve(command: c.ReserveStock, tx: asyncpg.Connection, ctx: Context) -> c.Reservation:
    if await tx.execute(TAKE, command.sku, command.quantity) == "UPDATE 0":
        raise Reject(f"not enough {command.sku}")
    await tx.execute(LOG, command.order, command.sku, command.quantity, "reserved", ctx.key)
    return c.Reservation(ctx.key)


@app.compensates(c.reserve_stock)
async def release(command: c.ReserveStock, reservation: c.Reservation, tx: asyncpg.Connection) -> None:
    await tx.execute(PUT_BACK, command.sku, command.quantity)
    await tx.execute(LOG, command.order, command.sku, command.quantity, "released", reservation.id)


@app.handles(c.ship_goods)
async def ship(command: c.ShipGoods, tx: asyncpg.Connection, ctx: Context) -> c.Shipment:
    goods = await tx.fetchrow(FOUND, command.reservation)
    if goods is None:
        raise LookupError(f"there is no reservation {command.reservation}")
    await tx.execute(LOG, command.order, goods["sku"], goods["quantity"], "shipped", command.reservation)
    return c.Shipment(f"parcel-{ctx.key[:8]}")
