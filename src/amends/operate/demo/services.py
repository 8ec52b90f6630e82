"""The three services: orders, inventory, payments. Each has its own database and knows no saga.

Guarantees: every method is one local transaction that happens at most once per key (`service.py`).
Must not: know who calls, or read another service's database.
"""

from __future__ import annotations

import sqlite3

from amends.operate.demo.service import Service

EXPIRED, VALID = "expired", "valid"


class Declined(Exception):
    """The bank says no."""


class SoldOut(Exception):
    """There is not enough on the shelf."""


class Withdrawn(Exception):
    """The customer wants it no more."""


class CourierRefuses(Exception):
    """The courier does not accept our credentials."""


class Orders(Service):
    """Who ordered what, and how that stands."""

    tables = """
    CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, customer TEXT, cents INTEGER, status TEXT);
    CREATE TABLE IF NOT EXISTS withdrawn (id TEXT PRIMARY KEY);
    """

    async def open(self, order: str, customer: str, cents: int, *, key: str) -> str:
        """Write an order down."""
        insert = "INSERT INTO orders VALUES (?, ?, ?, 'open')"
        return await self._do("open", order, key, lambda db: db.execute(insert, (order, customer, cents)))

    async def cancel(self, order: str, *, key: str, action_key: str) -> None:
        """Strike it out."""
        update = "UPDATE orders SET status = 'cancelled' WHERE id = ?"
        await self._undo("cancel", order, key, action_key, lambda db: db.execute(update, (order,)))

    async def confirm(self, order: str, *, key: str) -> str:
        """Promise it to the customer. Raises Withdrawn."""

        def effect(db: sqlite3.Connection) -> None:
            if db.execute("SELECT 1 FROM withdrawn WHERE id = ?", (order,)).fetchone():
                raise Withdrawn("customer withdrew")
            db.execute("UPDATE orders SET status = 'confirmed' WHERE id = ?", (order,))

        return await self._do("confirm", order, key, effect)


class Inventory(Service):
    """What is on the shelf, what is promised, what has left the house."""

    tables = """
    CREATE TABLE IF NOT EXISTS stock (sku TEXT PRIMARY KEY, initial INTEGER, available INTEGER);
    CREATE TABLE IF NOT EXISTS reservation (
        key TEXT PRIMARY KEY, order_id TEXT, sku TEXT, quantity INTEGER, status TEXT
    );
    CREATE TABLE IF NOT EXISTS courier (name TEXT PRIMARY KEY, credentials TEXT);
    """

    async def reserve(self, order: str, sku: str, quantity: int, *, key: str) -> str:
        """Put goods aside. Raises SoldOut."""
        take = "UPDATE stock SET available = available - ? WHERE sku = ? AND available >= ?"
        insert = "INSERT INTO reservation VALUES (?, ?, ?, ?, 'reserved')"

        def effect(db: sqlite3.Connection) -> None:
            if db.execute(take, (quantity, sku, quantity)).rowcount == 0:
                raise SoldOut(f"not enough {sku}")
            db.execute(insert, (key, order, sku, quantity))

        return await self._do("reserve", order, key, effect)

    async def release(self, order: str, *, key: str, action_key: str) -> None:
        """Put them back."""
        free = "UPDATE reservation SET status = 'released' WHERE key = ? RETURNING sku, quantity"
        back = "UPDATE stock SET available = available + ? WHERE sku = ?"

        def effect(db: sqlite3.Connection) -> None:
            sku, quantity = db.execute(free, (action_key,)).fetchone()
            db.execute(back, (quantity, sku))

        await self._undo("release", order, key, action_key, effect)

    async def ship(self, order: str, courier: str, *, key: str) -> str:
        """Hand them to the courier. Raises CourierRefuses."""
        ship = "UPDATE reservation SET status = 'shipped' WHERE order_id = ? AND status = 'reserved'"

        def effect(db: sqlite3.Connection) -> None:
            row = db.execute("SELECT credentials FROM courier WHERE name = ?", (courier,)).fetchone()
            if row is None or row[0] != VALID:
                raise CourierRefuses(f"{courier}: credentials expired")
            db.execute(ship, (order,))

        return await self._do("ship", order, key, effect)


class Payments(Service):
    """The money: one line for each movement, never changed."""

    tables = """
    CREATE TABLE IF NOT EXISTS entry (key TEXT PRIMARY KEY, order_id TEXT, cents INTEGER);
    """

    async def charge(self, order: str, card: str, cents: int, *, key: str) -> str:
        """Take money from a card. Raises Declined."""

        def effect(db: sqlite3.Connection) -> None:
            if card.endswith("0002"):
                raise Declined("card declined")
            db.execute("INSERT INTO entry VALUES (?, ?, ?)", (key, order, cents))

        return await self._do("charge", order, key, effect)

    async def refund(self, order: str, *, key: str, action_key: str) -> None:
        """Give it back."""
        insert = "INSERT INTO entry SELECT ?, order_id, -cents FROM entry WHERE key = ?"
        await self._undo("refund", order, key, action_key, lambda db: db.execute(insert, (key, action_key)))
