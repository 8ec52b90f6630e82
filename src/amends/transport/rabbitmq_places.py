"""What there must be at RabbitMQ: queues, exchanges, bindings; looked for first, and made where they may be.

A queue is a quorum queue. A topic is a fanout exchange with one quorum queue for each group. What is put off waits in
a quorum queue that hands it back when its time is over, with the broker's at-least-once dead-lettering.

Guarantees: what is there already is taken as it is, whatever its kind; what is missing and cannot be made is named.
Must not: publish or consume.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from aiormq.channel import Channel
from aiormq.connection import Connection
from aiormq.exceptions import (
    AMQPChannelError,
    ChannelAccessRefused,
    ChannelNotFoundEntity,
)

from amends.errors import TransportAway
from amends.transport.base import Destination, Kind
from amends.transport.driver_logs import driving
from amends.transport.names import at_broker, group_at_broker
from amends.transport.rabbitmq_link import TROUBLE, Link
from amends.transport.url import Url

STEP_SECONDS = 20.0  # for one question to the broker: making a quorum queue takes a moment
T = TypeVar("T")
_Ask = Callable[[Channel], Awaitable[Any]]


async def guarded(work: Awaitable[T]) -> T:
    """What the driver is asked for. Where its connection ends, the driver cancels those who wait, or raises a bare
    Exception: that is a lost connection, and no cancel of ours."""
    try:
        async with asyncio.timeout(STEP_SECONDS):
            with driving():
                return await work
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise ConnectionError("the connection was lost") from error
    except Exception as error:
        if type(error) is Exception:
            raise ConnectionError("the connection was lost") from error
        raise


class Places:
    """Sees to what is needed, over one connection, and remembers what it has seen there."""

    def __init__(self, url: Url, link: Link) -> None:
        self._url = url
        self._link = link
        self._known: set[str] = set()

    def forget(self) -> None:
        """Look again: the connection is new, or something was missing."""
        self._known.clear()

    async def destination(self, to: Destination) -> str:
        """See to a destination. Gives its name at the broker. Raises TransportRefused, and TransportAway."""
        name = at_broker(self._url.prefix, to)
        if to.kind is Kind.TOPIC:
            await self._see_to(
                f"exchange {name}",
                lambda channel: channel.exchange_declare(name, exchange_type="fanout", passive=True, durable=True),
                lambda channel: channel.exchange_declare(name, exchange_type="fanout", durable=True),
            )
        else:
            await self._queue(name, {})
        return name

    async def group(self, source: Destination, group: str) -> str:
        """See to what a group of a destination listens to. Gives its name at the broker."""
        name = group_at_broker(self._url.prefix, source, group)
        exchange = await self.destination(source)
        if source.kind is Kind.TOPIC:
            await self._queue(name, {})
            if self._url.create:
                await self._bind(name, exchange)
        return name

    async def later(self, queue: str, seconds: int) -> str:
        """See to where what goes to a queue waits for so long."""
        name = f"{queue}.later.{seconds}s"
        returning = {
            "x-message-ttl": seconds * 1000,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": queue,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",  # which that strategy needs; there is no bound that could be reached
        }
        await self._queue(name, returning)
        return name

    async def waiting(self, queue: str) -> int | None:
        """How many messages of a queue nobody has; None where nobody knows."""
        try:
            told = await self._ask(lambda channel: channel.queue_declare(queue, passive=True))
        except (TransportAway, *TROUBLE):
            return None
        return int(told.message_count or 0)

    async def _queue(self, name: str, more: dict[str, Any]) -> None:
        kind: dict[str, Any] = {"x-queue-type": "quorum", **more}
        if self._link.modern:
            kind["x-delivery-limit"] = -1
        await self._see_to(
            f"queue {name}",
            lambda channel: channel.queue_declare(name, passive=True),
            lambda channel: channel.queue_declare(name, durable=True, arguments=kind),
        )

    async def _see_to(self, what: str, look: _Ask, make: _Ask) -> None:
        if what in self._known:
            return
        try:
            await self._ask(look)
        except ChannelNotFoundEntity:
            await self._make(what, make)
        except ChannelAccessRefused as error:
            raise self._url.refused(f"the {what} may not be looked at: {_said(error)}") from error
        self._known.add(what)

    async def _make(self, what: str, make: _Ask) -> None:
        if not self._url.create:
            raise self._url.refused(f"the {what} is missing, and create=no forbids to make it")
        try:
            await self._ask(make)
        except AMQPChannelError as error:
            raise self._url.refused(f"the {what} is missing and cannot be made: {_said(error)}") from error

    async def _bind(self, queue: str, exchange: str) -> None:
        what = f"binding of {queue} to {exchange}"
        if what in self._known:
            return
        try:
            await self._ask(lambda channel: channel.queue_bind(queue, exchange))
        except AMQPChannelError as error:
            raise self._url.refused(f"the {what} cannot be made: {_said(error)}") from error
        self._known.add(what)

    async def _ask(self, question: _Ask) -> Any:
        """Ask on a channel of its own, as a no closes the channel."""
        connection = self._link.connection
        if connection is None:
            raise TransportAway(self._link.away)
        try:
            return await guarded(_asked(connection, question))
        except AMQPChannelError:
            raise
        except TROUBLE as error:
            raise TransportAway(f"{self._url.shown}: {error!r:.200}") from error


async def channel_of(connection: Connection, *, confirms: bool) -> Channel:
    """A channel more."""
    made = await guarded(connection.channel(publisher_confirms=confirms))
    return cast(Channel, made)  # the abstract class that it is annotated with lacks half of the arguments


async def _asked(connection: Connection, question: _Ask) -> Any:
    channel = await channel_of(connection, confirms=False)
    try:
        return await question(channel)
    finally:
        if not channel.is_closed:
            await channel.close()


def _said(error: AMQPChannelError) -> str:
    return str(error.args[0] if error.args else error)[:300]
