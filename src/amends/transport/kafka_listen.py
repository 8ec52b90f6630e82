"""A listener on Kafka: what it has handed out, what is to come again, and a member of its group that reads for it.

Work ends in any order, and Kafka keeps one number for each partition; so acks are kept here, and what may be committed
is committed in the background, several acks together. What is to come again is kept here, too, and its partition
goes on. At most `ahead` offsets of a partition are read beyond the oldest that is not done with; at that point what is
put off is published again at the end of its topic, and what somebody is still at is waited for.

Guarantees: a process that was stopped for too long hands nothing out before its group has taken it back.
Must not: hold up one delivery for another, other than by `in_flight` and `ahead`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

from amends.errors import TransportRefused
from amends.transport import kafka_edge as edge
from amends.transport.base import Destination, Kind, Receive
from amends.transport.driver_logs import as_caller, driving_task
from amends.transport.kafka_delivery import KafkaDelivery
from amends.transport.kafka_link import PAUSE_FIRST_SECONDS, PAUSE_LAST_SECONDS, Link
from amends.transport.kafka_member import Member
from amends.transport.kafka_publish import Publisher
from amends.transport.kafka_waiting import Waiting
from amends.transport.lasting import lasting
from amends.transport.names import at_broker, dead_attributes, dead_of, group_at_broker

LOOK_SECONDS = 0.5
TICK_SECONDS = 0.2
SETTLE_SECONDS = 1.0  # how long a change of the group waits for what is in somebody's hands
STOP_SECONDS = 5.0  # how long a listener that was stopped stays for the acks of what it has handed out
STALL = 0.5  # of a session: who ran no step for so long may have been given up by the broker
_log = logging.getLogger("amends.transport.kafka")


class KafkaListener:
    """One listener at work."""

    def __init__(self, link: Link, publisher: Publisher, source: Destination, group: str, receive: Receive) -> None:
        prefix = link.options.prefix
        self.topic: str = at_broker(prefix, source)
        self.group: str = group_at_broker(prefix, source, group)
        self.in_flight: int = 1
        self._dead = at_broker(prefix, dead_of(source))
        self._source, self._group = source, group
        self._link, self._publisher, self._options = link, publisher, link.options
        self._receive = as_caller(receive)
        self._held: int = 0  # deliveries in somebody's hands
        self._waiting = Waiting(self._mine, self._hand_out)
        self._acked = asyncio.Event()  # there may be something to commit
        self._hungry = asyncio.Event()  # there is room for more than what waits
        self._released = asyncio.Event()  # something is in nobody's hands any more
        self._member: Member | None = None
        self._reader: asyncio.Task[None] | None = None
        self._broken = ""  # why another member is to be made
        self._seen = time.monotonic()  # when the loop last ran
        self._ticking: asyncio.TimerHandle | None = None
        self._handing_out = False  # it will be done before the loop does anything else
        self._begun, self._listening = False, True
        self._leaving: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Take part; comes back when the group has given it its share, or, where the broker is away, or a group takes
        its time, after `publish_seconds`. Raises TransportRefused."""
        self._tick()
        self._link.lost.append(self._gone)
        self._tasks = [
            driving_task(lasting(self._run, f"listening to {self.topic}", _log), f"amends-kafka-listen {self.topic}"),
            driving_task(lasting(self._look, f"acks of {self.topic}", _log), f"amends-kafka-commit {self.topic}"),
        ]
        try:
            await asyncio.wait([self._ready], timeout=self._options.publish_seconds)
            if self._ready.done():
                self._ready.result()
        except BaseException:
            await self.left(0.0)
            raise

    async def stop(self) -> None:
        """As `Listening.stop` says: acks of what was handed out count for some seconds more."""
        if self._leaving is None:
            self._listening = False
            self._waiting.clear()
            self._break("it is stopped")
            self._leaving = driving_task(self._leave(), f"amends-kafka-leave {self.topic}")

    async def left(self, seconds: float) -> None:
        """Stop, and wait until it has left its group: for so long for acks, and then no more."""
        await self.stop()
        if self._leaving is not None:
            await asyncio.wait([self._leaving], timeout=seconds)
            self._held = 0
            self._released.set()
            await asyncio.wait([self._leaving])

    # What its deliveries say.

    def acked(self, delivery: KafkaDelivery) -> None:
        """It is done with."""
        delivery.offsets.done(delivery.offset)
        self._acked.set()
        self._release(delivery)

    def put_off(self, delivery: KafkaDelivery, seconds: float) -> None:
        """Deliver it again, later; if its partition is somebody else's by then, they do."""
        if self._listening and self._mine(delivery):
            self._waiting.put_off(delivery.again(), seconds)
        self._release(delivery)

    async def keep_dead(self, delivery: KafkaDelivery, reason: str) -> bool:
        """Whether it is among the dead letters now."""
        return await self._publish(delivery, self._dead, dead_attributes(self._source, self._group, reason))

    async def _publish(self, delivery: KafkaDelivery, topic: str, attributes: dict[str, str]) -> bool:
        told: list[Exception | None] = [None]
        await self._publisher.put({0: delivery.record(topic, attributes)}, told)
        if told[0] is not None:
            _log.warning("a delivery of %s cannot be kept in %s: %s", self.topic, topic, told[0])
        return told[0] is None

    def _release(self, delivery: KafkaDelivery) -> None:
        self._held -= 1
        delivery.offsets.held -= 1
        self._released.set()
        if not self._handing_out:  # what is released together is filled together
            self._handing_out = True
            asyncio.get_running_loop().call_soon(self._hand_out)

    def _mine(self, delivery: KafkaDelivery) -> bool:
        """Whether its partition is still this listener's, without a break."""
        return self._member is not None and self._member.owns(delivery.partition, delivery.offsets)

    def _hand_out(self) -> None:
        """Give what waits to whoever listens, as far as there is room, and somebody may."""
        self._handing_out = False
        member = self._member
        if member is not None and self._may_hand_out():
            batch = self._waiting.take(self.in_flight - self._held, member.draining)
            for delivery in batch:
                delivery.offsets.held += 1
            if batch:
                self._held += len(batch)
                self._receive(batch)
        if not self._waiting and self._held < self.in_flight:
            self._hungry.set()

    def _may_hand_out(self) -> bool:
        if not self._listening or self._broken or self._member is None:
            return False
        return not self._stood_still() and self._member.steady

    def _stood_still(self) -> bool:
        """Whether this process, or its loop, ran no step for so long that its group may have given it up."""
        if time.monotonic() - self._seen <= STALL * self._options.session_seconds:
            return False
        self._break("this process, or its loop, stood still, and others may have its partitions")
        return True

    def _tick(self) -> None:
        """The loop runs."""
        self._stood_still()
        self._seen = time.monotonic()
        self._ticking = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    # Reading.

    async def _run(self) -> None:
        """Be a member of the group, and another one if that one is no good any more."""
        pause = PAUSE_FIRST_SECONDS
        while self._listening:
            self._broken = ""
            try:
                self._member = member = await self._join()
                pause = PAUSE_FIRST_SECONDS
                if not self._broken:
                    await self._read(member)
                self._say_broken(self._broken)
            except TransportRefused as error:
                if not self._ready.done():
                    self._ready.set_exception(error)
                    return
                _log.error("%s: %s", self.topic, error)
            except edge.AWAY as error:
                self._link.doubt()
                self._say_broken(str(error) or type(error).__name__)
            finally:
                if self._listening:
                    await self._drop_member()
            await asyncio.sleep(pause)
            pause = min(pause * 2, PAUSE_LAST_SECONDS)

    def _say_broken(self, why: str) -> None:
        """Say it, where the link has not said that the broker is away."""
        level = logging.WARNING if self._listening and not self._link.away else logging.DEBUG
        _log.log(level, "%s: another consumer is made: %s", self.topic, why)

    async def _join(self) -> Member:
        """A member that has joined, of a group that has a place to begin at."""
        partitions = await self._link.partitions(self.topic, self._options.publish_seconds)
        self._link.watch(self.topic)
        producer = await self._link.ready(self._options.publish_seconds)
        if self._source.kind is Kind.TOPIC and not self._begun:
            await _begin(producer.client, self.group, self.topic, partitions)
        self._begun = True
        member = Member(self._options, self.topic, self.group, self._until_released)
        member.changed = self._reassigned
        try:
            async with asyncio.timeout(self._options.connect_seconds):
                await member.join()
        except BaseException:
            await member.leave()
            raise
        return member

    async def _read(self, member: Member) -> None:
        """Read, and hand out, until the member is no good any more. Raises what a broker raises."""
        self._reader = driving_task(self._keep_reading(member), f"amends-kafka-read {self.topic}")
        try:
            await asyncio.wait([self._reader])
        finally:
            self._reader.cancel()
        if not self._reader.cancelled():
            self._reader.result()

    async def _keep_reading(self, member: Member) -> None:
        while True:
            while self._waiting or self._held >= self.in_flight:
                self._hungry.clear()
                await self._hungry.wait()
            read = await member.read()
            self._waiting.add(KafkaDelivery(self, *one) for one in read)
            self._hand_out()

    async def _drop_member(self) -> None:
        """What it has handed out, and is not committed, comes again."""
        member, self._member = self._member, None
        self._waiting.clear()
        self._hungry.set()
        if member is not None:
            await member.leave()

    def _break(self, why: str) -> None:
        """This member is no good any more."""
        self._broken = self._broken or why
        if self._reader is not None:
            self._reader.cancel()

    def _gone(self, topics: set[str]) -> None:
        if self.topic in topics:
            self._break("its topic is gone")

    # What the group says, and what is done beside reading.

    async def _until_released(self, seconds: float = SETTLE_SECONDS) -> None:
        """Wait until nothing is in anybody's hands, or the time is over."""
        until = time.monotonic() + seconds
        while self._held > 0 and (left := until - time.monotonic()) > 0:
            self._released.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._released.wait()

    def _reassigned(self) -> None:
        if not self._ready.done():
            self._ready.set_result(None)
        self._waiting.sift()
        self._hand_out()

    async def _look(self) -> None:
        """Commit what was acked; and see, every now and then, whether all is well."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._acked.wait()
            member = self._member
            if member is not None and self._may_hand_out():
                self._check(member)
                await self._relieve(member)
            if self._acked.is_set():
                await asyncio.sleep(self._options.commit_seconds)
                self._acked.clear()
                if member is not None and not await member.commit() and member.current:
                    self._acked.set()

    def _check(self, member: Member) -> None:
        """Whether the member does what it should, where the broker is there."""
        member.even_out()
        self._hand_out()  # what is not kept back any more
        trouble = member.trouble(hungry=not self._waiting and self._held < self.in_flight)
        if trouble and not self._link.away:
            self._break(trouble)

    async def _relieve(self, member: Member) -> None:
        """In a partition that is too far ahead, what is put off goes to the end of the topic."""
        for number in member.held_back:
            for delivery in self._waiting.put_off_in(number):
                if not self._waiting.withdraw(delivery):
                    continue
                if await self._publish(delivery, self.topic, {}):
                    delivery.offsets.done(delivery.offset)
                    self._acked.set()
                elif self._mine(delivery):
                    self._waiting.put_off(delivery, 1.0)

    async def _leave(self) -> None:
        """Wait for acks, commit them, and leave the group."""
        await self._until_released(STOP_SECONDS)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._ticking is not None:
            self._ticking.cancel()
        self._link.lost.remove(self._gone)
        await self._drop_member()


async def _begin(client: object, group: str, topic: str, partitions: list[int]) -> None:
    """A new group of a topic begins here, and not with what was published before. One that has committed anything
    goes on there."""
    if not await edge.committed(client, group, topic, partitions):
        await edge.commit_for_nobody(client, group, topic, await edge.ends(client, topic, partitions, edge.LATEST))
