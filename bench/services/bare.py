"""The bare contender: the same round trips and the same commits, and nothing else.

A saga is a coroutine: its start is on disk before the first command leaves, each reply before the next command does
and before it is acked. A participant does all commands that wait in one transaction, each with the statement that the
handlers of amends run, or, in a variant that no handlers of one's own could match, all with one statement; sends the
replies, and acks the commands once those are confirmed. No retries, time-outs, guards, barrier or
recovery: a message that comes twice has two effects here.

Guarantees: nothing goes on before what it follows is on disk, or confirmed; the orchestrator's rows are those of
amends.
Must not: wait for company; what comes while something is on its way goes with the next.
"""

from __future__ import annotations

import asyncio
import os
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple, TypeVar

import asyncpg
import msgspec

from amends.run.chance import Chance
from amends.run.inbox_batch import AT_ONCE
from amends.store.clock import Clock
from bench.contender_bare_postgres import WRITE, Pump, _ready
from bench.order import ORDER, PAYMENT, RESERVATION, SHIPMENT, Payment, Reservation, Shipment
from bench.services import shop
from bench.services.carrier import Carrier, Got, Letter, carrier_for

T = TypeVar("T")
REPLIES = "bare.replies"
MESSAGES = "messages"  # the bare contender without its commits
ONE_STATEMENT = "one statement"  # for all effects of a transaction
_encode = msgspec.json.Encoder().encode


class Part(NamedTuple):
    """What a service is asked, what it does, and what it answers."""

    service: str
    step: str
    asked: Any
    answer: Any
    sent: type[Any]
    row: Callable[[Any], tuple[str, str, int]]


PARTS = (
    Part("inventory", "reserve", shop.ReserveStock(ORDER.customer, ORDER.lines[0].sku, 2), RESERVATION,
         shop.ReserveStock, lambda one: (one.customer, one.sku, one.quantity)),
    Part("payment", "charge", shop.ChargeCard(ORDER.customer, RESERVATION.id, ORDER.cents), PAYMENT,
         shop.ChargeCard, lambda one: (one.customer, one.reservation, one.cents)),
    Part("shipping", "ship", shop.ShipGoods(ORDER.customer, PAYMENT.id, 1), SHIPMENT,
         shop.ShipGoods, lambda one: (one.customer, one.payment, one.parcels)),
)  # fmt: skip
_ANSWERS = {"inventory": Reservation, "payment": Payment, "shipping": Shipment}


class Together:
    """What waits is done as one, while the next gathers. at_once: jobs that may be under way. An error ends the
    process: there is no recovery."""

    def __init__(self, job: Callable[[list[Any]], Awaitable[object]], at_once: int = 1) -> None:
        self._job = job
        self._at_once = at_once
        self._waiting: list[Any] = []
        self._busy = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.done: int = 0

    def put(self, items: Sequence[Any]) -> None:
        """Have these done."""
        self._waiting.extend(items)
        if self._busy < self._at_once:
            self._busy += 1
            task = asyncio.get_running_loop().create_task(self._run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await self._job(batch)
                self.done += len(batch)
        except Exception:  # noqa: BLE001  # whatever it is, the measurement is worth nothing
            traceback.print_exc()
            os._exit(1)
        self._busy -= 1


@asynccontextmanager
async def carried(broker: str, prefix: str, queues: Sequence[str]) -> AsyncIterator[Carrier]:
    """A connection to the broker."""
    carrier = carrier_for(broker, prefix)
    await carrier.open(queues)
    try:
        yield carrier
    finally:
        await carrier.close()


@asynccontextmanager
async def participating(service: str, database: str, broker: str, prefix: str, side: str) -> AsyncIterator[Together]:
    """A service at work. Gives what counts its replies."""
    part = next(one for one in PARTS if one.service == service)
    queue = f"{service}.commands"
    decode = msgspec.json.Decoder(part.sent).decode
    async with AsyncExitStack() as stack:
        carrier = await stack.enter_async_context(carried(broker, prefix, [queue, REPLIES]))
        free: list[Any] = [await asyncpg.connect(database) for _ in range(AT_ONCE)]
        for connection in free:
            stack.push_async_callback(connection.close)
        await free[0].execute(shop.TABLE)
        acks = Together(carrier.ack)

        async def reply(batch: list[Got]) -> None:
            await carrier.publish([Letter(REPLIES, one.id, _encode(part.answer)) for one in batch])
            acks.put(batch)

        async def commit(batch: list[Got]) -> None:
            rows = [part.row(decode(one.body)) for one in batch]
            connection = free.pop()
            if side == ONE_STATEMENT:
                await connection.execute(shop.INSERT_MANY, *map(list, zip(*rows, strict=True)))
            else:
                async with connection.transaction():
                    for row in rows:
                        await connection.execute(shop.INSERT, *row)
            free.append(connection)
            replies.put(batch)

        replies, writes = Together(reply), Together(commit, AT_ONCE)
        await carrier.consume(queue, replies.put if side == MESSAGES else writes.put)
        yield replies


class Desk:
    """Those who wait for replies, and the way out."""

    def __init__(self, carrier: Carrier) -> None:
        self._waiting: dict[bytes, asyncio.Future[Got]] = {}
        self._out = Together(carrier.publish)
        self.acks = Together(carrier.ack)

    @property
    def sent(self) -> int:
        """Commands that are confirmed."""
        return self._out.done

    def receive(self, came: Sequence[Got]) -> None:
        """Replies."""
        for one in came:
            self._waiting.pop(one.id).set_result(one)

    def ask(self, service: str, saga: bytes, body: bytes) -> asyncio.Future[Got]:
        """Send a command; the future gives its reply."""
        future = self._waiting[saga] = asyncio.get_running_loop().create_future()
        self._out.put([Letter(f"{service}.commands", saga, body)])
        return future


@asynccontextmanager
async def orchestrating(
    database: str, broker: str, prefix: str, steps: int, side: str
) -> AsyncIterator[tuple[Callable[[], Awaitable[str]], Callable[[], int]]]:
    """A function that runs one saga to its end, and one that counts the commands sent."""
    chance, clock, commits = Chance(), Clock(), side != MESSAGES
    parts = PARTS[:steps]
    queues = [f"{part.service}.commands" for part in parts]
    async with AsyncExitStack() as stack:
        carrier = await stack.enter_async_context(carried(broker, prefix, [*queues, REPLIES]))
        connection = await _ready(database)
        stack.push_async_callback(connection.close)
        pump = Pump(connection, await connection.prepare(WRITE))
        desk = Desk(carrier)
        await carrier.consume(REPLIES, desk.receive)

        async def run() -> str:
            saga = chance.uuid7(clock.now())
            if commits:
                order = msgspec.Raw(_encode(ORDER))
                events = [["started", order, None], ["issued", parts[0].step, "action", parts[0].asked]]
                await pump.write(saga, 0, _encode((clock.now(), 1, events)), "running")
            for seq, part in enumerate(parts, 1):
                got = await desk.ask(part.service, saga, _encode(part.asked))
                answer: Any = msgspec.json.decode(got.body, type=_ANSWERS[part.service])
                if commits:
                    last = seq == len(parts)
                    then = ["completed"] if last else ["issued", parts[seq].step, "action", parts[seq].asked]
                    row = _encode((clock.now(), 1, [["succeeded", part.step, answer], then]))
                    await pump.write(saga, seq, row, "completed" if last else None)
                desk.acks.put([got])
            return "completed"

        yield run, lambda: desk.sent
