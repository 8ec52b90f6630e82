"""A saga that asks a service, and a service that tests script: it keeps what it was asked and answers as told.

What it is: the orchestrator's side of remote steps under a virtual clock, over the local transport.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine import Order

from amends import Orchestrator, Reject, Retry, Saga, Service, Settings, step
from amends.decide.events import Phase
from amends.decide.wire import KIND, Command, Ended, Reply, Word, command_of, ended_of, reply_message
from amends.message import Message
from amends.store.memory import MemoryDatabase, MemoryStore
from amends.testing.virtual import Inline
from amends.transport.base import Delivery, Destination, Listening, Send, Transport
from amends.transport.names import commands_of
from amends.transport.open import transport_for


@dataclass(frozen=True)
class Reserve:
    """What the stock is asked."""

    cents: int


@dataclass(frozen=True)
class Reservation:
    """What it answers."""

    number: int


stock = Service("stock")
reserve = stock.command("reserve", Reserve, reply=Reservation)


@reserve.request(name="reserve", retry=Retry(attempts=3, first_delay=1.0, jitter=0.0), timeout=10.0)
def ask(order: Order) -> Reserve:
    """The request of most tests here."""
    if order.cents < 0:
        raise Reject("nothing is free")
    return Reserve(order.cents)


@step
async def pack(reservation: Reservation, order: Order) -> int:
    """A local step behind it, that rejects odd prices."""
    if order.cents % 2:
        raise Reject("odd")
    return reservation.number


@pack.compensation
async def unpack() -> None:
    """Nothing to do."""


placed = Saga("placed", ask, pack, input=Order, output=pack)
Answer = Callable[[Command], Reply | None]


def answer(command: Command, word: Word | None = None, **rest: Any) -> Reply:
    """The reply to a command: that it worked, unless another word is given."""
    worked = Word.SUCCEEDED if command.phase is Phase.ACTION else Word.COMPENSATED
    given = {"data": b'{"number":7}', "round": command.round, "attempt": command.attempt, **rest}
    key, token = given.pop("key", command.key), given.pop("token", command.token)
    return Reply(command.namespace, command.saga, key, command.step, command.phase, word or worked, token, **given)


class Stock:
    """The service: what it was asked, and how it answers."""

    def __init__(self, says: Answer = answer) -> None:
        self.says = says
        self.asked: list[Command] = []
        self.ended: list[Ended] = []
        self.transport: Transport = transport_for(None)
        self._listening: Listening | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._sent = 0

    async def __aenter__(self) -> Stock:
        await self.transport.open()
        self._listening = await self.transport.listen(commands_of("stock"), "stock", self._receive, in_flight=100)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._listening is not None:
            await self._listening.stop()
        await self.transport.close()

    async def reply(self, reply: Reply, to: str) -> None:
        """Send a reply, asked for or not."""
        self._sent += 1
        message = reply_message(reply, "stock.reserve", f"reply-{self._sent}", "/stock", 1.0, {})
        await self.send(message, to)

    async def send(self, message: Message, to: str) -> None:
        """Send a message."""
        assert await self.transport.publish([Send(Destination(to), message)]) == [None]

    @property
    def actions(self) -> list[Command]:
        """The commands to do it."""
        return [command for command in self.asked if command.phase is Phase.ACTION]

    @property
    def undos(self) -> list[Command]:
        """The commands to undo it."""
        return [command for command in self.asked if command.phase is Phase.UNDO]

    def _receive(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            task = asyncio.get_running_loop().create_task(self._handle(delivery))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _handle(self, delivery: Delivery) -> None:
        assert delivery.message is not None
        if delivery.message.attributes[KIND] == "ended":
            self.ended.append(ended_of(delivery.message))
        else:
            command = command_of(delivery.message)
            self.asked.append(command)
            said = self.says(command)
            if said is not None:
                await self.reply(said, command.reply_to)
        await delivery.ack()


def asking(*sagas: Saga[Any, Any], on: MemoryDatabase, settings: Settings | None = None) -> Orchestrator:
    """An orchestrator on a database in memory, with the local transport."""
    built = Orchestrator(MemoryStore(on), sagas=sagas or [placed], settings=settings)
    built.config = replace(built.config, threads=Inline())
    return built
