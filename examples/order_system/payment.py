"""The payment service: one line for each movement of money, never changed, and an event for each.

    amends worker examples.order_system.payment:app

Must not: know what the other services do.
"""

from __future__ import annotations

import asyncpg

from amends import Context, Participant, Reject

from . import contracts as c
from .places import BROKER_URL, PAYMENT_DATABASE
from .saga import place_order  # its own part is all it does; where there is no orchestrator it passes the rest on

TABLES = """
CREATE TABLE IF NOT EXISTS money_log (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, order_id text NOT NULL, cents integer NOT NULL,
    receipt text NOT NULL
);
"""
LOG = "INSERT INTO money_log (order_id, cents, receipt) VALUES ($1, $2, $3)"

app = Participant(c.payment, database=PAYMENT_DATABASE, broker=BROKER_URL, sagas=[place_order], migrate=True)


@app.handles(c.charge_card)
async def charge(command: c.ChargeCard, tx: asyncpg.Connection, ctx: Context) -> c.Payment:
    if command.card.endswith("0002"):
        raise Reject("card declined")
    receipt = f"receipt-{ctx.key[:8]}"
    await tx.execute(LOG, command.order, command.cents, receipt)
    await app.publish(c.money_moved, c.MoneyMoved(command.order, receipt, command.cents), within=tx)
    return c.Payment(receipt)


@app.compensates(c.charge_card)
async def refund(command: c.ChargeCard, paid: c.Payment, tx: asyncpg.Connection) -> None:
    await tx.execute(LOG, command.order, -command.cents, paid.receipt)
    await app.publish(c.money_moved, c.MoneyMoved(command.order, paid.receipt, -command.cents), within=tx)
