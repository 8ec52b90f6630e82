"""A service with a stock, and whoever sends it commands: what tests of participants need.

The stock is a table in the service's own database. Commands go through the local transport, as messages that
the test makes; the replies are read from the queue that they ask for.

Guarantees: nothing waits for luck; all waiting is bounded.
Must not: know how a participant works.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import psycopg

from amends import Context, Participant, Reject, Service, Settings, fault
from amends.decide.events import Phase
from amends.decide.wire import Command, Ended, Reply, Word, command_message, ended_message, reply_of
from amends.message import Message
from amends.transport.base import Delivery, Send
from amends.transport.local import LocalTransport
from amends.transport.names import commands_of, dead_of, replies_of

PATIENCE_SECONDS = 60.0
SAGA = bytes(range(16))
TABLES = "CREATE TABLE IF NOT EXISTS {}moved (at integer PRIMARY KEY {}, sku text NOT NULL, many integer NOT NULL)"
ACTION, UNDO = Phase.ACTION, Phase.UNDO


@dataclass(frozen=True)
class ReserveStock:
    """A command."""

    sku: str
    many: int = 1


@dataclass(frozen=True)
class Reservation:
    """Its reply."""

    id: str


@dataclass
class Place:
    """A database of one kind: `postgres` or `sqlite`."""

    kind: str
    url: str
    tx: Any

    def sql(self, text: str) -> list[Any]:
        """One statement, committed."""
        if self.kind == "postgres":
            with psycopg.connect(self.url, autocommit=True) as connection:
                done = connection.execute(text.encode())
                return done.fetchall() if done.description else []
        with closing(sqlite3.connect(Path(self.url.removeprefix("sqlite:///")), timeout=30)) as connection:
            rows = connection.execute(text.replace("amends.", "amends_")).fetchall()
            connection.commit()
            return rows

    def prepare(self) -> None:
        """Make the stock's table."""
        self.sql(
            TABLES.format("public.", "GENERATED ALWAYS AS IDENTITY")
            if self.kind == "postgres"
            else TABLES.format("", "AUTOINCREMENT").replace("integer PRIMARY", "INTEGER PRIMARY")
        )

    @property
    def moved(self) -> list[tuple[str, int]]:
        """What was reserved and released, in order."""
        return [(sku, many) for sku, many in self.sql("SELECT sku, many FROM moved ORDER BY at")]

    @property
    def inbox(self) -> list[tuple[str, int, str, bool, bool]]:
        """What the inbox says: address, round, action, compensated, missing."""
        rows = self.sql("SELECT address, round, action, compensated, missing FROM amends.inbox ORDER BY address, round")
        return [(row[0], row[1], row[2], bool(row[3]), bool(row[4])) for row in rows]


async def move(tx: Any, sku: str, many: int) -> None:
    """Write into the stock, whichever transaction it is."""
    if isinstance(tx, sqlite3.Connection):
        tx.execute("INSERT INTO moved (sku, many) VALUES (?, ?)", (sku, many))
    else:
        await tx.execute("INSERT INTO moved (sku, many) VALUES ($1, $2)", sku, many)


@dataclass
class Stock:
    """A service, its participant, and what its handlers said. before: called by the handlers, may raise."""

    place: Place
    settings: Settings | None = None
    options: dict[str, Any] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.before: Callable[[str, Any], Any] = lambda what, ctx: None
        self.place.prepare()
        self.service = Service("inventory")
        self.reserve = self.service.command("reserve-stock", ReserveStock, reply=Reservation)
        self.app = self.participant()

    def participant(self, **options: Any) -> Participant:
        """A participant of the service, not entered yet."""
        given = {"database": self.place.url, "migrate": True, "settings": self.settings, **self.options, **options}
        batch = given.pop("batch", 1)
        app = Participant(self.service, **given)

        async def reserve(command: ReserveStock, tx: Any, ctx: Context) -> Reservation:
            self.calls.append(f"reserve {command.sku}")
            await move(tx, command.sku, command.many)
            await self._before("reserve", ctx)
            return Reservation(f"{command.sku}-{command.many}")

        async def release(command: ReserveStock, reservation: Reservation, tx: Any, ctx: Context) -> None:
            self.calls.append(f"release {reservation.id}")
            await move(tx, command.sku, -command.many)
            await self._before("release", ctx)

        for fn in (reserve, release):
            fn.__annotations__["tx"] = self.place.tx
        app.handles(self.reserve, batch=batch)(reserve)
        app.compensates(self.reserve)(release)
        return app

    async def _before(self, what: str, ctx: Context) -> None:
        waited = self.before(what, ctx)
        if waited is not None:
            await waited


class Peer:
    """An orchestrator, as far as a participant sees one."""

    def __init__(self) -> None:
        self.transport = LocalTransport()
        self._came: asyncio.Queue[Reply] = asyncio.Queue()
        self.dead: list[Message] = []

    async def open(self) -> None:
        """Listen for replies and dead letters."""
        await self.transport.open()
        await self.transport.listen(replies_of("peer"), "peer", self._replies, in_flight=1000)
        await self.transport.listen(dead_of(commands_of("inventory")), "peer", self._dead, in_flight=1000)

    def _replies(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            assert delivery.message is not None
            self._came.put_nowait(reply_of(delivery.message))

    def _dead(self, deliveries: Sequence[Delivery]) -> None:
        self.dead += [delivery.message for delivery in deliveries if delivery.message is not None]

    async def send(self, *commands: Command) -> None:
        """Send commands, each as a new message."""
        messages = [command_message(command, uuid.uuid4().hex, "/peer") for command in commands]
        await self.post(*messages)

    async def post(self, *messages: Message) -> None:
        """Send messages as they are."""
        told = await self.transport.publish([Send(commands_of("inventory"), message) for message in messages])
        assert told == [None] * len(messages)

    async def ended(self, *sagas: bytes) -> None:
        """Say that sagas have ended."""
        await self.post(ended_message(Ended("default", sagas), uuid.uuid4().hex, "/peer", time.time()))

    async def reply(self) -> Reply:
        """The next reply."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._came.get()

    async def ask(self, command: Command) -> Reply:
        """Send a command; its reply."""
        await self.send(command)
        return await self.reply()

    async def word(self, command: Command) -> Word:
        """Send a command; how it ended."""
        return (await self.ask(command)).word

    @property
    def unread(self) -> int:
        """Replies that nobody has asked for."""
        return self._came.qsize()


def action(data: bytes = b'{"sku":"a","many":2}', **changes: Any) -> Command:
    """A command to reserve."""
    made = Command(
        "inventory.reserve-stock",
        "default",
        SAGA,
        "order-1",
        "reserve",
        ACTION,
        data,
        "token",
        "peer.replies",
        time.time(),
    )
    return made._replace(**changes)


def undo(*, known: bool = True, **changes: Any) -> Command:
    """The command to undo it. What it carries as data is not what was asked: the inbox knows better."""
    return action(b'{"sku":"forged","many":9}', phase=UNDO, known=known, **changes)


def reserving(stock: Stock, reserve: Any, batch: int = 50) -> Participant:
    """A participant whose handler is a test's own, in batches of up to so many; nothing is undone."""
    app = Participant(stock.service, database=stock.place.url, migrate=True)

    async def release(command: Any, reservation: Any, tx: Any) -> None: ...

    sent, replied, tx = stock.reserve.sent.type, stock.reserve.replied.type, stock.place.tx
    reserve.__annotations__ = {"command": sent, "tx": tx, "return": replied}
    release.__annotations__ = {"command": sent, "reservation": replied, "tx": tx, "return": None}
    app.handles(stock.reserve, batch=batch)(reserve)
    app.compensates(stock.reserve)(release)
    return app


def points_passed() -> Iterator[Counter[str]]:
    """The fault points that were passed, for a fixture."""
    points: Counter[str] = Counter()
    fault.hook = lambda name: points.update([name])
    yield points
    fault.hook = None


@asynccontextmanager
async def at_work(stock: Stock, app: Participant | None = None) -> AsyncGenerator[Peer, None]:
    """The participant at work, and somebody who sends it commands."""
    async with app or stock.app as entered:
        await entered.session.listening()
        peer = Peer()
        await peer.open()
        try:
            yield peer
        finally:
            await peer.transport.close()


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, in bounded time."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"it did not come to pass that {what}") from None


def no(what: str, ctx: Context) -> None:
    """A handler that says no."""
    raise Reject("sold out")


POSTGRES_TX = asyncpg.Connection
SQLITE_TX = sqlite3.Connection
