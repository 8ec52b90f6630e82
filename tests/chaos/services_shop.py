"""Three services and the sagas that ask them: what the chaos of services runs.

What it is: inventory, payment and delivery, each with a PostgreSQL database of its own, a ledger in it, and handlers
that write there in the barrier's transaction before anything goes wrong, so that whatever goes wrong has to take it
back. An orchestrator runs their sagas, or a fourth service starts them and nobody is in the middle.
`amends worker services_shop:orchestrator` and its kin run them as processes; the environment says where.
Guarantees: what an order wants to happen stands in its mood.
Must not: repair anything.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import asyncpg
import psycopg
from services_books import WRITE_ASYNCPG, WRITE_PSYCOPG, Calls

from amends import (
    Context,
    Orchestrator,
    Participant,
    Reject,
    Retry,
    Saga,
    Service,
    Settings,
    Watcher,
    parallel,
    pivot,
)
from amends.errors import NotRunning
from amends.run import hops, outbox
from amends.testing.unreliable import MessageRates, Unreliable

REPLY_SECONDS = float(os.environ.get("SHOP_REPLY_SECONDS", "0.7"))
HANDLER_SECONDS = 3.0  # also what a frozen process may hold its transaction for
LEASE_SECONDS = 2.0
CLAIM_SECONDS = 4.0  # of rows that wait or are to go out: a process that is frozen may sleep past it
COUNT_SECONDS = 0.2
POISON_MOOD = "poison"
FAIL_TIMES = 2  # of what is flaky
HANGS = "hangs"  # this file among the books asks every process where it waits
WATCHING = "watching"  # this one is written when a watcher has begun to listen
SERVICES = ("inventory", "payment", "delivery")


@dataclass(frozen=True)
class Order:
    """An order. mood: what is to happen to it."""

    cents: int
    mood: str = "good"


@dataclass(frozen=True)
class Take:
    """What each of the services is asked for."""

    cents: int
    mood: str


@dataclass(frozen=True)
class Taken:
    """What each of them answers."""

    cents: int


orders = Service("orders")  # the home of choreographed sagas
inventory, payment, delivery = (Service(name) for name in SERVICES)
reserve = inventory.command("reserve", Take, reply=Taken)
charge = payment.command("charge", Take, reply=Taken)
book = delivery.command("book", Take, reply=Taken)
ship = delivery.command("ship", Take, reply=Taken, compensation=False)
PATIENT = Retry(attempts=200, first_delay=0.1, cap=0.5)
HASTY = Retry(attempts=2, first_delay=0.1, cap=0.2)


def _take(order: Order) -> Take:
    return Take(order.cents, order.mood)


_steps = {
    word: [
        command.request(name=command.name, retry=retry, timeout=REPLY_SECONDS)(_take)
        for command in (reserve, charge, book, ship)
    ]
    for word, retry in (("patient", PATIENT), ("hasty", HASTY))
}
_reserve, _charge, _book, _ship = _steps["patient"]
_hasty_reserve, _hasty_charge, _hasty_book, _hasty_ship = _steps["hasty"]
buy = Saga("buy", _reserve, _charge, _book, pivot, _ship, input=Order, output=_ship)
pair = Saga("pair", parallel(_reserve, _charge), _book, pivot, _ship, input=Order, output=_ship)
hasty = Saga("hasty", _hasty_reserve, _hasty_charge, _hasty_book, pivot, _hasty_ship, input=Order, output=_hasty_ship)
SAGAS = (buy, pair, hasty)
CHOREOGRAPHED = (buy, hasty)  # nobody can be at two services at once


class Place(NamedTuple):
    """Where everything is. databases: `orders`, one of each service, and one of the watcher where there is one. books:
    the directory of the logs."""

    broker: str
    databases: Mapping[str, str]
    books: Path
    namespace: str = "default"
    lease_seconds: float = LEASE_SECONDS


Broken = Callable[[str, Context], None]
"""Called by every handler, once it has written: may raise, or worse."""


class Handlers:
    """What the services do, and how it goes wrong."""

    def __init__(self, place: Place) -> None:
        self._calls = Calls(place.books)
        self._tries: Counter[tuple[str, str, str]] = Counter()
        self.before: Broken = lambda op, ctx: None

    async def do(self, command: Take, tx: Any, ctx: Context) -> Taken:
        """Take something."""
        self._calls.note("do", ctx.saga_id, ctx.step, ctx.attempt, command.mood)
        if command.mood == POISON_MOOD and ctx.step == "reserve":
            os._exit(137)
        await _write(tx, "do", ctx, command.cents)
        self.before("do", ctx)
        rejects = {"declined": "charge", "returned": "book", "sold out": "reserve"}
        if rejects.get(command.mood) == ctx.step:
            raise Reject(f"{command.mood}, and all that was written is to be forgotten")
        await self._moody("do", command.mood, ctx)
        return Taken(command.cents)

    async def undo(self, command: Take, taken: Taken, tx: Any, ctx: Context) -> None:
        """Give it back."""
        self._calls.note("undo", ctx.saga_id, ctx.step, ctx.attempt, command.mood)
        await _write(tx, "undo", ctx, -taken.cents)
        self.before("undo", ctx)
        await self._moody("undo", command.mood, ctx)

    async def _moody(self, op: str, mood: str, ctx: Context) -> None:
        word, _, step = mood.partition(" ")
        self._tries[op, ctx.saga_id, ctx.step] += 1
        again = self._tries[op, ctx.saga_id, ctx.step] > FAIL_TIMES
        if word == "flaky" and ctx.attempt <= FAIL_TIMES:  # whichever process it is that tries
            raise RuntimeError("it failed once more, and all that was written is to be forgotten")
        if word == "slow" and (not step or step == ctx.step) and not again:
            await asyncio.sleep(REPLY_SECONDS * 1.3)


async def _write(tx: Any, op: str, ctx: Context, cents: int) -> None:
    values = (op, ctx.key, ctx.saga_id, ctx.step, cents)
    if isinstance(tx, psycopg.AsyncConnection):
        await tx.execute(WRITE_PSYCOPG.encode(), values)
    else:
        await tx.execute(WRITE_ASYNCPG, *values)


def participant(service: Service, place: Place, broker: Any, handlers: Handlers, **options: Any) -> Participant:
    """The participant of a service. Payment speaks to its database through another driver."""
    kind: Any = psycopg.AsyncConnection[Any] if service is payment else asyncpg.Connection
    settings = Settings(drain_seconds=3.0, transactions=8)
    app = Participant(
        service, database=place.databases[service.name], broker=broker, settings=settings, migrate=True, **options
    )

    def bound(fn: Any) -> Any:
        """A function of its own, with the transaction that this service wants."""

        if fn is Handlers.do:

            async def do(command: Take, tx: Any, ctx: Context) -> Taken:
                return await handlers.do(command, tx, ctx)

            do.__annotations__["tx"] = kind
            return do

        async def undo(command: Take, taken: Taken, tx: Any, ctx: Context) -> None:
            await handlers.undo(command, taken, tx, ctx)

        undo.__annotations__["tx"] = kind
        return undo

    for command in service.commands.values():
        app.handles(command, timeout=HANDLER_SECONDS, batch=4 if command is book else 1)(bound(Handlers.do))
        if command.undoable:
            app.compensates(command, timeout=HANDLER_SECONDS)(bound(Handlers.undo))
    return app


def orchestrator_of(place: Place, broker: Any, **options: Any) -> Orchestrator:
    """An orchestrator of all sagas."""
    settings = Settings(lease_seconds=place.lease_seconds, poll_seconds=0.3, drain_seconds=3.0)
    return Orchestrator(
        place.databases["orders"],
        sagas=SAGAS,
        broker=broker,
        namespace=place.namespace,
        settings=settings,
        migrate=True,
        **options,
    )


# As processes

_TOLD = os.environ.get("SHOP_PLACE", "")


class Watching(Watcher):
    """One that writes down when it has begun to listen: what was told before that, and after a broker was wiped, it
    cannot know."""

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._telling = asyncio.create_task(self._tell(), name="watching")
        return self

    async def _tell(self) -> None:
        await self.session.listening()
        (_here().books / WATCHING).touch()


def _here() -> Place:
    given = json.loads(_TOLD)
    return Place(**{**given, "books": Path(given["books"])})


def _network(place: Place) -> Any:
    """The way to the broker: unreliable where the environment has rates."""
    rates = os.environ.get("SHOP_RATES", "")
    if not rates:
        return place.broker
    told: dict[str, Any] = json.loads(rates)
    told = {name: value.encode() if name == "poison_data" else value for name, value in told.items()}
    return Unreliable(place.broker, seed=int(os.environ.get("SHOP_SEED", "0")), rates=MessageRates(**told))


def _where(path: Path) -> None:
    """Write down where every task waits: something hangs."""
    with path.open("w") as log:
        for task in asyncio.all_tasks():
            awaited: Any = task.get_coro()
            log.write(f"{task.get_name()}\n")
            while (frame := getattr(awaited, "cr_frame", None) or getattr(awaited, "ag_frame", None)) is not None:
                log.write(f"  {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}\n")
                awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "ag_await", None)
            log.write(f"  {awaited!r}\n")


REMEMBERS = ("Live", "Alarm", "Committer", "Ownership", "Lease", "Sender", "_Lane", "Replies", "Outbox", "Work", "Link")
REMEMBERS_TOO = ("NatsListener", "Lane", "KafkaListener", "Member", "RedisListener", "RabbitmqListener", "Unreliable")


def _what(path: Path) -> None:
    """Write down what is in memory of those who might wait for something."""
    with path.open("w") as log:
        log.write(f"now {time.time()}, by the loop's clock {asyncio.get_running_loop().time()}\n")
        for one in gc.get_objects():
            if type(one).__name__ in (*REMEMBERS, *REMEMBERS_TOO) and type(one).__module__.startswith("amends."):
                log.write(f"{type(one).__name__} {id(one):x}\n")
                for name in (*getattr(type(one), "__slots__", ()), *getattr(one, "__dict__", ())):
                    log.write(f"  {name} = {repr(getattr(one, name, None))[:500]}\n")


if _TOLD:
    _place = _here()
    _broker = _network(_place)
    _apps: list[Participant] = []

    async def counting() -> AsyncIterator[Handlers]:
        """Write down what befell messages, for as long as the process works; heal the network once all is calm."""
        path = _place.books / f"counts-{os.getpid()}.json"

        seen: dict[str, int] = {}  # as last seen: who is leaving tells no figures any more

        def write() -> None:
            seen.update(_broker.counts if isinstance(_broker, Unreliable) else {})
            for app in _apps:
                with suppress(NotRunning):
                    seen.update({f"participant {name}": value for name, value in asdict(app.figures).items()})
            beside = path.with_suffix(".new")
            beside.write_text(json.dumps(seen))
            beside.replace(path)

        async def now_and_then() -> None:
            told = False
            while True:
                if isinstance(_broker, Unreliable) and (_place.books / "calm").exists():
                    _broker.heal()
                if not told and (_place.books / HANGS).exists():
                    told = True
                    _where(_place.books / f"tasks-{os.getpid()}.txt")
                    _what(_place.books / f"memory-{os.getpid()}.txt")
                write()
                await asyncio.sleep(COUNT_SECONDS)

        task = asyncio.create_task(now_and_then())
        yield _handlers
        task.cancel()
        write()

    _handlers = Handlers(_place)
    _options: dict[str, Any] = {"resources": [counting]}
    if os.environ.get("SHOP_STYLE") == "choreographed":
        hops.CLAIM_SECONDS = outbox.CLAIM_SECONDS = CLAIM_SECONDS
        _options["sagas"] = CHOREOGRAPHED
        watcher = Watching(
            _place.databases["watcher"], homes=[orders], sagas=CHOREOGRAPHED, broker=_broker, migrate=True
        )
    orders_app = participant(orders, _place, _broker, _handlers, **_options)
    inventory_app = participant(inventory, _place, _broker, _handlers, **_options)
    payment_app = participant(payment, _place, _broker, _handlers, **_options)
    delivery_app = participant(delivery, _place, _broker, _handlers, **_options)
    _apps += [orders_app, inventory_app, payment_app, delivery_app]
    orchestrator = orchestrator_of(_place, _broker, resources=[counting])
