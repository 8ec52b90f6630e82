"""A choreographed order: three services with a database each, and a ledger that says what they did.

What it is: the scene of the tests of choreography; services meet over the local transport.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from amends import Participant, Reject, Retry, Saga, Service, Settings, pivot
from amends.decide.state import State
from amends.run import homes, hops, outbox
from amends.run.journey import state_of_text

PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Order:
    id: str
    cents: int


@dataclass(frozen=True)
class Reserve:
    order: str


@dataclass(frozen=True)
class Charge:
    order: str
    cents: int


@dataclass(frozen=True)
class Ship:
    order: str
    reservation: str


@dataclass(frozen=True)
class Reservation:
    id: str


@dataclass(frozen=True)
class Receipt:
    id: str


orders, inventory, payment = Service("orders"), Service("inventory"), Service("payment")
reserve_stock = inventory.command("reserve-stock", Reserve, reply=Reservation)
charge_card = payment.command("charge-card", Charge, reply=Receipt)
ship_goods = inventory.command("ship-goods", Ship, reply=str, compensation=False)
FEW = Retry(attempts=3, first_delay=0.01, jitter=0.0)


@reserve_stock.request(retry=FEW)
def reserve(order: Order) -> Reserve:
    """The first hop."""
    return Reserve(order.id)


@charge_card.request(retry=FEW)
def charge(order: Order) -> Charge:
    """The second."""
    return Charge(order.id, order.cents)


@ship_goods.request(retry=FEW)
def ship(order: Order, reserved: Reservation) -> Ship:
    """The last."""
    return Ship(order.id, reserved.id)


place_order = Saga("place-order", reserve, charge, pivot(ship), input=Order, output=ship)
Says = Callable[[str, str], None]  # what was asked, and for which order; may raise


@dataclass(frozen=True)
class Ground:
    """Where the three have their databases: a file each, or one PostgreSQL for all of them."""

    directory: Path
    postgres: str = ""

    @property
    def tx(self) -> Any:
        """What a handler asks for."""
        return psycopg.Connection if self.postgres else sqlite3.Connection

    def url(self, service: str) -> str:
        """The database of a service."""
        return self.postgres or f"sqlite:///{self.directory / service}.db"

    @contextmanager
    def connected(self, service: str) -> Generator[Any, None, None]:
        """A connection that commits where the block ends well."""
        if self.postgres:
            with psycopg.connect(self.postgres) as connection:
                yield connection
        else:
            with closing(sqlite3.connect(self.directory / f"{service}.db", timeout=30)) as connection:
                yield connection
                connection.commit()

    def sql(self, service: str, text: str) -> list[tuple[Any, ...]]:
        """One statement."""
        with self.connected(service) as connection:
            done = connection.execute(text.replace("amends_", "amends.") if self.postgres else text)
            return done.fetchall() if done.description else []


@dataclass
class Town:
    """The three services, and what they did."""

    ground: Ground
    says: Says = lambda what, order: None
    saga: Saga[Order, Any] = place_order
    knows: dict[str, list[Saga[Any, Any]]] = field(default_factory=dict)  # of services that know others
    settings: Settings | None = None
    broker: str | None = None

    def __post_init__(self) -> None:
        self.apps = {service.name: self._app(service) for service in (orders, inventory, payment)}
        stock, bank = self.apps["inventory"], self.apps["payment"]

        for name in self.apps:
            number = "serial" if self.ground.postgres else "INTEGER PRIMARY KEY"
            self.ground.sql(name, f"CREATE TABLE IF NOT EXISTS did_{name} (number {number}, what text, who text)")

        def act(what: str, order: str, tx: Any) -> None:
            table = "inventory" if what in ("reserve", "release", "ship") else "payment"
            tx.execute(f"INSERT INTO did_{table} (what, who) VALUES ('{what}', '{order}')")
            self.says(what, order)

        def on_reserve(command: Reserve, tx: Any) -> Reservation:
            act("reserve", command.order, tx)
            return Reservation(f"r-{command.order}")

        def on_release(command: Reserve, reserved: Reservation, tx: Any) -> None:
            act("release", command.order, tx)

        def on_ship(command: Ship, tx: Any) -> str:
            act("ship", command.order, tx)
            return f"parcel of {command.reservation}"

        def on_charge(command: Charge, tx: Any) -> Receipt:
            act("charge", command.order, tx)
            if command.cents > 1000:
                raise Reject("too dear")
            return Receipt(f"p-{command.order}")

        def on_refund(command: Charge, receipt: Receipt, tx: Any) -> None:
            act("refund", command.order, tx)

        for fn in (on_reserve, on_release, on_ship, on_charge, on_refund):
            fn.__annotations__["tx"] = self.ground.tx
        stock.handles(reserve_stock)(on_reserve)
        stock.compensates(reserve_stock)(on_release)
        stock.handles(ship_goods)(on_ship)
        bank.handles(charge_card)(on_charge)
        bank.compensates(charge_card)(on_refund)

    def _app(self, service: Service) -> Participant:
        sagas = self.knows.get(service.name, [self.saga])
        given: dict[str, Any] = {"sagas": sagas, "settings": self.settings, "broker": self.broker, "migrate": True}
        return Participant(service, database=self.ground.url(service.name), **given)

    @asynccontextmanager
    async def open(self, *names: str) -> AsyncGenerator[None, None]:
        """These services at work; all of them, unless some are named."""
        async with AsyncExitStack() as stack:
            for name in names or self.apps:
                app = await stack.enter_async_context(self.apps[name])
                await app.session.listening()
            yield

    def start(self, order: Order) -> None:
        """Start a saga within a transaction of the orders'."""
        with self.ground.connected("orders") as connection:
            self.apps["orders"].start(self.saga, order, within=connection, id=order.id)

    def sql(self, service: str, text: str) -> list[tuple[Any, ...]]:
        """One statement."""
        return self.ground.sql(service, text)

    def stand(self, order: str) -> str:
        """How a saga stands at its home."""
        rows = self.sql("orders", f"SELECT stand FROM amends_home WHERE key = '{order}'")
        return str(rows[0][0]) if rows else ""

    def state(self, order: str) -> State:
        """What its home knows of it."""
        return state_of_text(str(self.sql("orders", f"SELECT history FROM amends_home WHERE key = '{order}'")[0][0]))

    def done(self, service: str) -> list[tuple[str, str]]:
        """What a service has done, in order."""
        rows = self.sql(service, f"SELECT what, who FROM did_{service} ORDER BY number")
        return [(what, who) for what, who in rows]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, in bounded time."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                await asyncio.sleep(0.01)


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long."""
    for module in (hops, homes, outbox):
        monkeypatch.setattr(module, "SWEEP_SECONDS", 0.1)
    monkeypatch.setattr(outbox, "GRACE_SECONDS", 0.2)


def ground_of(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    """On the database that a test is parametrised with: `postgres`, or a file."""
    return Ground(tmp_path, request.getfixturevalue("postgres_url") if request.param == "postgres" else "")
