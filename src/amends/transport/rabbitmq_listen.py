"""Listening to RabbitMQ: one channel for each listener, whose prefetch is what may be in flight.

What is to come again soon is held here, unacked, for so long. What is to come again later is put into a queue that
hands it back after a while, with a confirm, and only then acked; when it comes before it is due it is put off again.

Guarantees: an ack, and a put-off, is for the channel on which a delivery came, or for nothing; a channel or queue that
goes is opened or made again until the listener stops.
Must not: raise anything at whoever ends a delivery.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from typing import Protocol

from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel

from amends.errors import TransportAway, TransportRefused
from amends.message import Message
from amends.transport.base import Destination, Receive
from amends.transport.driver_logs import as_caller
from amends.transport.lasting import lasting
from amends.transport.names import dead_attributes, dead_of
from amends.transport.rabbitmq_link import TROUBLE, Link
from amends.transport.rabbitmq_places import Places, channel_of, guarded
from amends.transport.rabbitmq_publish import Parcel
from amends.transport.rabbitmq_wire import Arrival, Letter, arrival, dead_letter, put_off

HELD_SECONDS = 2.0  # as long a delivery is held here rather than put off
HELD_MAX_SECONDS = 600.0  # where it cannot be put off
LEVELS = (600, 60, 10, 2)  # seconds that a queue for later keeps a message
SLACK_SECONDS = 0.05
PREFETCH_MAX = 65_535
PAUSE_SECONDS = 0.5
REFUSED_PAUSE_SECONDS = 10.0
CHANNEL_SECONDS = 3.0
IDLE_SECONDS = 60.0  # after which a channel is renewed
SILENT = (
    "the queue {} answers to nobody. Without most of a cluster's nodes that is to be expected; where all are there the "
    "queue has lost its leader, and is to be deleted and so made again: docs/reference/transports.md"
)
_log = logging.getLogger("amends.transport.rabbitmq")


class Outlet(Protocol):
    """The way out that a listener uses."""

    prefix: str

    async def keep(self, to: Destination, letter: Letter) -> Exception | None:
        """Put a letter into a queue, made if it is missing, confirmed."""
        ...

    async def put(self, parcels: Sequence[Parcel]) -> list[Exception | None]:
        """Publish, confirmed."""
        ...


class RabbitmqListener:
    """One listener at work, over however many channels."""

    def __init__(self, outlet: Outlet, link: Link, places: Places, source: Destination, group: str) -> None:
        self.outlet = outlet
        self.source = source
        self.group = group
        self._link = link
        self._places = places
        self._queue = ""
        self._inlet: _Inlet | None = None
        self._stopped = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self, receive: Receive, in_flight: int) -> None:
        """Begin to listen, or, where the broker is away, as soon as it is there. Raises TransportRefused."""
        self._receive, self._in_flight = as_caller(receive), min(in_flight, PREFETCH_MAX)
        try:
            await self._begin()
        except (TransportAway, *TROUBLE):
            _log.debug("listening to %s begins when the broker is there", self.source.name)
        self._task = asyncio.get_running_loop().create_task(
            lasting(self._run, f"listening to {self.source.name}", _log), name="amends-rabbitmq-listener"
        )

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        self._stopped.set()
        task.cancel()
        await asyncio.wait([task])
        if self._inlet is not None:
            await self._inlet.stop()

    async def close(self) -> None:
        """Stop, and leave to others what is not acked."""
        await self.stop()
        if self._inlet is not None:
            await self._inlet.close()

    async def put_off(self, delivered: DeliveredMessage, due: float, times: int) -> bool:
        """Put a message where it comes back from, at most when it is due. Whether that is confirmed."""
        left = due - time.time()
        seconds = next((level for level in LEVELS if level <= left), LEVELS[-1])
        try:
            name = await self._places.later(self._queue, seconds)
        except (TransportRefused, TransportAway):
            return False
        told = await self.outlet.put([Parcel("", name, put_off(delivered, due, times))])
        if told[0] is not None:
            self._places.forget()
        return told[0] is None

    async def _begin(self) -> None:
        self._queue = await self._places.group(self.source, self.group)
        connection = self._link.connection
        if connection is None:
            raise TransportAway(self._link.away)
        channel = await channel_of(connection, confirms=False)
        inlet = _Inlet(self, channel, self._receive)
        try:
            await guarded(channel.basic_qos(prefetch_count=self._in_flight))
            await guarded(inlet.consume(self._queue))
        except BaseException:
            await inlet.close()
            raise
        self._inlet = inlet

    async def _run(self) -> None:
        """Have a channel, always."""
        while True:
            if self._inlet is not None:
                await self._until_over(self._inlet)
                await self._inlet.close()
                self._inlet = None
                self._places.forget()
            await self._link.ready(math.inf)
            try:
                await self._begin()
            except TransportRefused as error:
                _log.error("nothing comes from %s: %s", self.source.name, error)
                await asyncio.sleep(REFUSED_PAUSE_SECONDS)
            except (TransportAway, *TROUBLE) as error:
                self._failed(error)
                await asyncio.sleep(PAUSE_SECONDS)

    def _failed(self, error: BaseException) -> None:
        """Say why nothing comes, where the link has not said that the broker is away."""
        if self._link.connection is None:
            _log.debug("listening to %s begins when the broker is there: %s", self.source.name, error)
        elif isinstance(error, TimeoutError):
            _log.warning("listening to %s is tried again: %s", self.source.name, SILENT.format(self._queue))
        else:
            _log.warning("listening to %s is tried again: %s", self.source.name, str(error) or type(error).__name__)

    async def _until_over(self, inlet: _Inlet) -> None:
        """Wait until a channel is over, or was idle for long. RabbitMQ 3 takes a queue that was deleted and made again
        at once for the same one: it then counts this channel as a listener, and hands it nothing."""
        while not inlet.over.is_set():
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    await inlet.over.wait()
            except TimeoutError:
                if inlet.was_idle():
                    return


class _Inlet:
    """One channel that consumes."""

    def __init__(self, listener: RabbitmqListener, channel: Channel, receive: Receive) -> None:
        self.listener = listener
        self.over = asyncio.Event()
        self._channel = channel
        self._receive = receive
        self._tag = "amends"
        self._consuming = False
        self._busy = False
        self._came: list[_RabbitmqDelivery] = []
        self._open: dict[int, None] = {}  # delivery tags that the broker waits for, in rising order
        self._acks: list[int] = []
        self._returns: list[int] = []
        self._sender: asyncio.Task[None] | None = None
        channel.closing.add_done_callback(lambda _: self.over.set())

    async def consume(self, queue: str) -> None:
        """Let it come."""
        self._channel.on_consumer_cancel_callbacks.add(lambda _: self.over.set())
        self._consuming = True
        await self._channel.basic_consume(queue, self._deliver, consumer_tag=self._tag)

    async def stop(self) -> None:
        """Let nothing more come; what came may still be ended."""
        if self._consuming:
            self._consuming = False
            await self._quietly(self._channel.basic_cancel(self._tag, timeout=CHANNEL_SECONDS))

    async def close(self) -> None:
        """End it; what is not acked comes to others."""
        self._consuming = False
        if self._sender is not None:
            await asyncio.wait([self._sender], timeout=CHANNEL_SECONDS)
        await self._quietly(self._channel.close(timeout=CHANNEL_SECONDS))

    def was_idle(self) -> bool:
        """Whether nothing came since the last time somebody asked, and nothing is in flight."""
        busy, self._busy = self._busy, False
        return not busy and not self._open

    def ack(self, tag: int) -> None:
        """It is done with."""
        self._acks.append(tag)
        self._send()

    def give_back(self, tag: int) -> None:
        """It is to come again now."""
        self._returns.append(tag)
        self._send()

    async def _quietly(self, work: object) -> None:
        if self._channel.is_closed:
            getattr(work, "close", lambda: None)()
            return
        try:
            await guarded(work)  # type: ignore[arg-type]
        except TROUBLE as error:
            _log.debug("a channel ended by itself: %r", error)

    async def _deliver(self, delivered: DeliveredMessage) -> None:
        """What the driver calls, for each in turn."""
        tag = delivered.delivery_tag
        if tag is None:
            return
        self._open[tag] = None
        self._busy = True
        if not self._consuming:
            self.give_back(tag)
            return
        came = arrival(delivered)
        early = came.due - time.time()
        if early > HELD_SECONDS and await self.listener.put_off(delivered, came.due, came.times - 1):
            self.ack(tag)
            return
        delivery = _RabbitmqDelivery(self, tag, delivered, came)
        if early > SLACK_SECONDS:
            asyncio.get_running_loop().call_later(min(early, HELD_MAX_SECONDS), self._hand_over_one, delivery)
        else:
            self._hand_over_one(delivery)

    def _hand_over_one(self, delivery: _RabbitmqDelivery) -> None:
        """With whatever else comes in this turn of the loop."""
        if not self._came:
            asyncio.get_running_loop().call_soon(self._hand_over)
        self._came.append(delivery)

    def _hand_over(self) -> None:
        came, self._came = self._came, []
        if self._consuming and not self._channel.is_closed:
            self._receive(came)
        else:
            for delivery in came:
                self.give_back(delivery.tag)

    def _send(self) -> None:
        if self._sender is None and not self._channel.is_closed:
            self._sender = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        """Tell the broker what is over: one ack for all up to a tag where nothing before it is open."""
        try:
            while self._acks or self._returns:
                acks, self._acks = self._acks, []
                returns, self._returns = self._returns, []
                for tag in returns:
                    del self._open[tag]
                    await guarded(self._channel.basic_nack(tag, requeue=True, wait=False))
                for tag in acks:
                    del self._open[tag]
                first_open = next(iter(self._open), math.inf)
                before = [tag for tag in acks if tag < first_open]
                if before:
                    await guarded(self._channel.basic_ack(max(before), multiple=True, wait=False))
                for tag in acks:
                    if tag > first_open:
                        await guarded(self._channel.basic_ack(tag, wait=False))
        except TROUBLE as error:
            _log.debug("acks were lost with their channel: %r", error)
        except Exception:  # noqa: BLE001  # whatever it is: with another channel all that is not acked comes again
            _log.exception("acks were lost: this is a bug in amends, or in aiormq; another channel is made")
            self.over.set()
        finally:
            self._sender = None


class _RabbitmqDelivery:
    """One arrival."""

    def __init__(self, inlet: _Inlet, tag: int, delivered: DeliveredMessage, came: Arrival) -> None:
        self.message: Message | None = came.message
        self.flaw: str = came.flaw
        self.times: int = came.times
        self._inlet = inlet
        self.tag = tag
        self._delivered = delivered
        self._ended = False

    async def ack(self) -> None:
        if self._end():
            self._inlet.ack(self.tag)

    async def retry(self, after_seconds: float = 0.0) -> None:
        if not self._end():
            return
        if after_seconds > HELD_SECONDS and await self._inlet.listener.put_off(
            self._delivered, time.time() + after_seconds, self.times
        ):
            self._inlet.ack(self.tag)
        else:
            self._give_back(min(after_seconds, HELD_MAX_SECONDS))

    async def bury(self, reason: str) -> None:
        if not self._end():
            return
        listener = self._inlet.listener
        told = dead_attributes(listener.source, listener.group, reason)
        error = await listener.outlet.keep(dead_of(listener.source), dead_letter(self._delivered, told))
        if error is None:
            self._inlet.ack(self.tag)
        else:
            _log.warning("a dead letter of %s could not be kept, and comes again: %s", listener.source.name, error)
            self._give_back(HELD_SECONDS)

    def _end(self) -> bool:
        ended, self._ended = self._ended, True
        return not ended

    def _give_back(self, after_seconds: float) -> None:
        if after_seconds > 0:
            asyncio.get_running_loop().call_later(after_seconds, self._inlet.give_back, self.tag)
        else:
            self._inlet.give_back(self.tag)
