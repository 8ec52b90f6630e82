"""A listener to a stream of JetStream: questions for messages that wait at the server, and deliveries kept in progress.

Two questions wait at the server at most, so that one is there while the other is answered. What is not acked is told to
be in progress, three times within the consumer's time, as long as the loop runs; a message that the server thinks
abandoned all the same, and sends to us again while we still work on it, is not handed out twice.

Guarantees: what `base.py` says. An ack goes to the stream that the delivery came from, or to nobody: after a server
lost its data, an old ack ends no new message.
Must not: keep the server busy while nothing comes.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence

from nats.errors import Error

from amends.errors import TransportAway, TransportRefused
from amends.transport.base import Delivery, Destination, Receive
from amends.transport.lasting import lasting
from amends.transport.nats_client import Headers, NatsClient, pub
from amends.transport.nats_delivery import NatsDelivery, ended, progress, removed
from amends.transport.nats_link import Link, end
from amends.transport.nats_places import Consumer, Places, Start
from amends.transport.nats_publish import Publisher

LANES = 2
EXPIRES_SECONDS = 60.0  # how long a question waits at the server
HEARTBEAT_SECONDS = 10.0  # within which the server says that it still has the question
SILENT_SECONDS = 25.0  # after which it is taken for forgotten
PAUSE_FIRST_SECONDS, PAUSE_LAST_SECONDS = 0.1, 5.0
_SECOND = 1_000_000_000
_EXPIRED, _HEARTBEAT = "408", "100"
_log = logging.getLogger("amends.nats")


class Lane:
    """One question. asked: how many messages it may still be answered with."""

    def __init__(self) -> None:
        self.sid = 0
        self.inbox = ""
        self.asked = 0
        self.heard: float = 0.0


class NatsListener:
    """One listener at work."""

    def __init__(
        self, link: Link, publisher: Publisher, source: Destination, group: str, receive: Receive, in_flight: int
    ) -> None:
        self.link = link
        self.publisher = publisher
        self.source = source
        self.group = group
        self.open: dict[int, NatsDelivery] = {}
        self.consumer: Consumer | None = None  # None while nobody knows whether it is still the same
        self._receive = receive
        self._in_flight = in_flight
        self._places = Places(link)
        self._lanes: list[Lane] = []
        self._came: list[NatsDelivery] = []
        self._start: Start | None = None
        self._ends: list[bytes] = []  # acks and the like that are not on the wire yet
        self._putting = False
        self._attached = False  # this moment, so that nobody has to see to it
        self._stopped = False
        self._broken = asyncio.Event()  # something is to be looked after
        self._task: asyncio.Task[None] | None = None

    async def start(self, seconds: float) -> None:
        """Take part. Raises TransportRefused; where the broker is away, or slow, the rest happens by itself."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while not self._attached and loop.time() < until and await self.link.ready(until - loop.time()) is not None:
            try:
                await self._attach()
                self._attached = True
            except TransportAway:
                await asyncio.sleep(PAUSE_FIRST_SECONDS)
        self.link.users.append(self)
        self._task = loop.create_task(
            lasting(self._tend, f"listening to {self.source.name}", _log), name=f"amends-nats-{self.source.name}"
        )

    async def stop(self) -> None:
        """Ask for nothing more; what the server had sent by then goes back."""
        if self._stopped:
            return
        self._stopped = True
        await self._leave(self.link.client)

    async def close(self) -> None:
        """Give back what is not acked."""
        await self.stop()
        task, self._task = self._task, None
        await end(task)
        if self.open and self.consumer is not None:
            await self._places.lag(self.source, self.group)  # has it forget our questions, see there
        for delivery in list(self.open.values()):
            self.over(delivery, ended(delivery.reply, again=True))
        self._put()
        if self in self.link.users:
            self.link.users.remove(self)

    def connected(self) -> None:
        """There is a new connection."""
        self._broken.set()

    def lost(self) -> None:
        """The connection broke: whether the consumer outlives that has to be seen."""
        self.consumer = None
        for lane in self._lanes:
            lane.asked = 0
        self._broken.set()

    def is_open(self, delivery: NatsDelivery) -> bool:
        """Whether a delivery is still this listener's."""
        return self.open.get(delivery.sequence) is delivery

    def over(self, delivery: NatsDelivery, command: bytes) -> None:
        """A delivery ends; the server is told so, as soon as it can be."""
        if self.is_open(delivery):
            del self.open[delivery.sequence]
            self._ends.append(command)
            if not self._putting:
                self._putting = True
                asyncio.get_running_loop().call_soon(self._put)

    def _put(self) -> None:
        """Say what ended, and ask for as much as there is room for."""
        self._putting = False
        if self.consumer is not None and self._ends and self.link.post(self._ends):
            self._ends = []
        self._ask()

    async def _tend(self) -> None:
        """Look after the consumer, the questions, and what is in progress."""
        pause = PAUSE_FIRST_SECONDS
        while True:
            try:
                attached, self._attached = self._attached, False
                if not attached and not (self._stopped and not self.open):
                    await self.link.ready(None)
                    await self._attach()
                pause = PAUSE_FIRST_SECONDS
                await self._watch()
            except (TransportAway, TransportRefused) as error:
                level = logging.DEBUG if self.link.client is None else logging.WARNING  # the link says what is away
                _log.log(level, "cannot listen to %s: %s", self.source.name, error)
            self.consumer = None
            if self.link.client is None and self.link.away:
                await self.link.ready(None)
            else:
                await asyncio.sleep(pause)
                pause = min(pause * 2, PAUSE_LAST_SECONDS)

    async def _watch(self) -> None:
        """Keep what is open in progress, until something broke."""
        consumer = self.consumer
        while consumer is not None and self.consumer is consumer:
            self._progress()
            self._broken.clear()
            try:
                async with asyncio.timeout(min(consumer.ack_seconds / 3, HEARTBEAT_SECONDS)):
                    await self._broken.wait()
                return
            except TimeoutError:
                pass
            silent = asyncio.get_running_loop().time() - SILENT_SECONDS
            if not self._stopped and any(lane.asked and lane.heard < silent for lane in self._lanes):
                return

    def _progress(self) -> None:
        if self.open and self.consumer is not None:
            self.link.post([progress(delivery.reply) for delivery in self.open.values()])

    async def _attach(self) -> None:
        """See that the consumer is there, and ask it. Raises TransportAway, TransportRefused."""
        client = self.link.client
        if client is None:
            raise TransportAway(self.link.away)
        consumer, start = await self._places.consumer(self.source, self.group, self._start)
        empty = await self._places.removed(self.source, consumer)
        if self.link.client is not client:
            raise TransportAway(self.link.away or "the connection broke")
        if (
            self._start is not None and self._start.born != start.born
        ):  # another stream: its numbers mean other messages
            self.open.clear()
            self._ends.clear()
        client.put(removed(consumer.stream, consumer.name, place) for place in empty)
        self._start = Start(start.born, max(start.sequence, self._next(start.born)))
        await self._leave(client)
        if not self._stopped:
            for _ in range(LANES):
                await self._enter(client)
        self._broken.clear()
        self.consumer = consumer
        self._progress()
        self._put()

    def _next(self, born: str) -> int:
        """Where to go on in the stream that was read so far."""
        if self._start is None or self._start.born != born:
            return 0
        return self._start.sequence

    async def _enter(self, client: NatsClient) -> None:
        lane = Lane()
        lane.inbox = client.new_inbox()
        try:
            lane.sid = await client.hear(
                lane.inbox, lambda subject, reply, data, headers: self._arrived(lane, subject, reply, data, headers)
            )
        except Error as error:
            raise TransportAway(str(error)) from error
        self._lanes.append(lane)

    async def _leave(self, client: NatsClient | None) -> None:
        lanes, self._lanes = self._lanes, []
        for lane in lanes:
            lane.asked = 0
            if client is not None and self.link.client is client:
                await client.hear_no_more(lane.sid)

    def _ask(self) -> None:
        """Ask for what there is room for; for little only where nothing else is asked for."""
        consumer = self.consumer
        if consumer is None or self._stopped:
            return
        for lane in self._lanes:
            asked = sum(other.asked for other in self._lanes)
            room = self._in_flight - len(self.open) - asked
            if lane.asked or room <= 0 or (asked and room < self._in_flight // 4):
                continue
            lane.asked = room if asked else -(-room // LANES)
            lane.heard = asyncio.get_running_loop().time()
            question = {
                "batch": lane.asked,
                "expires": int(EXPIRES_SECONDS * _SECOND),
                "idle_heartbeat": int(HEARTBEAT_SECONDS * _SECOND),
            }
            subject = f"$JS.API.CONSUMER.MSG.NEXT.{consumer.stream}.{consumer.name}"
            self.link.post([pub(subject, lane.inbox, json.dumps(question).encode())])

    def _arrived(self, lane: Lane, subject: str, reply: str, data: bytes, headers: Headers) -> None:
        """Something came in answer to a question."""
        lane.heard = asyncio.get_running_loop().time()
        if not reply or subject == lane.inbox:
            self._told(lane, headers.get("Status", ""), headers.get("Description", ""))
            return
        lane.asked = max(lane.asked - 1, 0)
        if self._stopped:
            self.link.post([ended(reply, again=True)])
            return
        delivery = NatsDelivery(self, reply, data, headers)
        same = self.open.get(delivery.sequence)
        if same is not None:  # it was thought abandoned, and is not
            same.reply = reply
            self.link.post([progress(reply)])
            return
        self._count(delivery)
        self.open[delivery.sequence] = delivery
        if not self._came:
            asyncio.get_running_loop().call_soon(self._hand_out)
        self._came.append(delivery)

    def _count(self, delivery: NatsDelivery) -> None:
        """First deliveries come in the order of the stream: one that lies before what was delivered already is none,
        even where server 2.9 says so, which loses count when nobody waits for a delivery that comes again."""
        if self._start is None or delivery.sequence >= self._start.sequence:
            self._start = Start(self._start.born if self._start else "", delivery.sequence + 1)
        elif delivery.times < 2:
            delivery.times = 2

    def _told(self, lane: Lane, status: str, why: str) -> None:
        """The server says something of the question itself."""
        if status == _HEARTBEAT:
            return
        lane.asked = 0
        if status == _EXPIRED:
            self._ask()
        elif not self._stopped:
            _log.info("%s: %s %s", self.source.name, status, why or "the consumer does not answer")
            self._broken.set()

    def _hand_out(self) -> None:
        came, self._came = self._came, []
        here: Sequence[Delivery] = [delivery for delivery in came if self.is_open(delivery)]
        if here:
            self._receive(here)
        self._ask()
