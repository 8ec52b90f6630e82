"""The order service: it keeps the orders, has their sagas run, and files a receipt for all money that moves.

    amends worker examples.order_system.orders:orchestrator examples.order_system.orders:app
    amends worker examples.order_system.orders:app        # with nobody in the middle

Must not: know how inventory and payment do what they are asked for.
"""

from __future__ import annotations

import asyncpg

from amends import Orchestrator, Participant

from . import contracts as c
from .places import BROKER_URL, ORDERS_DATABASE, SETTINGS
from .saga import place_order

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

orchestrator = Orchestrator(ORDERS_DATABASE, sagas=[place_order], broker=BROKER_URL, settings=SETTINGS, migrate=True)

app = Participant(c.orders, database=ORDERS_DATABASE, broker=BROKER_URL, sagas=[place_order], migrate=True)


@app.handles(c.open_order)
async def open_order(command: c.OpenOrder, tx: asyncpg.Connection) -> None:
    await tx.execute(LOG, command.order, command.cents, "opened")


@app.compensates(c.open_order)
async def cancel_order(command: c.OpenOrder, tx: asyncpg.Connection) -> None:
    await tx.execute(LOG, command.order, command.cents, "cancelled")


@app.handles(c.confirm_order)
async def confirm_order(command: c.ConfirmOrder, tx: asyncpg.Connection) -> None:
    await tx.execute(LOG, command.order, command.cents, "confirmed")


@app.on(c.money_moved)
async def file_receipt(moved: c.MoneyMoved, tx: asyncpg.Connection) -> None:
    file = "INSERT INTO receipt (order_id, receipt, cents) VALUES ($1, $2, $3)"
    await tx.execute(file, moved.order, moved.receipt, moved.cents)
